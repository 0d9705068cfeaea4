"""The scores of evaluated checkpoints, with intervals: as a table, as CSV, and as SVG plots."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.harness.table import aligned
from evalsuite.report.numbers import score_interval
from evalsuite.results import file_stem
from evalsuite.runs import read_run
from evalsuite.tracking.state import Done

CSV_HEADERS = (
    "step",
    "unit",
    "checkpoint",
    "case",
    "task",
    "metric",
    "value",
    "low",
    "high",
    "questions",
    "verdict",
    "run",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One metric of one case of one checkpoint."""

    done: Done
    case: str
    task: str
    metric: str
    value: float
    low: float | None
    """Lower end of the 95 % interval; None where the metric has none."""
    high: float | None
    questions: int
    verdict: str
    """On the path that answered: whether its answers are the reference's."""
    faithful: bool
    main: bool
    """Whether it stands for the task: shown in the table and plotted."""

    @property
    def benchmark(self) -> str:
        return f"{self.case} {self.metric}"


def read_scores(folder: Path, done: Sequence[Done]) -> list[Score]:
    """The metrics over all questions, of every case. Raises `DataError` for a run that cannot be read."""
    return [
        _score(entry, case.name, case.record, metric)
        for entry in done
        for case in read_run(folder / entry.run).cases.values()
        for metric in case.record.get("metrics", ())
        if metric["group"] == "overall"
    ]


def _score(done: Done, case: str, record: Mapping[str, Any], metric: Mapping[str, Any]) -> Score:
    low, high = score_interval(metric) or (None, None)
    verdict = record.get("verdict") or {}
    return Score(
        done=done,
        case=case,
        task=str(record["task"]),
        metric=metric["name"],
        value=metric["value"],
        low=low,
        high=high,
        questions=metric["count"],
        verdict=verdict.get("summary", ""),
        faithful=verdict.get("faithful") is not False,
        # A judge's mean has no claim to stand for the task, but it was asked for, so it is shown.
        main=metric["name"] in ((record.get("score") or {}).get("name"), "judge"),
    )


def table_lines(scores: Sequence[Score]) -> list[str]:
    """One row a checkpoint; per benchmark its score and interval."""
    shown = [score for score in scores if score.main]
    benchmarks = list(dict.fromkeys(score.benchmark for score in shown))
    if not benchmarks:
        return []
    cells: dict[Done, dict[str, str]] = {}
    for score in shown:
        cells.setdefault(score.done, {})[score.benchmark] = _cell(score)
    rows = [("checkpoint", shown[0].done.unit, *(f"{name} (95 %)" for name in benchmarks))]
    for done, cell in cells.items():
        rows.append((done.name, f"{done.step:,}", *(cell.get(name, "-") for name in benchmarks)))
    return aligned(rows)


def _cell(score: Score) -> str:
    interval = "" if score.low is None else f" [{score.low:.3f}, {score.high:.3f}]"
    return f"{score.value:.3f}{interval}" + ("" if score.faithful else " (!)")


def warnings(scores: Sequence[Score]) -> list[str]:
    """What `(!)` stands for in the table."""
    doubtful = [score for score in scores if score.main and not score.faithful]
    return [f"(!) {score.done.name}: {score.case} is {score.verdict}" for score in doubtful]


def csv_text(scores: Sequence[Score]) -> str:
    """Every metric over all questions, one a row, numbers in full."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADERS)
    for s in scores:
        head = (s.done.step, s.done.unit, s.done.name, s.case, s.task, s.metric)
        writer.writerow((*head, s.value, s.low, s.high, s.questions, s.verdict, s.done.run))
    return text.getvalue()


def plots(scores: Sequence[Score]) -> Iterator[tuple[str, bytes]]:
    """(file name, SVG): all benchmarks against the step, and each alone with its intervals."""
    shown = [score for score in scores if score.main]
    if not shown:
        return
    by_benchmark: dict[str, list[Score]] = {}
    for score in shown:
        by_benchmark.setdefault(score.benchmark, []).append(score)
    yield "track.svg", _plot("all benchmarks", by_benchmark, intervals=False)
    for name, own in by_benchmark.items():
        yield f"{file_stem(name)}.svg", _plot(name, {name: own}, intervals=True)


def _import_pygal() -> Any:
    """pygal, without the hook for its map plugins: of an old kind, it makes every later import that fails warn."""
    import pygal

    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]
    return pygal


def _plot(title: str, lines: Mapping[str, Sequence[Score]], *, intervals: bool) -> bytes:
    pygal = _import_pygal()

    unit = next(iter(lines.values()))[0].done.unit
    chart: Any = pygal.XY(
        js=[],  # pygal's own would be fetched from a server
        title=title,
        x_title=unit,
        y_title="score",
        legend_at_bottom=True,
        legend_at_bottom_columns=1,
        truncate_legend=-1,
        x_value_formatter=lambda step: f"{step:,.0f}",
        value_formatter=lambda value: f"{value:.3f}",
        dots_size=4,
        **({"style": pygal.style.Style(colors=("#d62728", "#8c8c8c", "#8c8c8c"))} if intervals else {}),
    )
    for name, scores in lines.items():
        chart.add(name, [{"value": (s.done.step, s.value), "label": s.done.name} for s in scores])
        bounds = [(s.done.step, s.low, s.high) for s in scores if s.low is not None] if intervals else []
        if bounds:  # pygal draws no interval at a point with two coordinates
            thin: dict[str, Any] = {"show_dots": False, "stroke_style": {"width": 1, "dasharray": "4, 4"}}
            chart.add("95 % interval, lower end", [(step, low) for step, low, _ in bounds], **thin)
            chart.add("95 % interval, upper end", [(step, high) for step, _, high in bounds], **thin)
    svg: bytes = chart.render()
    return svg
