"""The page as a document: whole, closed to any network, and saying what the records say."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from tests.report.making import BUILT_WITHIN, flip, page_of, record, speed_up, varied_run, verdict, write_run

PADDED = "test_mmlu[padded]"


def section(page: str, identifier: str) -> str:
    """The words of a section."""
    markup = re.search(rf'<section id="{identifier}".*?</section>', page, re.DOTALL)[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", re.sub(r"<title>.*?</title>", "", markup)))


def page_with(tmp_path, **changes):
    return page_of(write_run(tmp_path, {PADDED: record(PADDED, **changes)}))


def test_the_document_has_no_error_of_syntax(hostile_page):
    html5lib = pytest.importorskip("html5lib", reason="html5lib is not installed: the extra [dev] has it")
    parser = html5lib.HTMLParser(strict=True)
    parser.parse(hostile_page.read_text(encoding="utf-8"))
    assert parser.errors == []


def test_ids_are_unique_and_links_lead_somewhere(hostile_page):
    page = hostile_page.read_text(encoding="utf-8")
    ids = re.findall(r'<[^>]* id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_nothing_is_asked_of_a_network(hostile_page):
    page = hostile_page.read_text(encoding="utf-8")
    assert re.search(r"""(src|href|action)=["'](?!#|data:,)""", page) is None
    assert re.search(r"@import|url\(|https?://", page) is None


