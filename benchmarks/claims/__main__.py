"""The claims table from its records, and records from runs.

python -m benchmarks.claims                                  print the table of the committed records
python -m benchmarks.claims --write                          and put it into README.md
python -m benchmarks.claims record OUT.json RUN.json ...     trim runs of one machine into a record

RUN.json is the summary.json of a results folder, which a killed run leaves too, or pytest-benchmark's JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims.records import RecordError, read_record, trim
from benchmarks.claims.table import MACHINES, MARKER, claims_table
from benchmarks.marked import NoPlace, placed

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
RECORDS = [ROOT / "benchmarks" / "records" / f"claims-{machine}.json" for machine in MACHINES]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.set_defaults(run=_print_table)
    record = parser.add_subparsers(metavar="record").add_parser("record", help="trim runs of one machine into a record")
    record.add_argument("out", type=Path)
    record.add_argument(
        "runs", type=Path, nargs="+", help="summary.json of results folders, or files of --benchmark-json"
    )
    record.set_defaults(run=_record)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except (RecordError, NoPlace) as error:
        sys.exit(str(error))


def _print_table(given: argparse.Namespace) -> None:
    table = claims_table([read_record(file) for file in RECORDS])
    if given.write:
        README.write_text(placed(README.read_text(encoding="utf-8"), MARKER, table), encoding="utf-8")
    print(table, end="")


def _record(given: argparse.Namespace) -> None:
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in given.runs]
    given.out.write_text(json.dumps(trim(runs), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
