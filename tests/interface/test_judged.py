"""ViQuAD and VietNews runs with a judge: scripted, behind a real HTTP server, absent, and failing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.vietnews_summarization_eval import run_vietnews_summarization_eval
from benchmarks.viquad_eval import run_viquad_eval_with_judge
from evalsuite.errors import ConfigError, JudgeError
from evalsuite.judge.types import JudgeGrade, JudgeQuestion
from evalsuite.nano import DATA_DIR
from evalsuite.types import Graded
from tests.interface.conftest import Pair
from tests.judge.fake_server import AT_ONCE, KEY, MODEL, Answer, fails, lists, says, serving

VIQUAD_FILE = DATA_DIR / "viquad" / "sample.json"


class ScriptedJudge:
    """Grades by a function of the question's place; None is a missing grade."""

    name = "scripted"

    def __init__(self, script: Callable[[int, JudgeQuestion], float | None]) -> None:
        self._script = script
        self.questions: list[JudgeQuestion] = []

    def grade(
        self, questions: Sequence[JudgeQuestion], *, on_grade: Callable[[JudgeGrade], object] | None = None
    ) -> dict[str, JudgeGrade]:
        self.questions.extend(questions)
        grades = {}
        for place, question in enumerate(questions):
            value = self._script(place, question)
            problem = "" if value is not None else "timeout: no answer"
            grades[question.id] = JudgeGrade(id=question.id, value=value, problem=problem)
            if on_grade is not None:
                on_grade(grades[question.id])
        return grades


@pytest.mark.parametrize("use_batching", [True, False], ids=["batched", "unbatched"])
def test_viquad_is_scored_by_match_and_by_the_judge(nano: Pair, use_batching: bool) -> None:
    judge = ScriptedJudge(lambda _, question: 0.25 if question.gold == ("",) else 0.75)
    metrics, counts = run_viquad_eval_with_judge(
        *nano, data="sample", max_samples=20, judge=judge, use_batching=use_batching
    )
    answerable = counts["answerable"]
    assert counts == {
        "overall": 20,
        "answerable": answerable,
        "unanswerable": 20 - answerable,
        "judged": 20,
        "judge_missing": 0,
    }
    assert metrics == {
        "exact_match": 1.0,
        "f1": 1.0,
        "answerable_exact_match": 1.0,
        "answerable_f1": 1.0,
        "unanswerable_exact_match": 1.0,
        "unanswerable_f1": 1.0,
        "overall_judge_score": pytest.approx((0.75 * answerable + 0.25 * (20 - answerable)) / 20),
        "answerable_judge_score": 0.75,
        "unanswerable_judge_score": 0.25,
    }


def test_the_judge_is_shown_passage_question_golds_and_answer(nano: Pair) -> None:
    judge = ScriptedJudge(lambda *_: 1.0)
    run_viquad_eval_with_judge(*nano, VIQUAD_FILE, judge=judge)
    (paragraph, *_) = json.loads(VIQUAD_FILE.read_text("utf-8"))["data"][0]["paragraphs"]
    first = judge.questions[0]
    assert (first.task, first.fields["context"]) == ("viquad", paragraph["context"])
    assert first.fields["question"] == paragraph["qas"][0]["question"]
    assert first.answer in first.gold


def test_vietnews_is_scored_by_rouge_and_by_the_judge(nano: Pair) -> None:
    judge = ScriptedJudge(lambda place, _: place % 2)
    metrics, counts = run_vietnews_summarization_eval(*nano, data="sample", max_samples=6, judge=judge)
    assert metrics == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0, "overall_judge_score": 0.5}
    assert counts == {"overall": 6, "judged": 6, "judge_missing": 0}
    assert {question.task for question in judge.questions} == {"vietnews"}
    assert all(question.fields["article"] for question in judge.questions)


def test_without_a_judge_its_score_is_absent_rather_than_zero(nano: Pair) -> None:
    metrics, counts = run_vietnews_summarization_eval(*nano, data="sample", max_samples=4)
    assert metrics == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}
    assert counts == {"overall": 4}


def test_a_missing_grade_is_counted_and_is_no_zero(nano: Pair) -> None:
    judge = ScriptedJudge(lambda place, _: None if place == 3 else 1.0)
    metrics, counts = run_viquad_eval_with_judge(*nano, data="sample", max_samples=40, judge=judge)
    assert metrics["overall_judge_score"] == 1.0
    assert (counts["overall"], counts["judged"], counts["judge_missing"]) == (40, 39, 1)


def test_too_many_missing_grades_fail_the_run_after_every_answer_was_seen(nano: Pair) -> None:
    seen: list[Graded] = []
    judge = ScriptedJudge(lambda place, _: None if place < 2 else 1.0)
    with pytest.raises(JudgeError, match=r"got 2 of 20 \(10\.0%\): 2 timeout") as caught:
        run_viquad_eval_with_judge(*nano, data="sample", max_samples=20, judge=judge, on_graded=seen.append)
    assert len(seen) == 20
    assert caught.value.__notes__[0].startswith("without the judge: exact_match 1.0000, f1 1.0000")


