"""The table that closes a run, and the table of flips that a case fails with. Text in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalsuite.config import SHAPE_PREFIX
from evalsuite.faithful import NOISE_FLOOR
from evalsuite.harness.judge_lines import judge_cell, judge_notes, mean
from evalsuite.harness.workers import sharing_note

if TYPE_CHECKING:
    from evalsuite.faithful import Flip, Verdict

HEADERS = ("case", "questions", "score", "speed-up (95 %)", "tokens computed", "padding", "verdict")
JUDGE_COLUMN = 3
"""Where the judge's mean stands, if a judge was asked."""
LONG_SECONDS = 5.0
"""A first run that takes so much longer than the next is mentioned."""
SHOWN_FLIPS = 10
SHOWN_EXCUSED = 3
SHOWN_CHARACTERS = 40
SHOWN_BEFORE = 16
"""Characters before the first that differs, where a text is too long to be shown whole."""
ELLIPSIS = "..."


def closing_lines(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The summary of a run: one row a case, then what stepped down, was cut, or was left out."""
    if not records:
        return []
    rows = [HEADERS, *(_row(record) for record in records)]
    if any(record.get("judge") for record in records):
        cells = ["judge", *(judge_cell(record) for record in records)]
        rows = [(*row[:JUDGE_COLUMN], cell, *row[JUDGE_COLUMN:]) for row, cell in zip(rows, cells, strict=True)]
    lines = aligned(rows)
    lines += _unique(line for record in records for line in _steps_down(record))
    lines += _unique(note for record in records for note in _notes(record))
    lines += _unique(judge_notes(records))
    lines += _unique(note for record in records if (note := sharing_note(record.get("worker"))))
    lines += _unique(f"answers and summary: {record['results']}" for record in records)
    return lines


def flip_lines(case: str, verdict: Verdict) -> list[str]:
    """Why a path is not faithful, with the first questions that it answers differently."""
    lines = [
        f"{case} is {verdict.summary()}",
        f"noise of the reference {verdict.noise:.2g} nats; "
        f"99 % of this path's log-probabilities are within {verdict.path_difference:.2g} nats of the reference's",
    ]
    unexcused = sorted(verdict.flips, key=lambda flip: flip.excused)
    if unexcused:
        lines += [
            "",
            *aligned([("question", "reference", "path", "fp32 margin", ""), *map(_flip, unexcused[:SHOWN_FLIPS])]),
        ]
    if len(unexcused) > SHOWN_FLIPS:
        lines.append(f"... and {len(unexcused) - SHOWN_FLIPS} more")
    if verdict.measured_noise > NOISE_FLOOR:  # a run in float32 has less
        lines += [
            "",
            "Is it rounding? Run this case again with --dtype float32: what rounding to 16 bits has changed is then "
            "equal, and what the path computes otherwise is not.",
        ]
    return lines


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns padded to their widest cell; the last one is free."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _row(record: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        record["case"],
        _questions(record),
        mean(record["score"]),
        _speed_up(record),
        f"{record['counters']['tokens_computed']:,}",
        f"{record['padding_share']:.1%}",
        record["verdict"]["summary"],
    )


def _questions(record: Mapping[str, Any]) -> str:
    """How many were answered; slow strategies answer a sample, so their scores and counts are those of fewer."""
    answered, all_ = record["questions"], record["questions_in_data"]
    return f"{answered:,}" if answered == all_ else f"{answered:,} of {all_:,}"


def _speed_up(record: Mapping[str, Any]) -> str:
    """The reference's is 1 by definition, and shown where the others beside it are timed."""
    speed_up = record["speed_up"]
    if speed_up is None or (record["verdict"]["summary"] == "reference" and not record["timed"]):
        return "not timed"
    if speed_up["low"] is None:
        return f"{speed_up['ratio']:.2f}x"
    return f"{speed_up['ratio']:.2f}x [{speed_up['low']:.2f}, {speed_up['high']:.2f}]"


def _steps_down(record: Mapping[str, Any]) -> Iterable[str]:
    """Steps within `auto` are no broken promise: they are in the record, and here in one line."""
    asked, got = record["load_report"]["asked"], record["load_report"]["got"]
    for name in asked:
        if asked[name] == "auto":
            yield f"{name}: auto took {got[name]}"
    for step in record["fallbacks"]:
        if asked.get(step["what"]) != "auto":
            yield f"step down: {step['what']}: {step['asked']} -> {step['got']}: {step['reason']}"


def _notes(record: Mapping[str, Any]) -> Iterable[str]:
    task = record["task"]
    asked = record["prompting"]["shots"]
    for shots, count in record["prompting"]["shots_shown"].items():
        if int(shots) < asked:
            yield f"{task}: {count:,} questions shown {shots} shots of {asked}: their pool holds no more"
    if record["prompting"]["chat_template"]:
        yield f"{task}: prompts go through the chat template"
    if record["truncated"]:
        cut = f"{record['truncated']:,} of {record['questions']:,} prompts"
        yield f"{task}: {cut} cut on the left to the model's window"
    for reason, count in record["excluded"].items():
        yield f"{task}: {count:,} not scored: {reason}"
    if record["score"] is None and record["model"].startswith(SHAPE_PREFIX):
        yield "random weights: not scored"
    if record["unscored"]:
        yield f"{task}: {record['unscored']:,} predicted but not scored: no published answers"
    if record["left_out"]:
        yield f"{task}: {record['left_out']:,} left out by --limit"
    if (record.get("one_off_seconds") or 0.0) > LONG_SECONDS:
        yield (
            f"{record['case']}: the first run took {record['one_off_seconds']:.0f} s more than later ones "
            "(compilation, caches): before the timed rounds, and not in the speed-up"
        )
    yield from _excused_flips(record)
    yield from _resumed(record)
    if record["speed_up"] and record["speed_up"]["note"] and "reference" not in record["speed_up"]["note"]:
        yield f"{record['case']}: {record['speed_up']['note']}"


def _resumed(record: Mapping[str, Any]) -> Iterable[str]:
    """What came from earlier processes, and why more did not."""
    resume = record.get("resume")
    if resume and resume["batches_recalled"]:
        count = resume["batches_recalled"]
        batches = f"{count:,} batch{'es' * (count != 1)}"
        yield f"{record['case']}: {batches} recalled from earlier processes, {resume['batches_run']:,} run"
    if resume and resume["not_used"]:
        yield f"{record['case']}: answers of an earlier process are not used: {resume['not_used']}"


def _excused_flips(record: Mapping[str, Any]) -> Iterable[str]:
    """Which questions rounding decides, so that a flip is never only a number."""
    flips = [flip for flip in record["verdict"].get("flips", ()) if flip["excused"]]
    shown = "; ".join(
        f"{flip['id']} {' -> '.join(_both(flip['reference'], flip['path']))} (margin {flip['margin']:.2g})"
        for flip in flips[:SHOWN_EXCUSED]
    )
    more = f"; and {len(flips) - SHOWN_EXCUSED} more" if len(flips) > SHOWN_EXCUSED else ""
    if flips:
        yield f"{record['case']}: below noise {record['verdict']['noise']:.2g}: {shown}{more}"


def _flip(flip: Flip) -> tuple[str, ...]:
    margin = "-" if flip.margin is None else f"{flip.margin:.2g}"
    remark = "below noise" if flip.excused else ""
    if flip.reference == flip.path:
        remark = "the same text, ended at another token"
    return flip.id, *_both(flip.reference, flip.path), margin, remark


def _both(reference: str, path: str) -> tuple[str, str]:
    """Two texts, quoted: whole where both are short, else what stands around the first character that differs."""
    if max(len(repr(text)) for text in (reference, path)) <= SHOWN_CHARACTERS:
        return repr(reference), repr(path)
    shared = min(len(reference), len(path))
    first = next((i for i, (a, b) in enumerate(zip(reference, path, strict=False)) if a != b), shared)
    start = max(0, first - SHOWN_BEFORE)
    if start:
        start = reference.find(" ", start, first) + 1 or start  # at a word's beginning, if one is near
    return _from(reference, start), _from(path, start)


def _from(text: str, start: int) -> str:
    """`text` from `start` on, quoted, in at most `SHOWN_CHARACTERS`; an ellipsis stands for what was cut on a side."""
    before = ELLIPSIS if start else ""
    shown = f"{before}{text[start:]!r}"
    end = len(text)
    while len(shown) > SHOWN_CHARACTERS:  # a character takes up to ten when quoted
        end = min(end - 1, start + SHOWN_CHARACTERS)
        shown = f"{before}{text[start:end]!r}{ELLIPSIS}"
    return shown


def _unique(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
