"""Every peer is given the same questions and its labels are compared; what cannot be asked of one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.peers.__main__ import main, rows
from benchmarks.peers.questions import spread
from benchmarks.peers.served import score_by_vllm
from evalsuite.errors import EvalsuiteError
from evalsuite.nano import DATA_DIR
from evalsuite.types import EncodedChoices


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


def test_a_choice_of_several_tokens_is_not_asked_as_a_letter() -> None:
    question = EncodedChoices(id="q", context_ids=(1,), continuation_ids=((2,), (3, 4)))
    with pytest.raises(EvalsuiteError, match="q: vLLM is asked for one token"):
        score_by_vllm("model", "auto", [[question]])
