"""One run against its expectations, or into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalsuite.gate.compare import CaseRun, compare_case
from evalsuite.gate.expected import Expected, read_expected, write_expected
from evalsuite.gate.facts import Facts, setting, without_limits
from evalsuite.gate.findings import Finding, GateResult
from evalsuite.gate.floors import next_floor
from evalsuite.gate.selection import Collected, Scope, narrowing_lines, renamed_to, why_not_expected
from evalsuite.harness.options import SuiteOptions

NOTHING = "nothing compared"


@dataclass(kw_only=True, slots=True)
class Ran:
    """What became of the cases of one run."""

    options: SuiteOptions
    device: str
    """That models were on; its class counts."""
    collected: Collected
    scope: Scope
    cases: dict[str, CaseRun] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Case to the named reason."""
    failed: dict[str, str] = field(default_factory=dict)
    """Case to why there is nothing to compare."""

    @property
    def found(self) -> set[str]:
        return {*self.cases, *self.skipped, *self.failed, *self.collected.kept}


def compare_run(ran: Ran, path: Path) -> GateResult:
    """Everything that differs from the expected file. Raises `DataError` for a file that cannot be read."""
    expected = read_expected(path)
    name, whole = _setting_in(expected, ran)
    result = GateResult(against=f"{path}, {name}")
    if name not in expected.settings:
        known = "; ".join(sorted(expected.settings)) or "none"
        what = Finding(case="", what="setting", expected=known, got=name, note="make it with --update-expected")
        result.findings += [what, _nothing("the file expects nothing in this setting")]
        return result
    cases = expected.settings[name]
    if not whole:
        result.notes.append(
            "narrowed by a limit: answers to the questions that were asked, verdicts and loading are compared; work, "
            "numbers of questions and speed-up are not"
        )
    _note_selection(result, ran, cases)
    for case, run in sorted(ran.cases.items()):
        if case not in cases:
            continue
        if "skipped" in cases[case]:
            result.not_compared[case] = f"skipped when this was expected: {cases[case]['skipped']}"
            continue
        comparison = compare_case(run, cases[case], expected.answers.get(cases[case].get("answers", "")), whole=whole)
        result.findings += comparison.findings
        result.facts += comparison.facts
        result.notes += comparison.notes
        result.compared.append(case)
    _note_floors(result, ran, cases, whole=whole)
    if not result.compared:
        result.findings.append(_nothing("no case of this run has expectations that it was compared with"))
    return result


def _setting_in(expected: Expected, ran: Ran) -> tuple[str, bool]:
    """The setting to compare with, and whether it is that of this run rather than of all its questions."""
    name = setting(ran.options, ran.device)
    wider = setting(without_limits(ran.options), ran.device)
    if name not in expected.settings and wider in expected.settings:
        return wider, False
    return name, True


def _note_selection(result: GateResult, ran: Ran, cases: Mapping[str, Facts]) -> None:
    """Cases that are missing, new, skipped or failed; and what was not selected."""
    reasons = {case: why_not_expected(case, ran.collected, ran.scope) for case in cases if case not in ran.found}
    missing = sorted(case for case, reason in reasons.items() if reason is None)
    new = sorted(ran.found - cases.keys())
    for case in missing:
        other = renamed_to(case, new)
        note = f"renamed to {other.rsplit('::', 1)[-1]}?" if other else "removed, or no longer collected"
        result.findings.append(Finding(case=case, what="missing", expected="a case", got="none", note=note))
    for case in new:
        note = "expect it by --update-expected"
        if case in ran.skipped:
            result.not_compared[case] = f"skipped: {ran.skipped[case]}"
        result.findings.append(Finding(case=case, what="new", expected="none", got="a case", note=note))
    for case in sorted(cases.keys() & ran.found - ran.cases.keys()):
        if case in ran.skipped:
            result.not_compared[case] = f"skipped: {ran.skipped[case]}"
            continue
        why = ran.failed.get(case, "it was collected and did not run")
        result.findings.append(Finding(case=case, what="not measured", expected="a result", got="none", note=why))
    narrowed = [reason for reason in reasons.values() if reason is not None]
    result.notes += narrowing_lines(narrowed, len(cases))


