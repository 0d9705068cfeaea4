"""Around any way of asking: each distinct prompt once, replies read, grades kept and reused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from evalsuite.errors import ConfigError, EvalsuiteError
from evalsuite.judge import grading
from evalsuite.judge.grading import AskingJudge, OnReply, Reply
from evalsuite.judge.types import JudgeGrade, JudgeQuestion
from tests.judge.fake_server import question


@dataclass
class Scripted:
    """Replies as `script` says; remembers the prompts."""

    script: Callable[[str], str | None] = lambda prompt: "1"
    identity: Mapping[str, str] = field(default_factory=lambda: {"kind": "scripted", "model": "a/b/judge"})
    name: str = "scripted"
    asked: list[str] = field(default_factory=list)

    def ask(self, prompts: Mapping[str, str], on_reply: OnReply) -> None:
        for key, prompt in prompts.items():
            self.asked.append(prompt)
            text = self.script(prompt)
            on_reply(key, Reply(text=text, problem="" if text is not None else "HTTP 500: no"))

    def hide(self, text: str) -> str:
        return text


def test_equal_answers_are_asked_about_once_and_get_the_same_grade_at_once() -> None:
    asker = Scripted()
    same = [question(0, "Hà Nội"), question(1, "Hà  Nội"), question(2, "Huế")]
    seen: list[str] = []
    grades = AskingJudge(asker, None).grade(same, on_grade=lambda grade: seen.append(grade.id))
    assert len(asker.asked) == 2
    assert list(grades) == ["q/0", "q/1", "q/2"]
    assert (sorted(seen), {grade.value for grade in grades.values()}) == (["q/0", "q/1", "q/2"], {1.0})


def test_grades_are_reused_by_later_cases_and_later_runs(tmp_path: Path) -> None:
    asker = Scripted(script=lambda prompt: "0,5")
    judge = AskingJudge(asker, tmp_path)
    first = judge.grade([question(0)])["q/0"]
    again = judge.grade([replace(question(0), id="other")])["other"]
    next_run = AskingJudge(asker, tmp_path).grade([question(0)])["q/0"]
    assert first == JudgeGrade(id="q/0", value=0.5, reply="0,5")
    assert (again, next_run) == (replace(first, id="other", reused=True), replace(first, reused=True))
    assert len(asker.asked) == 1
    assert [path.name.rsplit("-", 1)[0] for path in tmp_path.iterdir()] == ["judge-viquad-1"]


CHANGES: dict[str, Callable[[JudgeQuestion], JudgeQuestion]] = {
    "answer": lambda q: replace(q, answer="khác"),
    "gold": lambda q: replace(q, gold=("Huế",)),
    "passage": lambda q: replace(q, fields={**q.fields, "context": "khác"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_answer_gold_or_passage_is_asked_about_anew(tmp_path: Path, change: str) -> None:
    asker = Scripted()
    AskingJudge(asker, tmp_path).grade([question(0)])
    AskingJudge(asker, tmp_path).grade([CHANGES[change](question(0))])
    assert len(asker.asked) == 2


def test_another_judge_is_asked_anew(tmp_path: Path) -> None:
    AskingJudge(Scripted(), tmp_path).grade([question(0)])
    other = Scripted(identity={"kind": "scripted", "model": "other"})
    AskingJudge(other, tmp_path).grade([question(0)])
    assert len(other.asked) == 1


def test_another_wording_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asker = Scripted()
    AskingJudge(asker, tmp_path).grade([question(0)])
    prompt = grading.judge_prompt("viquad")
    monkeypatch.setattr(grading, "judge_prompt", lambda _: replace(prompt, version="viquad-2"))
    AskingJudge(asker, tmp_path).grade([question(0)])
    assert len(asker.asked) == 2


def test_what_is_missing_is_never_kept_and_is_asked_again(tmp_path: Path) -> None:
    replies = iter([None, "8/10", "1"])
    asker = Scripted(script=lambda prompt: next(replies))
    judge = AskingJudge(asker, tmp_path)
    grades = [judge.grade([question(0)])["q/0"] for _ in range(3)]
    assert "null" not in "".join(path.read_text() for path in tmp_path.iterdir())
    assert [grade.value for grade in grades] == [None, None, 1.0]
    assert [grade.problem for grade in grades] == ["HTTP 500: no", "no number in [0, 1]: '8/10'", ""]


def test_what_was_graded_before_a_crash_is_kept(tmp_path: Path) -> None:
    def dies_at_the_third(prompt: str) -> str:
        if "thành phố 2" in prompt:
            raise KeyboardInterrupt
        return "1"

    with pytest.raises(KeyboardInterrupt):
        AskingJudge(Scripted(script=dies_at_the_third), tmp_path).grade([question(n) for n in range(4)])
    asker = Scripted()
    grades = AskingJudge(asker, tmp_path).grade([question(n) for n in range(4)])
    assert [grade.reused for grade in grades.values()] == [True, True, False, False]


def test_both_tasks_are_graded_each_under_its_own_wording(tmp_path: Path) -> None:
    news = JudgeQuestion(id="n", task="vietnews", fields={"article": "Bài."}, gold=("Tóm.",), answer="Tóm tắt.")
    asker = Scripted()
    assert AskingJudge(asker, tmp_path).grade([news, question(0)]).keys() == {"n", "q/0"}
    assert ("Bài báo: Bài." in asker.asked[0], "Câu hỏi:" in asker.asked[1]) == (True, True)
    assert len(list(tmp_path.iterdir())) == 2


def test_no_questions_ask_nothing() -> None:
    asker = Scripted()
    assert AskingJudge(asker, None).grade([]) == {}
    assert asker.asked == []


def test_long_replies_are_cut() -> None:
    grade = AskingJudge(Scripted(script=lambda _: "dài " * 10_000), None).grade([question(0)])["q/0"]
    assert (len(grade.reply), len(grade.problem)) <= (grading.MOST_CHARACTERS, grading.MOST_CHARACTERS)


def test_questions_that_cannot_be_told_apart_or_graded_are_refused() -> None:
    judge = AskingJudge(Scripted(), None)
    with pytest.raises(EvalsuiteError, match="distinct ids"):
        judge.grade([question(0), question(0, "khác")])
    with pytest.raises(ConfigError, match="expected one of the tasks viquad, vietnews; got 'mmlu'"):
        judge.grade([replace(question(0), task="mmlu")])


def test_an_asker_that_loses_a_prompt_is_found_out() -> None:
    asker = Scripted()
    asker.ask = lambda prompts, on_reply: None  # type: ignore[method-assign]
    with pytest.raises(EvalsuiteError, match="1 prompts got no reply"):
        AskingJudge(asker, None).grade([question(0)])
