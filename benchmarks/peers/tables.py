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

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RECORDS = ROOT / "benchmarks" / "records"
MARKER = "peers"
CONTINUOUS = "continuous"
_HEADERS = ("new tokens", "peer", "prompts", "seconds", "prompts/s", "times as long as `continuous`", "peak memory")


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
    """What was measured on what, and a row for each result, in the order of workloads."""
    versions, arguments = record["versions"], record["arguments"]
    rates = [ceiling["flops_per_second"] / 1e12 for ceiling in record["ceilings"]]
    first = record["first_token"]
    lines = [
        f"{versions.get('device_name', versions['device'])}, `{arguments['model']}` in {arguments['dtype']}, torch "
        f"{versions['torch']}, transformers {versions['transformers']}; matrix products at {min(rates):.0f} to "
        f"{max(rates):.0f} TFLOP/s. First answer {first['first_seconds']:.0f} s after loading, compilation and capture "
        f"included, of a later call {first['later_seconds']:.2f} s.",
        "",
        f"| workload | {' | '.join(_HEADERS)} |",
        f"| {' | '.join('---' for _ in (0, *_HEADERS))} |",
    ]
    workloads = list(dict.fromkeys(entry["workload"] for entry in record["results"]))
    for entry in sorted(record["results"], key=lambda entry: workloads.index(entry["workload"])):
        name, _, new_tokens = entry["workload"].split(":")
        idle = entry.get("profile", {}).get("idle_share")
        peer = f"`{CONTINUOUS}`" if entry["peer"] == CONTINUOUS else entry["peer"]
        cells = (
            name,
            new_tokens,
            peer if idle is None else f"{peer} (device idle {idle:.1%})",
            f"{entry['prompts']:,}",
            *(_figures(entry) if "failed" not in entry else (f"failed: {entry['failed']}", "", "", "")),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _figures(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{entry['seconds']:.2f}",
        f"{entry['prompts_per_second']:.1f}",
        f"{entry['times_continuous']:.2f}",
        f"{entry['peak_bytes'] / 2**30:.1f} GiB" if "peak_bytes" in entry else "",
    )


if __name__ == "__main__":
    main()
