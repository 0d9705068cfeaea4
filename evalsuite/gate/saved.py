"""pytest-benchmark's own comparison with a saved run, without its silent passes.

`--benchmark-compare` with no saved run, with cases of other names, or with a run of another machine only warns or says
nothing at all, and passes. Where a gate was asked for, that is red. (Where nothing is timed, the gate refuses to start:
`options.py`.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from evalsuite.gate.findings import Finding
from evalsuite.gate.selection import Collected, Scope, renamed_to, why_not_expected

_HARDWARE = ("system", "machine")
_CPU = ("brand_raw", "count")


@dataclass(kw_only=True, slots=True)
class SavedRuns:
    """What pytest-benchmark loaded to compare with."""

    cases: set[str] = field(default_factory=set)
    """Full names, which are node ids."""
    machines: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=list)
    """(this one, the saved one), one a saved run."""

    def add(self, machine_info: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
        """As `pytest_benchmark_compare_machine_info` brings them."""
        self.machines.append((machine_info, saved["machine_info"]))
        self.cases.update(benchmark["fullname"] for benchmark in saved["benchmarks"])


def compare_findings(
    saved: SavedRuns, timed: Set[str], collected: Collected, scope: Scope
) -> tuple[list[Finding], list[str]]:
    """What is wrong with a comparison that was asked for, and what is worth a note.

    A case that the saved run lacks is noted, for the expected file has accepted it; but where the saved run has one
    that this run lacks, it may be the same one under another name, compared with nothing.

    Args:
        timed: benchmarks that this run timed; `collected` and `scope` are those of benchmarks of every kind.
    """
    if not saved.machines:
        return [
            _finding("", "a saved run", "none", "keep one by --benchmark-autosave on the base, on this machine")
        ], []
    findings = list(_other_machines(saved))
    gone = sorted(c for c in saved.cases - timed if why_not_expected(c, collected, scope) is None)
    if not saved.cases & timed:
        findings.append(_finding("", "cases of the saved run", "none of them", "nothing was compared"))
    notes = [] if timed - saved.cases else [f"{case}: in the saved run, and no longer here" for case in gone]
    for case in sorted(timed - saved.cases):
        if gone:
            was = next((old for old in gone if renamed_to(old, [case])), None)
            hint = f"it may be the saved {was} under another name" if was else "it was compared with nothing"
            findings.append(_finding(case, "a saved run of it", "none", hint))
        else:
            notes.append(f"{case}: new since the saved run, so its time was compared with nothing")
    return findings, notes


def _other_machines(saved: SavedRuns) -> Iterator[Finding]:
    for here, there in saved.machines:
        ours, theirs = hardware(here), hardware(there)
        if ours != theirs:
            yield _finding("", f"saved on {ours}", f"saved on {theirs}", "times of another machine prove nothing")
            return


def hardware(machine_info: Mapping[str, Any]) -> str:
    """What times depend on. Names and kernel releases differ between hosted machines that are alike in all else."""
    cpu = machine_info.get("cpu") or {}
    parts = [machine_info.get(name) for name in _HARDWARE] + [cpu.get(name) for name in _CPU]
    return ", ".join(str(part) for part in parts if part is not None)


def _finding(case: str, expected: str, got: str, note: str) -> Finding:
    return Finding(case=case, what="--benchmark-compare", expected=expected, got=got, note=note)
