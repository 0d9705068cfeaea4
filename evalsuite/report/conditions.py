"""Under what conditions: what the loader was asked and what it got, what was left out, versions, fingerprints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evalsuite.report.html import Child, Html, element
from evalsuite.report.numbers import plural, seconds, si
from evalsuite.report.saved import Shown, ShownCase, model_name
from evalsuite.report.tables import Column, badge, facts, note, section, table


def loading_section(shown: Shown) -> Html | None:
    """One block for each way of loading, with the cases that were loaded so."""
    alike: dict[str, list[ShownCase]] = {}
    for case in shown.cases:
        if case.record.get("load_report"):
            alike.setdefault(_how(case), []).append(case)
    if not alike:
        return None
    return section(
        "loading",
        "Asked of the loader, and got",
        note(
            "A step down is something that could not be had: the run went on with the next best, "
            "and its figures are those of that."
        ),
        *(_load_report(cases) for cases in alike.values()),
    )


def _how(case: ShownCase) -> str:
    report = case.record["load_report"]
    same = [model_name(case.record), report["asked"], report["got"], case.record.get("fallbacks"), report.get("notes")]
    return json.dumps(same, sort_keys=True)


def _load_report(cases: Sequence[ShownCase]) -> Html:
    record = cases[0].record
    report, steps = record["load_report"], record.get("fallbacks") or []
    columns = [Column(name="setting"), Column(name="asked", kind="text"), Column(name="got", kind="text")]
    names = [case.label for case in cases]
    title = f"{model_name(record)}: {names[0]}" + (f" and {plural(len(names) - 1, 'more case')}" if names[1:] else "")
    rows = ([key, asked, _got(asked, report["got"].get(key, ""))] for key, asked in report["asked"].items())
    return element(
        "div",
        element("h3", title),
        note(", ".join(names)) if names[1:] else None,
        table(f"{title}: asked and got", columns, rows),
        _steps(steps, report["asked"]) if steps else note("No step down."),
        element("ul", *(element("li", text) for text in report.get("notes") or ()), class_="notes"),
        facts(
            [
                ("parameters", f"{report['parameters']:,}"),
                ("loaded in", seconds(report["load_seconds"])),
                ("peak while loading", si(report["peak_memory_bytes"], "B")),
            ]
        ),
    )


def _got(asked: str, got: str) -> Child:
    if asked in (got, "auto"):
        return got
    return [got, " ", badge("unfaithful", "step down")]


def _steps(steps: Iterable[Mapping[str, Any]], asked: Mapping[str, str]) -> Html:
    columns = [
        Column(name="step down"),
        Column(name="asked", kind="text"),
        Column(name="got", kind="text"),
        Column(name="why", kind="text"),
    ]
    rows = (
        [
            step["what"] + (" (within auto)" if asked.get(step["what"]) == "auto" else ""),
            step["asked"],
            step["got"],
            step["reason"],
        ]
        for step in steps
    )
    return table("Steps down", columns, rows)


def judge_section(shown: Shown) -> Html | None:
    judged = [case for case in shown.cases if case.record.get("judge")]
    if not judged:
        return None
    skipped: dict[str, list[str]] = {}
    for case in judged:
        if reason := case.record["judge"].get("skipped"):
            skipped.setdefault(reason, []).append(case.label)
    asked = [case for case in judged if "skipped" not in case.record["judge"]]
    columns = [
        Column(name="case"),
        Column(name="judge", kind="text"),
        Column(name="mean"),
        Column(name="graded"),
        Column(name="missing"),
        Column(name="why missing", kind="text"),
        Column(name="reused"),
        Column(name="wording", kind="text"),
        Column(name="took"),
    ]
    return section(
        "judge",
        "Judge",
        note(
            "Grades of generated answers by a language model, from 0 to 1. "
            "A missing grade is left out of the mean; it is never a 0."
        ),
        table("What the judge made of every case", columns, map(_judge_row, asked)) if asked else None,
        *(note(f"Not asked, {reason}: {', '.join(labels)}.") for reason, labels in skipped.items()),
    )


def _judge_row(case: ShownCase) -> list[Child]:
    judge = case.record["judge"]
    score, prompt = judge.get("score"), judge.get("prompt") or {}
    stderr = score and score.get("stderr")
    return [
        case.label,
        judge["name"],
        "" if not score else f"{score['value']:.3f}" + (f" ± {stderr:.3f}" if stderr is not None else ""),
        f"{judge['graded']:,}",
        f"{judge['missing']:,}" + (f" ({judge['missing_share']:.1%})" if judge["missing"] else ""),
        ", ".join(f"{count:,} {reason}" for reason, count in judge.get("reasons", {}).items()),
        f"{judge['reused']:,}",
        f"version {prompt.get('version', '?')}, {prompt.get('hash', '?')}",
        seconds(judge["seconds"]),
    ]


def conditions_section(shown: Shown) -> Html:
    """Versions, data and fingerprints, case by case, those that are alike once."""
    alike: dict[str, list[ShownCase]] = {}
    for case in shown.cases:
        record = case.record
        same = [record.get(key) for key in ("versions", "data", "prompting", "excluded", "left_out", "unscored")]
        alike.setdefault(json.dumps([case.task, same, record.get("fingerprints")], sort_keys=True), []).append(case)
    columns = [
        Column(name="task"),
        Column(name="cases"),
        Column(name="data", kind="text"),
        Column(name="questions", kind="text"),
        Column(name="prompts", kind="text"),
        Column(name="fingerprints", kind="text"),
    ]
    versions = {
        json.dumps(case.record["versions"], sort_keys=True): case.record["versions"]
        for case in shown.cases
        if case.record.get("versions")
    }
    return section(
        "conditions",
        "Conditions",
        table("Data and prompts", columns, (_data_row(cases) for cases in alike.values())),
        *(facts((key, str(value)) for key, value in found.items()) for found in versions.values()),
        note(f"Not on this page, since they evaluate no task: {', '.join(shown.others)}.") if shown.others else None,
    )


def _data_row(cases: Sequence[ShownCase]) -> list[Child]:
    record = cases[0].record
    data, prompting = record.get("data") or {}, record.get("prompting") or {}
    fingerprints = record.get("fingerprints") or {}
    return [
        cases[0].task,
        f"{len(cases)}",
        f"{data.get('source', '')}, {data.get('split', '')}",
        "; ".join(_counts(record)),
        "; ".join(_prompts(prompting, record)),
        ", ".join(f"{name} {value}" for name, value in fingerprints.items()),
    ]


def _counts(record: Mapping[str, Any]) -> Iterable[str]:
    answered, all_ = record["questions"], record.get("questions_in_data", record["questions"])
    yield f"{answered:,}" if answered == all_ else f"{answered:,} of {all_:,}"
    if record.get("left_out"):
        yield f"{record['left_out']:,} left out by --limit"
    if record.get("unscored"):
        yield f"{record['unscored']:,} without a published answer"
    for reason, count in (record.get("excluded") or {}).items():
        yield f"{count:,} not asked: {reason}"


def _prompts(prompting: Mapping[str, Any], record: Mapping[str, Any]) -> Iterable[str]:
    yield plural(prompting.get("shots") or 0, "shot")
    yield "chat template" if prompting.get("chat_template") else "plain text"
    if record.get("truncated"):
        yield f"{record['truncated']:,} cut on the left to the model's window"
