"""pytest-benchmark's own comparison with a saved run, without its silent passes.

`--benchmark-compare` with no saved run, with cases of other names, with one of the same name that did other work, or
with a run of another machine only warns or says nothing at all, and passes. Where a gate was asked for, that is red.
(Where nothing is timed, the gate refuses to start: `options.py`.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from evalsuite.gate.findings import Finding, short_names
from evalsuite.gate.selection import Collected, Scope, renamed_to, why_not_expected
from evalsuite.gate.work import Difference, Work, differences, shown, work_of

_HARDWARE = ("system", "machine")
_CPU = ("brand_raw", "count")
_SHOWN = 3
"""Cases of other work in a line."""


@dataclass(kw_only=True, slots=True)
class SavedRuns:
    """What pytest-benchmark loaded to compare with."""

    work: dict[str, list[Work]] = field(default_factory=dict)
    """Full name, which is a node id, to what was done under it, one a saved run that has it."""
    machines: list[tuple[Mapping[str, Any], Mapping[str, Any]]] = field(default_factory=list)
    """(this one, the saved one), one a saved run."""

    def add(self, machine_info: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
        """As `pytest_benchmark_compare_machine_info` brings them."""
        self.machines.append((machine_info, saved["machine_info"]))
        for benchmark in saved["benchmarks"]:
            self.work.setdefault(benchmark["fullname"], []).append(work_of(benchmark.get("extra_info") or {}))

    def other_work(self, timed: Mapping[str, Work]) -> dict[str, list[Difference]]:
        """Cases of `timed` that did other work in a saved run, with what differs, by name."""
        each = {case: [differences(was, timed[case]) for was in self.work.get(case, ())] for case in sorted(timed)}
        return {case: next(filter(None, found)) for case, found in each.items() if any(found)}


def compare_findings(
    saved: SavedRuns, timed: Mapping[str, Work], collected: Collected, scope: Scope
) -> tuple[list[Finding], list[str]]:
    """What is wrong with a comparison that was asked for, and what is worth a note.

    A case that the saved run lacks is noted, for the expected file has accepted it; but where the saved run has one
    that this run lacks, it may be the same one under another name, compared with nothing.

    Args:
        timed: benchmarks that this run timed, with their work. `collected` and `scope` are those of benchmarks of every
            kind.
    """
    if not saved.machines:
        return [
            _finding("", "a saved run", "none", "keep one by --benchmark-autosave on the base, on this machine")
        ], []
    findings = list(_other_machines(saved))
    gone = sorted(c for c in saved.work.keys() - timed.keys() if why_not_expected(c, collected, scope) is None)
    new = sorted(timed.keys() - saved.work.keys())
    if not saved.work.keys() & timed.keys():
        findings.append(_finding("", "cases of the saved run", "none of them", "nothing was compared"))
    for case, differ in saved.other_work(timed).items():
        before, here = (", ".join(f"{one[0]} {shown(one[side])}" for one in differ) for side in (1, 2))
        findings.append(_finding(case, before, here, "other work than in the saved run: not comparable"))
    notes = [] if new else [f"{case}: in the saved run, and no longer here" for case in gone]
    for case in new:
        if gone:
            was = next((old for old in gone if renamed_to(old, [case])), None)
            hint = f"it may be the saved {was} under another name" if was else "it was compared with nothing"
            findings.append(_finding(case, "a saved run of it", "none", hint))
        else:
            notes.append(f"{case}: new since the saved run, so its time was compared with nothing")
    return findings, notes


def other_work_lines(saved: SavedRuns, timed: Mapping[str, Work]) -> list[str]:
    """One line for a run without a gate, or none: `other work than in the saved run: test_x (questions 20, now 10)`."""
    found = saved.other_work(timed)
    if not found:
        return []
    names = short_names(found)
    cases = [
        f"{names[case]} ({', '.join(f'{name} {shown(was)}, now {shown(now)}' for name, was, now in differ)})"
        for case, differ in found.items()
    ]
    more = [f"and {len(cases) - _SHOWN} more"] if len(cases) > _SHOWN else []
    return [f"other work than in the saved run: {'; '.join([*cases[:_SHOWN], *more])}: not comparable"]


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
