"""The page as a whole: one HTML file that asks nothing of any network.

Its policy allows one script and one style sheet, both in the file and known by their hashes, and no request at all. So
even markup that slipped through the escaping could load nothing and run nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from evalsuite.report.conditions import conditions_section, judge_section, loading_section
from evalsuite.report.history import history_section, when
from evalsuite.report.html import Child, Html, element
from evalsuite.report.numbers import number, plural, ratio
from evalsuite.report.questions import pack, read_questions
from evalsuite.report.saved import Shown, ShownCase, model_name
from evalsuite.report.scores import scores_section
from evalsuite.report.speed import is_optimisation, speed_section
from evalsuite.report.tables import badge, facts, note, section
from evalsuite.report.verdicts import flips, verdict_kind, verdicts_section
from evalsuite.report.work import memory_section, roofline_section, tokens_section


def render(shown: Shown, *, with_prompts: bool = True) -> str:
    """The file's text. The same runs give the same text.

    Raises:
        DataError: a file of answers or prompts is missing or is not what a run writes.
    """
    style, script = _resource("page.css"), _resource("page.js")
    title = f"evalsuite: {', '.join(_models(shown)) or 'no evaluation'}"
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Html(style)),
    )
    body = element("body", *_body(shown, with_prompts=with_prompts), element("script", Html(script)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def without_answers(shown: Shown) -> str:
    """The line that names the runs without answers."""
    names = ", ".join(saved.run.name for saved in shown.unanswered)
    return f"{plural(len(shown.unanswered), 'run')} without answers, not counted: {names}"


def _body(shown: Shown, *, with_prompts: bool) -> list[Html]:
    sections = [
        ("scores", "Scores", scores_section(shown)),
        ("speed", "Speed-up", speed_section(shown)),
        ("verdicts", "Verdicts", verdicts_section(shown)),
        ("tokens", "Tokens", tokens_section(shown)),
        ("roofline", "Roofline", roofline_section(shown)),
        ("memory", "Memory", memory_section(shown)),
        ("history", "History", history_section(shown)),
        ("loading", "Loader", loading_section(shown)),
        ("judge", "Judge", judge_section(shown)),
        ("questions", "Questions", _questions_section(shown, with_prompts=with_prompts)),
        ("conditions", "Conditions", conditions_section(shown)),
    ]
    kept = [(identifier, name, made) for identifier, name, made in sections if made is not None]
    links = (element("a", name, href=f"#{identifier}") for identifier, name, _ in kept)
    left_out = [note(badge("unfaithful", "left out"), f" A damaged run: {reason}") for reason in shown.damaged]
    if shown.unanswered:
        left_out.append(note(without_answers(shown)))
    if shown.older:
        why = "Of an older run, since newer ones answered fewer questions"
        left_out.append(note(f"{why}: {', '.join(shown.older)}."))
    main = element("main", *left_out, *(made for *_, made in kept))
    return [_header(shown), element("nav", *links, aria_label="Sections"), main]


def _header(shown: Shown) -> Html:
    newest = (shown.runs or shown.unanswered)[-1]
    subtitle = f"{newest.run.name}, began {when(newest)} UTC"
    if len(shown.runs) > 1:
        subtitle = f"{shown.in_words}, the newest {subtitle}"
    return element(
        "header",
        element("p", "evalsuite", class_="kicker"),
        element("h1", ", ".join(_models(shown)) or "No evaluation in these runs"),
        element("p", subtitle, class_="subtitle"),
        facts(_in_short(shown)),
    )


def _in_short(shown: Shown) -> list[tuple[str, Child]]:
    judged = [verdict_kind(case.record) for case in shown.cases]
    paths = [kind for kind in judged if kind != "reference"]
    found = sum(len(flips(case.record)) for case in shown.cases)
    faithful: list[Child] = [
        f"{paths.count('faithful')} of {len(paths)}",
        f", {plural(found, 'flip')}" if found else None,
    ]
    if changed := paths.count("unfaithful"):
        faithful += [" ", badge("unfaithful", f"{changed:,} not faithful")]
    fastest = max(
        (case for case in shown.cases if verdict_kind(case.record) == "faithful" and _is_timed_strategy(case)),
        key=lambda case: case.record["speed_up"]["ratio"],
        default=None,
    )
    most = {task: max(case.record["questions"] for case in cases) for task, cases in shown.by_task.items()}
    got = sorted({_loaded_as(case.record) for case in shown.cases} - {""})
    return [
        ("faithful paths", faithful if paths else "none compared"),
        (
            "fastest of them",
            f"{ratio(fastest.record['speed_up']['ratio'])}, {fastest.label}" if fastest else "nothing timed",
        ),
        ("questions", f"{sum(most.values()):,} in {plural(len(most), 'task')}"),
        ("ran as", "; ".join(got) or "unknown"),
    ]


def _is_timed_strategy(case: ShownCase) -> bool:
    return not is_optimisation(case) and number((case.record.get("speed_up") or {}).get("ratio")) is not None


def _loaded_as(record: Mapping[str, Any]) -> str:
    got = (record.get("load_report") or {}).get("got") or {}
    return ", ".join(str(got[key]) for key in ("dtype", "attention", "device") if key in got)


def _questions_section(shown: Shown, *, with_prompts: bool) -> Html:
    questions = read_questions(shown, with_prompts=with_prompts)
    if not questions:
        return section("questions", "Questions", note("The runs hold no answers to single questions."))
    missing = sum(question.prompt is None for question in questions)
    data = element("script", Html(pack(shown, questions)), type="text/plain", id="data")
    return section(
        "questions",
        "Questions",
        note(f"The text of {missing:,} prompts is not on this page.") if missing else None,
        _controls(),
        element("p", f"Unpacking {plural(len(questions), 'question')} ...", id="count", role="status"),
        element("noscript", note("The questions are listed, searched and filtered by JavaScript, which is off.")),
        element("div", id="list"),
        element("div", id="pager"),
        data,
    )


def _controls() -> Html:
    outcomes = {"": "any", "right": "right", "partly": "partly right", "wrong": "wrong", "unscored": "not scored"}
    return element(
        "form",
        _labelled(
            "Search",
            element("input", type="search", id="search", autocomplete="off", placeholder="id, prompt, answer"),
            "wide",
        ),
        _labelled("Task", element("select", id="task")),
        _labelled("Group", element("select", id="group")),
        _labelled("Case", element("select", id="case")),
        _labelled(
            "Outcome",
            element(
                "select", *(element("option", words, value=value) for value, words in outcomes.items()), id="outcome"
            ),
        ),
        element("label", element("input", type="checkbox", id="changed"), " answers differ", class_="check"),
        id="filters",
        role="search",
        aria_label="Questions",
    )


def _labelled(words: str, control: Html, kind: str | None = None) -> Html:
    return element("label", element("span", words), control, class_=kind)


def _models(shown: Shown) -> list[str]:
    return list(dict.fromkeys(model_name(case.record) for case in shown.cases))


def _resource(name: str) -> str:
    return files("evalsuite.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names an inline block: https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