def _note_floors(result: GateResult, ran: Ran, cases: Mapping[str, Facts], *, whole: bool) -> None:
    untimed = [c for c in result.compared if whole and "floor" in cases[c] and ran.cases[c].gain is None]
    if untimed:
        count = sum("floor" in cases[case] for case in result.compared)
        result.notes.append(f"speed-up: {len(untimed)} of {count} floors not compared, since nothing was timed")
    unpaired = [
        c for c in result.compared if (gain := ran.cases[c].gain) is not None and (gain.rounds == 1 or not gain.paired)
    ]
    if unpaired:
        result.notes.append(f"speed-up: without an interval, compared as it is: {', '.join(unpaired)}")


def _nothing(why: str) -> Finding:
    return Finding(case="", what=NOTHING, expected="at least one case", got="none", note=why)


def update_expected(ran: Ran, path: Path) -> list[str]:
    """Write what this run did into the expected file; what it said about other settings and cases stays.

    Cases that failed keep what was expected of them. Returns lines that say what was done.
    """
    expected = read_expected(path) if path.exists() else Expected()
    name = setting(ran.options, ran.device)
    cases = expected.settings.setdefault(name, {})
    lines = [f"expected: {path}, {name}"]
    changes: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
    for case in sorted(ran.failed):
        lines.append(f"{case}: failed, so what is expected of it was left as it was: {ran.failed[case]}")
    now: dict[str, Facts] = {case: {"skipped": _named(reason)} for case, reason in ran.skipped.items()}
    for case, run in ran.cases.items():
        if case in ran.failed:
            continue
        facts, said = _with_floor(case, run, cases.get(case, {}))
        now[case] = facts
        lines += said
        expected.answers[facts["answers"]] = dict(run.answers.by_id)
    for case, facts in now.items():
        if facts.get("skipped") and "skipped" not in cases.get(case, facts):
            lines.append(f"{case}: skipped here, so what is expected of it was left as it was: {facts['skipped']}")
            continue
        if cases.get(case) != facts:
            changes["changed" if case in cases else "added"].append(case)
        cases[case] = facts
    for case in [c for c in cases if c not in ran.found and why_not_expected(c, ran.collected, ran.scope) is None]:
        changes["removed"].append(case)
        del cases[case]
    write_expected(path, expected)
    lines += [f"{kind}: {case}" for kind, those in changes.items() for case in sorted(those)]
    return [
        *lines,
        f"{len(cases)} cases expected; {', '.join(f'{len(those)} {kind}' for kind, those in changes.items())}",
    ]


def _with_floor(case: str, run: CaseRun, before: Facts) -> tuple[Facts, Sequence[str]]:
    floor_before: float | None = before.get("floor")
    floor = next_floor(floor_before, run.gain)
    facts = run.facts | ({} if floor is None else {"floor": floor})
    if floor_before is not None and floor != floor_before:
        return facts, [f"{case}: floor LOWERED from {floor_before:g}x to {floor:g}x: this run missed it"]
    if run.gain is not None and floor_before is not None and (fresh := next_floor(None, run.gain)) != floor:
        return facts, [
            f"{case}: floor kept at {floor:g}x; by this run it would be {fresh:g}x: delete its line to set it anew"
        ]
    return facts, []


def _named(reason: str) -> str:
    """What is missing, without the machine's own words for it: `attention flash_attention_2`."""
    return reason.split(":")[0]


def record_device(records: Sequence[Mapping[str, Any]]) -> str | None:
    """The device that models were on, from any record."""
    return next((str(record["load_report"]["got"]["device"]) for record in records), None)
