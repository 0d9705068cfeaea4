"""The table of a record of decoding, and a line for what it does not say. Needs no candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalsuite.harness.table import aligned


def lines(record: Mapping[str, Any]) -> list[str]:
    """A table of the results that have figures, if any has, and the notes."""
    rows = decoding_rows(record)
    return (aligned(rows) if len(rows) > 1 else []) + decoding_notes(record)


def decoding_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A header, and a row for each result that has figures, workload by workload in the record's order."""
    table: list[tuple[str, ...]] = [
        ("workload", "attention", "rows", "keys", "us a layer", "GB/s needed", "GB/s planned", "x ours", "by")
    ]
    for entry in (entry for entry in _by_workload(record) if "seconds" in entry):
        of = record["workloads"][entry["workload"]]
        planned = entry["planned_bytes_per_second"]
        table.append(
            (
                entry["workload"],
                entry["candidate"],
                f"{of['rows']:,}",
                f"{of['keys']:,}",
                f"{1e6 * entry['seconds']:,.1f}",
                f"{entry['needed_bytes_per_second'] / 1e9:,.0f}",
                "-" if planned is None else f"{planned / 1e9:,.0f}",
                f"{entry['times_ours']:.2f}" if "times_ours" in entry else "-",
                "graph" if entry["not_replayed"] is None else "launches",
            )
        )
    return table


def decoding_notes(record: Mapping[str, Any]) -> list[str]:
    """A line for each result that was not replayed, then for each that failed, then for each that is not attention."""
    return [
        f"{entry['candidate']}, {entry['workload']}: {entry[kind] if kind != 'wrong' else 'WRONG: ' + entry[kind]}"
        for kind in ("not_replayed", "failed", "wrong")
        for entry in _by_workload(record)
        if entry.get(kind)
    ]


def _by_workload(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results, those of a workload together."""
    workloads = list(record["workloads"])
    return sorted(record["results"], key=lambda entry: workloads.index(entry["workload"]))
