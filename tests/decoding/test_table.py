"""A record's table, and what is said beside it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.decoding.table import decoding_notes, decoding_rows

FIGURES = {
    "seconds": 2e-3,
    "needed_bytes_per_second": 3e12,
    "planned_bytes_per_second": None,
    "times_ours": 1.25,
    "not_replayed": None,
}
RECORD = {
    "workloads": {"long": {"rows": 1_024, "keys": 470_000}, "even": {"rows": 8, "keys": 80}},
    "results": [
        {"candidate": "ours", "workload": "even", **FIGURES, "planned_bytes_per_second": 1e12, "times_ours": 1.0},
        {"candidate": "ours", "workload": "long", "wrong": "by much"},
        {"candidate": "other", "workload": "even", "failed": "no kernel"},
        {"candidate": "other", "workload": "long", **FIGURES, "not_replayed": "no graph"},
        {"candidate": "third", "workload": "even", **FIGURES},
        {"candidate": "third", "workload": "long", "failed": "no card"},
    ],
}
"""As the command leaves it, which measures candidate by candidate; of workloads, `long` was asked for first."""


def test_a_table_goes_workload_by_workload_in_the_record_s_order() -> None:
    header, *rows = decoding_rows(RECORD)
    assert header[:5] == ("workload", "attention", "rows", "keys", "us a layer")
    assert rows == [
        ("long", "other", "1,024", "470,000", "2,000.0", "3,000", "-", "1.25", "launches"),
        ("even", "ours", "8", "80", "2,000.0", "3,000", "1,000", "1.00", "graph"),
        ("even", "third", "8", "80", "2,000.0", "3,000", "-", "1.25", "graph"),
    ]


def test_notes_say_what_the_table_does_not() -> None:
    assert decoding_notes(RECORD) == [
        "other, long: no graph",
        "third, long: no card",
        "other, even: no kernel",
        "ours, long: WRONG: by much",
    ]


def test_a_table_needs_neither_candidates_nor_torch() -> None:
    program = "import sys, benchmarks.decoding.table; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith("benchmarks.")] == [
        "benchmarks.decoding",
        "benchmarks.decoding.table",
    ]
    assert "torch" not in loaded
