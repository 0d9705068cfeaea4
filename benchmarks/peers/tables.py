"""README's table of peers from the committed records.

python -m benchmarks.peers.tables            print it
python -m benchmarks.peers.tables --write    and put it into README.md
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.marked import placed
from benchmarks.peers.generation import failures, rows

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RECORDS = ROOT / "benchmarks" / "records"
MARKER = "peers"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.tables", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    given = parser.parse_args(arguments)
    table = peers_tables()
    if given.write:
        README.write_text(placed(README.read_text(encoding="utf-8"), MARKER, table), encoding="utf-8")
    print(table, end="")


def peers_tables() -> str:
    """Of every record `generation-*.json`, in the order of their names."""
    files = sorted(RECORDS.glob("generation-*.json"))
    return "\n".join(generation_table(json.loads(file.read_text(encoding="utf-8"))) for file in files)


def generation_table(record: Mapping[str, Any]) -> str:
    """What was measured on what, and a row for each result, workload by workload."""
    versions, arguments, first = record["versions"], record["arguments"], record["first_token"]
    rates = [ceiling["flops_per_second"] / 1e12 for ceiling in record["ceilings"]]
    workloads = list(dict.fromkeys(entry["workload"] for entry in record["results"]))
    results = sorted(record["results"], key=lambda entry: workloads.index(entry["workload"]))
    header, *cells = rows({**record, "results": results})
    table = [header, ("---",) * len(header), *cells]
    lines = [
        f"{versions.get('device_name', versions['device'])}, `{arguments['model']}` in {arguments['dtype']}, torch "
        f"{versions['torch']}, transformers {versions['transformers']}; matrix products at {min(rates):.0f} to "
        f"{max(rates):.0f} TFLOP/s. First answer {first['first_seconds']:.0f} s after loading, compilation and capture "
        f"included, of a later call {first['later_seconds']:.2f} s. A workload is its prompts and "
        "the new tokens of each; x continuous is how many times as long a prompt takes.",
        "",
        *(f"| {' | '.join(row)} |" for row in table),
        *(f"\n{failure}" for failure in failures(record)),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
