"""What the README quotes under "Troubleshooting" is what comes out, word for word, and its remedies are remedies."""

from __future__ import annotations

from typing import Any

import pytest

from tests.troubleshooting import provocations as provoke
from tests.troubleshooting.conftest import Lab
from tests.troubleshooting.provocations import PROVOCATIONS, Provocation
from tests.troubleshooting.quotes import quoted, says


def provoked() -> list[Any]:
    return [
        pytest.param(provocation, message, id=provocation.__name__)
        for symptom, messages in quoted().items()
        for provocation, message in zip(PROVOCATIONS.get(symptom, ()), messages, strict=False)
    ]


def test_every_quoted_message_has_its_provocation() -> None:
    assert {symptom: len(messages) for symptom, messages in quoted().items()} == {
        symptom: len(provocations) for symptom, provocations in PROVOCATIONS.items()
    }


@pytest.mark.parametrize(("provocation", "message"), provoked())
def test_the_message_is_the_one_that_the_readme_quotes(lab: Lab, provocation: Provocation, message: str) -> None:
    printed = provocation(lab)
    assert says(printed, message), f"expected the line\n{message}\ngot\n{printed}"


@pytest.mark.parametrize(
    ("provocation", "remedy"),
    [
        (provoke.flash_is_not_installed, "--strategy=padded --attention=sdpa"),
        (provoke.flash_needs_a_newer_gpu, "--strategy=padded --attention=auto"),
        (provoke.a_batch_is_too_large, "--strategy=padded --token-budget=150"),
        (provoke.a_batch_is_too_large, "--strategy=padded --batch-size=2"),
        (provoke.a_batch_is_too_large, "--strategy=packed --token-budget=150"),
        (provoke.a_batch_is_too_large, "--strategy=unbatched"),
        (provoke.the_compiler_fails, "--strategy=padded"),
        (provoke.a_driver_is_missing, "--strategy=padded --device=cpu"),
        (provoke.bfloat16_needs_a_newer_gpu, "--strategy=padded --dtype=float32"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_a_remedy_ends_the_symptom(lab: Lab, provocation: Provocation, remedy: str) -> None:
    assert "step down: " in provocation(lab)
    printed = lab.run(*remedy.split())
    assert "step down: " not in printed
    assert " passed" in printed


@pytest.mark.parametrize(
    ("printed", "message", "said"),
    [
        ("a\n  step down: x -> y: z \n", "step down: x -> ...: z", True),
        ("step down: x -> y: z and more", "step down: x -> y: z", False),
        ("step down: x (y)", "step down: x .y.", False),
    ],
    ids=["a whole line", "a part of a line", "no pattern"],
)
def test_a_message_is_compared_as_a_whole_line_of_plain_text(printed: str, message: str, said: bool) -> None:
    assert says(printed, message) is said


def test_a_model_that_cannot_be_loaded_is_explained_by_one_case_and_named_by_the_others(lab: Lab) -> None:
    lab.path.joinpath("bare").mkdir()
    lab.path.joinpath("bare/config.json").write_text("[1, 2]")
    lines = [line for line in lab.run("--model", "./bare").splitlines() if line.startswith("ModelFilesError: ")]
    assert lines == [
        "ModelFilesError: bare/config.json: expected a JSON object, found list",
        *[
            "ModelFilesError: ./bare could not be loaded; the first case that needed it says why: "
            "bare/config.json: expected a JSON object, found list"
        ]
        * 2,
    ]


def test_a_directory_without_a_model_is_said_once_before_anything_runs(lab: Lab) -> None:
    lab.path.joinpath("empty").mkdir()
    printed = lab.run("--model", "./empty", timed=True)
    assert [line for line in printed.splitlines() if "empty" in line] == [
        "ERROR: --model: no config.json in ./empty. Give the directory that holds config.json, weights and tokenizer"
    ]


def test_a_name_that_no_hub_knows_is_said_before_data_are_fetched(lab: Lab) -> None:
    lab.patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    printed = lab.run("--model", "someone/nothing", "--data", "hub")
    first, *others = [line for line in printed.splitlines() if line.startswith(("ModelFilesError", "DataError"))]
    assert first.startswith("ModelFilesError: model: 'someone/nothing' is no directory here, nor in the hub's cache")
    assert len(others) == 2
    assert all("could not be loaded; the first case that needed it says why" in line for line in others)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--model", "no such directory: ./gone. Check the path, or give a hub name such as Qwen/Qwen3-4B"),
        ("--checkpoint", "no such directory: ./gone. Give the directory that holds the weights to evaluate"),
        (
            "--data",
            "no such directory: ./gone. Give the one that holds the released files in mmlu/, viquad/, ..., or "
            "sample, or hub",
        ),
    ],
)
def test_a_directory_that_is_not_there_is_said_once_before_anything_runs(lab: Lab, option: str, said: str) -> None:
    printed = lab.run(option, "./gone", timed=True)
    assert [line for line in printed.splitlines() if "gone" in line] == [f"ERROR: {option}: {said}"]
    assert "collected" not in printed
    assert "PytestBenchmarkWarning" not in printed
