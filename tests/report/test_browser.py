"""The page in headless Chromium."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.making import HOSTILE, NAME, page_of, varied_run

PHONE = {"width": 360, "height": 740}
SECONDS = 3.0
Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any) -> Any:
    """Opens a file and waits for its questions. Whatever the console says, or the page asks of a network, fails."""
    complaints: list[str] = []
    contexts = []

    def opened(path: Path, **context: Any) -> Any:
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request", lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url)
        )
        page.goto(path.as_uri())
        page.locator("#list > details").first.wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def plain_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, so that there is a history."""
    folder = tmp_path_factory.mktemp("plain")
    runs = [varied_run(folder / "old").rename(folder / NAME.replace("12", "11")), varied_run(folder / "new")]
    path = folder / "page.html"
    path.write_text(page_of(*runs), encoding="utf-8")
    return path


def see(page: Any, *ids: str) -> None:
    """Wait until exactly these questions are listed."""
    from playwright.sync_api import expect

    expect(page.locator("#list .id")).to_have_text([re.compile(f"^{re.escape(id_)}($|,)") for id_ in ids])


def search(page: Any, words: str, *ids: str) -> None:
    page.fill("#search", words)
    see(page, *ids)


def test_every_section_is_shown_and_the_console_is_silent(open_page, plain_page):
    page = open_page(plain_page)
    titles = page.locator("h2").all_inner_texts()
    assert titles == [
        "Scores",
        "Speed-up",
        "Verdicts",
        "Where the tokens went",
        "Time against the roofline",
        "Memory",
        "History",
        "Asked of the loader, and got",
        "Questions",
        "Conditions",
    ]
    assert page.locator("svg[role=img]").count() > 20


def test_search_looks_at_ids_prompts_and_answers(open_page, plain_page):
    page = open_page(plain_page)
    search(page, "LAW/2", "mmlu/test/law/2")
    search(page, "question number 3", "mmlu/test/law/3")
    search(page, "plain", "mmlu/test/law/3")
    search(page, "nowhere to be found")


@pytest.mark.parametrize(
    ("control", "label", "expected"),
    [
        ("#group", "law", ["mmlu/test/law/2", "mmlu/test/law/3"]),
        ("#outcome", "right", ["mmlu/test/anatomy/0"]),
        ("#outcome", "wrong", ["mmlu/test/anatomy/1", "mmlu/test/law/2", "mmlu/test/law/3"]),
        ("#outcome", "not scored", []),
        ("#case", "test_batch_size[8]", []),
    ],
)
def test_filters_keep_what_they_name(open_page, plain_page, control, label, expected):
    page = open_page(plain_page)
    page.select_option(control, label=label)
    see(page, *expected)


def test_filters_combine_and_a_case_narrows_outcomes_to_its_own(open_page, plain_page):
    page = open_page(plain_page)
    page.select_option("#case", label="test_mmlu[padded]")
    page.select_option("#outcome", label="wrong")
    see(page, "mmlu/test/anatomy/1")
    page.select_option("#outcome", label="any")
    page.select_option("#case", label="any")
    page.check("#changed")
    see(page, "mmlu/test/law/2", "mmlu/test/law/3")


def test_a_question_opens_to_its_prompt_gold_answers_and_flip(open_page, plain_page):
    page = open_page(plain_page)
    search(page, "law/2", "mmlu/test/law/2")
    page.locator("#list summary").first.click()
    inside = page.locator("#list .inside").inner_text()
    for words in (
        "Question number 2?",
        "A. yes",
        "right",
        "test_mmlu[unbatched], test_mmlu[padded]",
        "A -0.123, B -2.25",
    ):
        assert words in inside
    assert "test_mmlu[packed]: below noise, margin 0.01 nats, “A” became “B”" in inside


def test_a_flip_in_the_verdicts_leads_to_its_question(open_page, plain_page):
    page = open_page(plain_page)
    page.get_by_role("link", name="mmlu/test/law/2").click()
    see(page, "mmlu/test/law/2")


def test_a_hostile_string_stays_text(open_page, hostile_page):
    from playwright.sync_api import expect

    page = open_page(hostile_page)
    summaries = page.locator("#list summary").all()
    for summary in summaries:
        summary.click()
    expect(page.locator("#list .prompt")).to_have_count(len(summaries))  # written when a question is opened
    assert page.evaluate("window.pwned") is None
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1  # the data is taken out once it is unpacked
    visible = HOSTILE[: HOSTILE.index("\u2028")].strip()
    assert visible in page.locator("#list .prompt").last.text_content()
    assert visible in page.locator("#verdicts").text_content()
    assert visible in page.locator("#loading").text_content()


@pytest.mark.parametrize("which", ["plain_page", "hostile_page"])
def test_a_phone_scrolls_one_way_only(open_page, which, request):
    page = open_page(request.getfixturevalue(which), viewport=PHONE)
    for summary in page.locator("summary").all():
        if summary.is_visible():
            summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_the_dark_scheme_is_dark_and_print_is_not(open_page, plain_page):
    def paper(page: Any) -> list[int]:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in re.findall(r"\d+", colour)[:3]]

    page = open_page(plain_page, color_scheme="dark")
    assert max(paper(page)) < 64
    page.emulate_media(media="print")
    assert min(paper(page)) > 240
    assert page.locator("nav").is_hidden()
    assert len(page.pdf(format="A4")) > 10_000


def test_thirty_thousand_questions_open_and_filter_at_once(open_page, large_page):
    path, _ = large_page
    start = time.perf_counter()
    page = open_page(path)
    opened = time.perf_counter() - start
    start = time.perf_counter()
    search(page, "question number 29999?", f"mmlu/test/subject_{29_999 % 57}/29999")
    searched = time.perf_counter() - start
    assert opened < SECONDS
    assert searched < SECONDS
    page.fill("#search", "")
    page.get_by_role("button", name="Next").click()
    assert "page 2 of 600" in page.locator("#pager").inner_text()