def test_a_served_judge_is_asked_by_address_model_and_key(nano: Pair, tmp_path: Path) -> None:
    with serving(lambda number, body: says("0.5"), models=lists(MODEL, "another")) as server:
        for _ in range(2):  # the second time, every grade is kept already
            metrics, counts = run_viquad_eval_with_judge(
                *nano,
                data="sample",
                max_samples=12,
                judge_base_url=server.url,
                judge_api_key=KEY,
                judge_model=MODEL,
                judge_grades=tmp_path,
            )
            assert metrics["overall_judge_score"] == 0.5
            assert counts["judged"] == 12
        assert set(server.keys) == {f"Bearer {KEY}"}
        assert {body["model"] for body in server.bodies} == {MODEL}
        assert len(server.bodies) <= 12
    assert KEY not in "".join(path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file())


def test_a_served_judge_that_talks_is_missing_and_the_run_fails(nano: Pair) -> None:
    def respond(number: int, _: object) -> Answer:
        return says("Tôi không biết chấm.") if number % 2 else fails(429, headers=AT_ONCE)

    with serving(respond) as server, pytest.raises(JudgeError, match=r"at most 5% of the grades to be missing"):
        run_vietnews_summarization_eval(*nano, data="sample", max_samples=4, judge_base_url=server.url)


def test_a_judge_that_is_not_there_is_named_before_anything_is_generated(nano: Pair) -> None:
    seen: list[Graded] = []
    with serving(lambda *_: says("1")) as server:
        url = server.url
    with pytest.raises(JudgeError, match=r"expected an OpenAI-compatible server at http://127"):
        run_viquad_eval_with_judge(*nano, data="sample", judge_base_url=url, on_graded=seen.append)
    assert seen == []


@pytest.mark.parametrize("grades", ["in the way", 3], ids=str)
def test_grades_that_cannot_be_kept_are_named_before_anything_is_generated(
    nano: Pair, tmp_path: Path, grades: object
) -> None:
    (tmp_path / "in the way").write_text("a file")
    place = str(tmp_path / grades) if isinstance(grades, str) else grades
    seen: list[Graded] = []
    with serving(lambda *_: says("1")) as server, pytest.raises(ConfigError, match=r"grades: expected a (folder|path)"):
        run_viquad_eval_with_judge(
            *nano, data="sample", judge_base_url=server.url, judge_grades=place, on_graded=seen.append
        )
    assert seen == []


def test_a_folder_of_grades_may_be_given_as_text(nano: Pair, tmp_path: Path) -> None:
    with serving(lambda *_: says("1")) as server:
        run_vietnews_summarization_eval(
            *nano, data="sample", max_samples=2, judge_base_url=server.url, judge_grades=str(tmp_path / "grades")
        )
    assert len(list((tmp_path / "grades").iterdir())) == 1


def test_an_empty_key_keeps_the_environment_s_from_the_server(nano: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALSUITE_JUDGE_API_KEY", KEY)
    with serving(lambda *_: says("1")) as server:
        run_vietnews_summarization_eval(
            *nano, data="sample", max_samples=2, judge_base_url=server.url, judge_api_key=""
        )
        assert server.keys
        assert KEY not in str(server.keys)


def test_an_address_given_as_a_judge_is_named_before_anything_is_generated(nano: Pair) -> None:
    with pytest.raises(ConfigError, match=r"judge: expected a judge that is open, got str; give judge_base_url"):
        run_viquad_eval_with_judge(*nano, data="sample", judge="http://127.0.0.1:9/v1")


def test_a_judge_half_named_or_named_twice_is_refused(nano: Pair) -> None:
    with pytest.raises(ConfigError, match=r"a model or a key without an address; give judge_base_url"):
        run_viquad_eval_with_judge(*nano, data="sample", judge_model="Qwen2.5-7B-Instruct")
    with pytest.raises(ConfigError, match=r"judge: expected judge_base_url or judge, got both"):
        run_viquad_eval_with_judge(
            *nano, data="sample", judge=ScriptedJudge(lambda *_: 1.0), judge_base_url="http://127.0.0.1:9/v1"
        )


def test_one_file_is_read_as_its_split(nano: Pair, tmp_path: Path) -> None:
    own = tmp_path / "mine.json"
    own.write_text(VIQUAD_FILE.read_text("utf-8"), "utf-8")
    assert run_viquad_eval_with_judge(*nano, own, max_samples=8)[1]["overall"] == 8
    with pytest.raises(ConfigError, match=r"mine\.json is one file, which leaves no choice of a split; got split 'x'"):
        run_viquad_eval_with_judge(*nano, own, split="x")
    (tmp_path / "viquad").mkdir()
    with pytest.raises(ConfigError, match=r"mine\.json stands beside a folder viquad/"):
        run_viquad_eval_with_judge(*nano, own)
