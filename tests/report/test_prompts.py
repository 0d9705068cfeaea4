"""The text of prompts in a run's folder."""

from __future__ import annotations

import gzip

import pytest

from evalsuite.errors import ConfigError, DataError
from evalsuite.evaluation import prompt_hash
from evalsuite.prompts import keep_prompts, prompts_file, read_prompts
from evalsuite.types import ChoiceRequest, GenerationRequest

CHOICE = ChoiceRequest(id="q1", context="Thủ đô?\u2028A. \ud800\nAnswer:", continuations=(" A", " B"))
TEXT = GenerationRequest(id="q2", prompt="Đọc:\r\n", max_new_tokens=4)


def test_what_is_kept_is_read_back_to_the_character(tmp_path):
    keep_prompts(tmp_path, "mmlu", [CHOICE])
    keep_prompts(tmp_path, "viquad", [TEXT])
    hash_ = prompt_hash(CHOICE)
    assert read_prompts(tmp_path, "mmlu") == {
        hash_: {"id": "q1", "prompt_hash": hash_, "prompt": CHOICE.context, "continuations": [" A", " B"]}
    }
    assert [line["prompt"] for line in read_prompts(tmp_path, "viquad").values()] == [TEXT.prompt]


def test_another_model_with_another_template_adds_its_own_and_none_twice(tmp_path):
    other = GenerationRequest(id="q2", prompt="<|user|>Đọc:\r\n", max_new_tokens=4)
    for requests in ([TEXT], [TEXT, other], [other]):
        keep_prompts(tmp_path, "viquad", requests)
    assert [line["prompt"] for line in read_prompts(tmp_path, "viquad").values()] == [TEXT.prompt, other.prompt]


def test_the_same_prompts_are_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        keep_prompts(tmp_path / folder, "mmlu", [CHOICE])
    assert prompts_file(tmp_path / "a", "mmlu").read_bytes() == prompts_file(tmp_path / "b", "mmlu").read_bytes()
    assert not list(tmp_path.glob("*/*.part"))


def test_a_run_without_the_file_has_no_prompts(tmp_path):
    assert read_prompts(tmp_path, "mmlu") == {}


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b"[]\n"), gzip.compress(b'{"prompt_hash": "x"}\n')[:-9]],
    ids=["no gzip", "no prompts", "cut short"],  # gzip writes the time: ids made of it would differ between workers
)
def test_a_file_of_another_making_is_an_error_that_names_it(tmp_path, content):
    prompts_file(tmp_path, "mmlu").write_bytes(content)
    with pytest.raises(DataError, match=r"prompts-mmlu\.jsonl\.gz"):
        read_prompts(tmp_path, "mmlu")


def test_a_folder_that_takes_no_file_is_an_error_with_the_remedy(tmp_path):
    with pytest.raises(ConfigError, match="--results DIR"):
        keep_prompts(tmp_path / "gone", "mmlu", [CHOICE])