def test_the_policy_names_the_one_script_and_the_one_style_and_allows_nothing_else(hostile_page):
    page = hostile_page.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#x27;", "'")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules.pop("default-src") == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules.pop(rule) == f"'sha256-{digest}'"
    assert rules == {"img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}


def test_the_script_never_makes_markup_or_code_of_text(hostile_page):
    script = re.findall(r"<script>(.*?)</script>", hostile_page.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(|fetch\(", script)


def test_the_same_runs_give_the_same_page(tmp_path):
    run = varied_run(tmp_path)
    assert page_of(run) == page_of(run)


def test_scores_stand_by_task_and_by_group_with_their_intervals(tmp_path):
    words = section(page_with(tmp_path), "scores")
    assert "test_mmlu[padded] 0.750 0.301 to 0.954 4" in words
    assert "anatomy 0.750 0.198 to 0.973 2" in words


def test_by_group_says_of_which_case(tmp_path):
    cases = {name: record(name, questions=count) for name, count in ((PADDED, 4), ("test_mmlu[packed]", 6))}
    folded = re.search(r"<summary>(By group.*?)</summary>", page_of(write_run(tmp_path / "whole", cases)))[1]
    assert folded == "By group, of test_mmlu[packed]: 2 groups"
    folded = re.search(r"<summary>(By group.*?)</summary>", page_with(tmp_path / "narrowed", left_out=116))[1]
    assert folded == "By group, of test_mmlu[padded], 4 of 120 (--limit): 2 groups"


def test_a_narrowed_case_says_of_how_many_questions_its_score_is(tmp_path):
    words = section(page_with(tmp_path / "narrowed", left_out=116), "scores")
    assert "test_mmlu[padded] 0.750 0.301 to 0.954 4 of 120 (--limit)" in words
    score = record(PADDED)["score"] | {"count": 3}
    words = section(page_with(tmp_path / "unscored", left_out=116, score=score), "scores")
    assert "3 scored, 4 of 120 (--limit)" in words


def test_above_the_sections_stand_runs_without_answers_and_cases_of_an_older_run(tmp_path):
    write_run(tmp_path, {PADDED: record(PADDED, questions=120)}, name="20260101-000000-nano-1")
    write_run(tmp_path, {PADDED: record(PADDED, questions=10, left_out=110)}, name="20260102-000000-nano-1")
    for number in (3, 4):
        write_run(tmp_path, {}, name=f"2026010{number}-000000-nano-1")
    page = page_of(tmp_path)
    assert "2 runs, the newest 20260102-000000-nano-1" in page
    assert "2 runs without answers, not counted: 20260103-000000-nano-1, 20260104-000000-nano-1<" in page
    assert "Of an older run, since newer ones answered fewer questions: test_mmlu[padded].<" in page
    assert "Of an older run" not in page_of(tmp_path / "20260101-000000-nano-1")


def test_strategies_and_optimisations_stand_apart(tmp_path):
    cases = {
        PADDED: record(PADDED),
        "test_batch_size[8]": record("test_batch_size[8]", speed_up=speed_up(2.0, "padded")),
        "test_mmlu[packed]": record("test_mmlu[packed]", speed_up=None),
    }
    words = section(page_of(write_run(tmp_path, cases)), "speed")
    strategies, _, optimisations = words.partition("Optimisations, each")
    assert "test_mmlu[padded] 4.00x 3.20x to 4.80x 100 ms 5" in strategies
    assert "test_batch_size[8] 2.00x" in optimisations
    assert "Not timed: test_mmlu[packed]." in words


@pytest.mark.parametrize(
    ("found", "kind", "words"),
    [
        (verdict(4), "faithful", "✓ faithful"),
        (verdict(4, faithful=False), "unfaithful", "not faithful 1 answer changed"),
        ({"faithful": None, "summary": "NOT JUDGED: no memory"}, "unjudged", "not judged NOT JUDGED: no memory"),
    ],
)
def test_a_verdict_has_its_shape_in_the_speed_ups_and_its_words(tmp_path, found, kind, words):
    page = page_with(tmp_path, verdict=found)
    markup = re.search(r"<table class=\"plots\"><caption>Strategies.*?</table>", page, re.DOTALL)[0]
    assert f'class="mark {kind}"' in markup
    assert words.removeprefix("✓ ") in section(page, "verdicts")


def test_the_head_of_the_page_says_that_a_path_is_not_faithful(tmp_path):
    head = re.search(r"<header>.*?</header>", page_with(tmp_path, verdict=verdict(4, faithful=False)), re.DOTALL)[0]
    assert "0 of 1" in head
    assert "1 not faithful" in head


def test_every_flip_stands_with_its_margin_the_unexcused_first(tmp_path):
    found = [
        flip("q/1", margin=0.012, excused=True),
        flip("q/2", margin=0.7, excused=False),
        flip("q/3", margin=None, excused=False),
    ]
    words = section(page_with(tmp_path, verdict=verdict(4, found, faithful=False)), "verdicts")
    assert "3, 1 below noise" in words
    assert re.search(
        r"q/2 .*0\.7 changed .*q/3 .*none: rounding cannot do this changed .*q/1 .*0\.012 below noise", words
    )


def test_tokens_are_distinct_recomputed_or_padding(tmp_path):
    assert "test_mmlu[padded] 400 200 120 80 1" in section(page_with(tmp_path), "tokens")


def test_the_rate_stands_beside_the_ceiling(tmp_path):
    words = section(page_with(tmp_path), "roofline")
    assert "test_mmlu[padded] 10 MFLOP/s 1 GFLOP/s 1.0 % 4 MFLOP 400 ms" in words


def test_a_record_without_a_ceiling_shows_its_rate_and_says_so(tmp_path):
    words = section(page_with(tmp_path, ceiling=None), "roofline")
    assert "1 of 1 records hold no ceiling" in words
    assert "test_mmlu[padded] 10 MFLOP/s none" in words


def test_a_step_down_stands_with_what_was_asked_what_came_and_why(tmp_path):
    report = record(PADDED)["load_report"]
    report |= {"asked": {"attention": "flash_attention_2"}, "got": {"attention": "sdpa"}}
    step = {"what": "attention", "asked": "flash_attention_2", "got": "sdpa", "reason": "not installed"}
    words = section(page_with(tmp_path, load_report=report, fallbacks=[step]), "loading")
    assert "attention flash_attention_2 sdpa step down" in words
    assert "attention flash_attention_2 sdpa not installed" in words


def test_the_judge_has_a_block_where_there_is_one(tmp_path):
    score = {"name": "judge_score", "value": 0.5, "stderr": 0.1, "count": 3, "group": "overall"}
    judge = {
        "name": "local:nano",
        "prompt": {"version": 2, "hash": "abc"},
        "score": score,
        "graded": 3,
        "missing": 1,
        "missing_share": 0.25,
        "reasons": {"timeout": 1},
        "reused": 2,
        "seconds": 1.5,
    }
    words = section(page_with(tmp_path / "judged", judge=judge), "judge")
    assert "local:nano 0.500 ± 0.100 3 1 (25.0%) 1 timeout 2 version 2, abc 1.5 s" in words
    assert 'id="judge"' not in page_with(tmp_path / "not")
    skipped = section(page_with(tmp_path / "skipped", judge={"skipped": "its answers are letters"}), "judge")
    assert "Not asked, its answers are letters: test_mmlu[padded]." in skipped


def test_history_needs_two_runs_and_then_shows_both(tmp_path):
    assert "One run." in section(page_with(tmp_path / "one"), "history")
    for day, ratio in ((1, 4.0), (2, 5.0)):
        write_run(
            tmp_path / "two", {PADDED: record(PADDED, speed_up=speed_up(ratio))}, name=f"2026010{day}-000000-nano-1"
        )
    words = section(page_of(tmp_path / "two"), "history")
    assert "2026-01-01 00:00 0.750 4.00x 400" in words
    assert "2026-01-02 00:00 0.750 5.00x 400" in words


def test_random_weights_have_no_score_and_the_page_says_so(tmp_path):
    assert "Not scored: random weights" in section(page_with(tmp_path, score=None, metrics=[]), "scores")


def test_a_run_without_evaluations_is_still_a_page(tmp_path):
    page = page_of(write_run(tmp_path, {"test_loading": {"seconds": [1.0]}}))
    assert "No evaluation in these runs" in page
    assert "they evaluate no task: test_loading" in section(page, "conditions")


def test_thirty_thousand_questions_are_built_in_three_seconds(large_page):
    path, seconds = large_page
    assert seconds < BUILT_WITHIN
    assert "Unpacking 30,000 questions" in path.read_text(encoding="utf-8")
