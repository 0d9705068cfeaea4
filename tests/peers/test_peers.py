"""Every peer is given the same questions and its labels are compared; what cannot be asked of one is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers import generation
from benchmarks.peers.__main__ import main, rows
from benchmarks.peers.prompts import requests
from benchmarks.peers.questions import spread
from benchmarks.peers.served import score_by_vllm
from benchmarks.peers.timing import until_all_are_known
from evalsuite.errors import EvalsuiteError
from evalsuite.nano import DATA_DIR
from evalsuite.types import EncodedChoices, EncodedPrompt


@pytest.mark.filterwarnings("ignore")  # the harness's own deprecations are not ours
def test_peers_give_the_same_labels_on_the_same_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("lm_eval.models.huggingface", reason="the peer needs lm_eval (evalsuite[dev])")
    out = tmp_path / "record.json"
    few = ["--limit", "20", "--slow", "4", "--lm-eval", "6", "--shots", "0", "1", "--rounds", "1", "--device", "cpu"]
    main(["--model", "nano", "--data", str(DATA_DIR), "--out", str(out), *few])
    record = json.loads(out.read_text())
    peers = [(entry["peer"].split(",")[0], entry["shots"], entry["questions"]) for entry in record["results"]]
    ours = [("packed", 20), ("padded", 20), ("per_question", 4), ("unbatched", 4)]
    expected = [(peer, shots, questions) for shots in (0, 1) for peer, questions in ours]
    assert peers == [*expected, *(("lm-evaluation-harness", shots, 6) for shots in (0, 1))]
    assert all(entry["same_labels_as_packed"] == entry["questions"] for entry in record["results"])
    assert str(DATA_DIR) not in out.read_text()
    assert capsys.readouterr().out.splitlines()[0].split() == " ".join(rows(record)[0]).split()


def test_a_sample_is_spread_over_the_lengths() -> None:
    questions = [EncodedChoices(id=str(n), context_ids=(1,) * n, continuation_ids=((2,),)) for n in range(1, 101)]
    assert [len(question.context_ids) for question in spread(questions, 4)] == [13, 38, 63, 88]
    assert spread(questions, None) is questions
    prompts = [EncodedPrompt(id=str(n), prompt_ids=(1,) * n, max_new_tokens=1) for n in range(1, 101)]
    assert [len(prompt.prompt_ids) for prompt in spread(prompts, 4)] == [13, 38, 63, 88]


def test_a_choice_of_several_tokens_is_not_asked_as_a_letter() -> None:
    question = EncodedChoices(id="q", context_ids=(1,), continuation_ids=((2,), (3, 4)))
    with pytest.raises(EvalsuiteError, match="q: vLLM is asked for one token"):
        score_by_vllm("model", "auto", [[question]])


def test_every_peer_generates_from_the_same_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "record.json"
    few = ["--padded=4", "--padded-prompts=8", "--unbatched=2", "--rounds=1", "--device=cpu", "--profile"]
    generation.main(["--model", "nano", "--workload", "viquad:12:3", "vietnews:3:2", "--out", str(out), *few])
    record = json.loads(out.read_text())
    peers = [(entry["peer"], entry["workload"], entry["prompts"]) for entry in record["results"]]
    assert peers == [
        ("continuous", "viquad:12:3", 12),
        ("padded, batch 4", "viquad:12:3", 8),
        ("unbatched", "viquad:12:3", 2),
        ("continuous", "vietnews:3:2", 3),
        ("padded, batch 4", "vietnews:3:2", 3),
        ("unbatched", "vietnews:3:2", 2),
    ]
    viquad = record["results"][0]
    assert viquad["times_continuous"] == 1
    assert viquad["counters"]["tokens_computed"] == viquad["counters"]["distinct_tokens"]
    assert 0 <= viquad["profile"]["idle_share"] < 1
    assert capsys.readouterr().out.splitlines()[0].split() == " ".join(generation.rows(record)[0]).split()


def test_five_questions_share_a_passage_and_are_the_same_each_time() -> None:
    prompts = requests("viquad", vocab=1_000, count=10, new_tokens=4, seed=0)
    again = requests("viquad", vocab=1_000, count=10, new_tokens=4, seed=0)
    assert prompts == again != requests("viquad", vocab=1_000, count=10, new_tokens=4, seed=1)
    assert [prompts[0].prompt_ids[:120] == prompt.prompt_ids[:120] for prompt in prompts] == [True] * 5 + [False] * 5


@pytest.mark.parametrize("asked", ["viquad", "viquad:0:3", "mmlu:3:3", "viquad:3"])
def test_a_workload_that_cannot_be_meant_is_refused(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        generation.main(["--model", "nano", "--workload", asked, "--out", "x"])
    assert f"expected viquad|vietnews|judge:PROMPTS:NEW TOKENS, got '{asked}'" in capsys.readouterr().err


def test_the_clock_stops_with_the_last_answer() -> None:
    calls = []

    def draw() -> Iterator[int]:
        yield 1
        yield 2
        calls.append("book-keeping")

    outcomes, seconds = until_all_are_known(draw, 2, lambda: calls.append("synchronised"))
    assert (outcomes, calls) == ([1, 2], ["synchronised", "book-keeping"])
    assert seconds >= 0
    for count in (1, 3):
        with pytest.raises(RuntimeError, match=f"expected {count} answers"):
            until_all_are_known(draw, count, lambda: None)
