"""What the work was: where tokens went, how near the time is to what the device can do, memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalsuite.report.html import Child, Html, element
from evalsuite.report.numbers import number, seconds, share, si, significant
from evalsuite.report.plots import Scale, axis, bar, legend, linear_scale, log_scale, mark, row_plot, whisker
from evalsuite.report.saved import Shown, ShownCase
from evalsuite.report.tables import Column, note, section, table

TOKENS = (
    ("distinct", "distinct: had to be computed"),
    ("recomputed", "recomputed: computed before"),
    ("padding", "padding"),
)


def tokens_section(shown: Shown) -> Html:
    return section(
        "tokens",
        "Where the tokens went",
        note("Token positions that went through the model, for each question. Exact counts, the same on any machine."),
        legend(("square", kind, words) for kind, words in TOKENS),
        *(_tokens_of_task(task, list(cases)) for task, cases in shown.by_task.items()),
    )


def token_parts(record: Mapping[str, Any]) -> dict[str, int]:
    """`TOKENS` of a record; what is neither distinct nor padding was computed again."""
    counters = record["counters"]
    computed, distinct, padding = (counters[k] for k in ("tokens_computed", "distinct_tokens", "padding_tokens"))
    return {"distinct": distinct, "recomputed": max(computed - distinct - padding, 0), "padding": padding}


def _tokens_of_task(task: str, cases: list[ShownCase]) -> Html:
    most = max(sum(token_parts(case.record).values()) / max(case.record["questions"], 1) for case in cases)
    scale = linear_scale(0, most)
    columns = [
        Column(name="case"),
        Column(name="tokens a question", kind="plot", axis=axis(scale, [f"{tick:,.6g}" for tick in scale.ticks])),
        Column(name="computed"),
        *(Column(name=kind) for kind, _ in TOKENS),
        Column(name="forwards"),
    ]
    return element(
        "div", element("h3", task), table(f"{task}: tokens", columns, (_tokens_row(c, scale) for c in cases))
    )


def _tokens_row(case: ShownCase, scale: Scale) -> list[Child]:
    parts, questions = token_parts(case.record), max(case.record["questions"], 1)
    bars, before = [], 0
    for kind, count in parts.items():
        bars.append(bar(scale.at(before / questions), scale.at((before + count) / questions), kind))
        before += count
    title = f"{case.label}: {before / questions:,.1f} tokens a question; " + ", ".join(
        f"{count:,} {kind}" for kind, count in parts.items()
    )
    counters = case.record["counters"]
    return [
        case.label,
        row_plot(title, scale, *bars),
        f"{counters['tokens_computed']:,}",
        *(f"{count:,}" for count in parts.values()),
        f"{counters['forward_passes']:,}",
    ]


def roofline_section(shown: Shown) -> Html:
    rates = {case.label: rate for case in shown.cases if (rate := flops_per_second(case.record))}
    ceilings = [c for case in shown.cases if (c := _ceiling(case.record))]
    scale = log_scale([*rates.values(), *ceilings])
    columns = [
        Column(name="case"),
        Column(name="FLOP/s", kind="plot", axis=axis(scale, [si(tick, "").replace(" ", "") for tick in scale.ticks])),
        Column(name="rate"),
        Column(name="ceiling"),
        Column(name="share"),
        Column(name="FLOPs"),
        Column(name="fastest round"),
    ]
    rows = [_roofline_row(case, rates[case.label], scale) for case in shown.cases if case.label in rates]
    without = len(rates) - sum(_ceiling(case.record) is not None for case in shown.cases if case.label in rates)
    return section(
        "roofline",
        "Time against the roofline",
        note(
            "FLOPs that had to be done (distinct tokens, each once) over the seconds of the fastest round, "
            "beside the rate of matrix products measured on the same device in the same run: the ceiling."
        ),
        note(f"{without} of {len(rates)} records hold no ceiling: for these, the rate alone is shown.")
        if without
        else None,
        legend((("circle", "score", "rate"), ("bar", "one", "ceiling"))) if ceilings else None,
        table("Time against the roofline", columns, rows),
    )


def flops_per_second(record: Mapping[str, Any]) -> float | None:
    """FLOPs over the seconds of the fastest round; None where nothing was timed."""
    rate, questions = number(record.get("questions_per_s")), record.get("questions")
    if not record.get("timed", True) or not rate or not questions:
        return None
    return float(record["counters"]["flops"]) * rate / float(questions) or None


def _ceiling(record: Mapping[str, Any]) -> float | None:
    return number((record.get("ceiling") or {}).get("flops_per_second"))


def _roofline_row(case: ShownCase, rate: float, scale: Scale) -> list[Child]:
    ceiling = _ceiling(case.record)
    known = "no ceiling in this record" if ceiling is None else f"{share(rate / ceiling)} of {si(ceiling, 'FLOP/s')}"
    to_ceiling = [] if ceiling is None else [whisker(scale.at(rate), scale.at(ceiling), "faint")]
    at_ceiling = [] if ceiling is None else [mark(scale.at(ceiling), "bar", "one")]
    title = f"{case.label}: {si(rate, 'FLOP/s')}, {known}"
    return [
        case.label,
        row_plot(title, scale, *to_ceiling, *at_ceiling, mark(scale.at(rate), "circle", "score")),
        si(rate, "FLOP/s"),
        "none" if ceiling is None else si(ceiling, "FLOP/s"),
        "" if ceiling is None else share(rate / ceiling),
        si(case.record["counters"]["flops"], "FLOP"),
        seconds(case.record["counters"]["flops"] / rate),
    ]


def memory_section(shown: Shown) -> Html | None:
    known = [case for case in shown.cases if case.record.get("peak_memory")]
    if not known:
        return None
    scale = linear_scale(0, max(case.record["peak_memory"]["bytes"] for case in known) / 1e9)
    columns = [
        Column(name="case"),
        Column(name="GB", kind="plot", axis=axis(scale, [significant(tick) for tick in scale.ticks])),
        Column(name="peak"),
        Column(name="of", kind="text"),
        Column(name="keys and values"),
        Column(name="parameters"),
    ]
    return section(
        "memory",
        "Memory",
        note(
            "The peak while the questions were answered. "
            "“Resident” is that of the whole process, Python and torch included."
        ),
        table("Peak memory", columns, (_memory_row(case, scale) for case in known)),
    )


def _memory_row(case: ShownCase, scale: Scale) -> list[Child]:
    peak, parameters = case.record["peak_memory"], (case.record.get("load_report") or {}).get("parameters")
    words = si(peak["bytes"], "B")
    plot = row_plot(f"{case.label}: {words}, {peak['kind']}", scale, bar(0, scale.at(peak["bytes"] / 1e9), "distinct"))
    cached = case.record["counters"].get("kv_bytes") or 0
    return [
        case.label,
        plot,
        words,
        peak["kind"],
        si(cached, "B") if cached else "none",
        "" if parameters is None else si(parameters, "").strip(),
    ]
