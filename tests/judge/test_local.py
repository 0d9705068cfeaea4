"""A judge in this process: batched, through the chat template where the rule says so, loaded through the pool."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalsuite import generation
from evalsuite.config import InferenceConfig
from evalsuite.errors import ModelLoadError
from evalsuite.judge import local
from evalsuite.judge.opening import open_judge
from evalsuite.judge.types import JudgeQuestion
from evalsuite.loading import load
from evalsuite.pool import ModelPool
from evalsuite.types import EncodedPrompt, Generation
from tests.judge.fake_server import question
from tests.tiny import WINDOW, make_model, tiny_tokenizer

FITTING = 2_000
"""Tokens: a judge's prompt is longer than the usual tiny window."""
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[judge]{% endif %}"
)
CPU = InferenceConfig(device="cpu", dtype="float32")


def save_model(directory: Path, *, window: int = FITTING, template: str | None = None, seed: int = 0) -> Path:
    model = make_model("qwen3", seed=seed)
    model.config.max_position_embeddings = window
    model.save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    if template:
        (directory / "chat_template.jinja").write_text(template)
    return directory


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("judge"))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The prompts of each call of the strategy, which answers 0.5 to everything."""
    calls: list[list[str]] = []

    def half(runner: Any, requests: Sequence[EncodedPrompt]) -> Iterator[Generation]:
        calls.append([tiny_tokenizer().decode(request.prompt_ids) for request in requests])
        for request in requests:
            yield Generation(id=request.id, text=" 0.5", token_ids=(2,), logprobs=(0.0,), finish_reason="eos")

    monkeypatch.setattr(generation, "STRATEGIES", {local.STRATEGY: half})
    return calls


def test_a_real_model_answers_every_question_and_what_is_no_number_is_missing(model: Path) -> None:
    grades = open_judge(f"local:{model}", config=CPU).grade([question(n) for n in range(5)])
    assert [grade.value for grade in grades.values()] == [None] * 5  # its weights are random
    assert all(grade.problem.startswith("no number in [0, 1]: ") for grade in grades.values())


def test_all_questions_go_to_the_engine_in_one_call_as_plain_text(model: Path, shown: list[list[str]]) -> None:
    judge = open_judge(f"local:{model}", config=CPU)
    grades = judge.grade([question(n) for n in range(5)])
    assert {grade.value for grade in grades.values()} == {0.5}
    assert [len(call) for call in shown] == [5]
    assert all(prompt.startswith("Chấm câu trả lời") and prompt.endswith("Điểm:") for prompt in shown[0])
    assert judge.name == f"local:{model}"


def test_a_model_with_a_chat_template_is_asked_in_one_user_turn(tmp_path: Path, shown: list[list[str]]) -> None:
    open_judge(f"local:{save_model(tmp_path, template=TEMPLATE)}", config=CPU).grade([question(0)])
    assert shown[0][0].startswith("[user]Chấm câu trả lời")
    assert shown[0][0].endswith("Điểm:[judge]")


def test_a_base_model_is_asked_in_plain_text_though_it_has_a_template(tmp_path: Path, shown: list[list[str]]) -> None:
    directory = save_model(tmp_path / "judge-base", template=TEMPLATE)
    open_judge(f"local:{directory}", config=CPU).grade([question(0)])
    assert shown[0][0].startswith("Chấm câu trả lời")


def test_the_model_is_the_pool_s_own_and_is_loaded_only_when_there_is_something_to_ask(
    model: Path, tmp_path: Path, shown: list[list[str]]
) -> None:
    loads: list[str] = []

    def counted(config: InferenceConfig) -> Any:
        loads.append(config.model)
        return load(config)

    pool = ModelPool(loader=counted)
    judge = open_judge(f"local:{model}", config=CPU, pool=pool, grades=tmp_path)
    assert loads == []
    for number in range(2):
        assert judge.grade([question(number)])[f"q/{number}"].value == 0.5
    assert (loads, [config.model for config in pool.resident]) == ([str(model)], [str(model)])
    # Another process: everything is known, so nothing is loaded.
    nothing = ModelPool(loader=lambda config: pytest.fail("loaded"))
    other = open_judge(f"local:{model}", config=CPU, pool=nothing, grades=tmp_path)
    assert other.grade([question(0)])["q/0"].reused


def test_grades_are_another_model_s_if_weights_or_template_differ_and_the_same_wherever_it_lies(
    model: Path, tmp_path: Path, shown: list[list[str]]
) -> None:
    grades = tmp_path / "grades"
    copies = {
        "moved": save_model(tmp_path / "moved" / model.name),
        "weights": save_model(tmp_path / "weights" / model.name, seed=1),
        "template": save_model(tmp_path / "template" / model.name, template=TEMPLATE),
    }
    open_judge(f"local:{model}", config=CPU, grades=grades).grade([question(0)])
    reused = {
        name: open_judge(f"local:{path}", config=CPU, grades=grades).grade([question(0)])["q/0"].reused
        for name, path in copies.items()
    }
    assert reused == {"moved": True, "weights": False, "template": False}


def test_a_prompt_that_does_not_fit_the_window_is_missing_and_the_others_are_graded(
    tmp_path: Path, shown: list[list[str]]
) -> None:
    judge = open_judge(f"local:{save_model(tmp_path)}", config=CPU)
    long = JudgeQuestion(id="long", task="vietnews", fields={"article": "dài " * FITTING}, gold=("x",), answer="y")
    grades = judge.grade([long, question(0)])
    assert grades["q/0"].value == 0.5
    assert grades["long"].value is None
    assert grades["long"].problem.startswith("longer than the judge's window: by ")


def test_what_stops_the_engine_makes_the_rest_missing_with_the_reason(model: Path) -> None:
    def too_large(config: InferenceConfig) -> Any:
        raise ModelLoadError("not enough memory: weights need 15.2 GiB. Free the device")

    judge = open_judge(f"local:{model}", config=CPU, pool=ModelPool(loader=too_large))
    grades = judge.grade([question(n) for n in range(2)])
    assert {grade.problem for grade in grades.values()} == {
        "ModelLoadError: not enough memory: weights need 15.2 GiB. Free the device"
    }


def test_a_window_that_no_prompt_fits_is_said(tmp_path: Path) -> None:
    judge = open_judge(f"local:{save_model(tmp_path, window=WINDOW)}", config=CPU)
    assert judge.grade([question(0)])["q/0"].problem.startswith("longer than the judge's window")
