import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import ConfigError
from evalsuite.results import ResultsRun, add_fields, case_names, file_stem, finite
from evalsuite.types import ChoiceScores, Generation, Graded

CHOICE = ChoiceScores(id="q/1", logprobs=(-0.5, -2.0))
GRADED = Graded(id="q/1", group="anatomy", prediction="A", gold=("A",), scores={"accuracy": 1.0})


def lines(path):
    rows = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(row, parse_constant=pytest.fail) for row in rows if row]


def write(run, outcome, graded, main_metric="accuracy"):
    with run.open_case("test_mmlu[padded]") as log:
        log.write(outcome, graded, prompt_hash="abc", main_metric=main_metric)
        return lines(log.path)[0]  # read before the file is closed: each line is flushed


def test_a_scored_question_is_one_line_with_its_log_probabilities(tmp_path):
    assert write(ResultsRun(tmp_path, label="nano"), CHOICE, GRADED) == {
        "id": "q/1",
        "group": "anatomy",
        "prompt_hash": "abc",
        "logprobs": [-0.5, -2.0],
        "prediction": "A",
        "gold": ["A"],
        "score": 1.0,
        "scores": {"accuracy": 1.0},
    }


def test_a_generated_answer_is_one_line_with_its_text_whatever_it_holds(tmp_path):
    text = "Hà Nội\u2028\nmới 🙂 \x00"
    outcome = Generation(id="q/1", text=text, token_ids=(1, 2), logprobs=(-0.1, -0.2), finish_reason="stop")
    graded = Graded(id="q/1", group="answerable", prediction=text, gold=("a", "b"), scores={"exact_match": 0.0})
    line = write(ResultsRun(tmp_path, label="nano"), outcome, graded, main_metric="exact_match")
    assert (line["text"], line["tokens"], line["finish_reason"]) == (text, 2, "stop")
    assert (line["score"], line["gold"]) == (0.0, ["a", "b"])


def test_a_question_without_a_published_answer_has_no_score(tmp_path):
    line = write(ResultsRun(tmp_path, label="nano"), CHOICE, Graded(id="q/1", group="01", prediction="A", gold=None))
    assert (line["gold"], line["score"], line["scores"]) == (None, None, {})


def test_log_probabilities_that_are_no_numbers_are_written_as_words(tmp_path):
    outcome = ChoiceScores(id="q/1", logprobs=(float("nan"), float("-inf")))
    assert write(ResultsRun(tmp_path, label="nano"), outcome, GRADED)["logprobs"] == ["nan", "-inf"]


leaves = st.floats() | st.text() | st.none()


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_is_made_finite_is_valid_json(value):
    json.dumps(finite(value), allow_nan=False)


def test_the_summary_holds_every_case_so_far(tmp_path):
    run = ResultsRun(tmp_path, label="shape:qwen3-4b")
    assert json.loads((run.path / "summary.json").read_text()) == {"run": run.path.name, "cases": {}}
    run.add_case("test_mmlu[padded]", {"score": float("nan")})
    run.add_case("test_vmlu[padded]", {"score": 0.5})
    assert json.loads((run.path / "summary.json").read_text())["cases"] == {
        "test_mmlu[padded]": {"score": "nan"},
        "test_vmlu[padded]": {"score": 0.5},
    }
    assert sorted(path.name for path in run.path.iterdir()) == ["journal", "summary.json"]


@pytest.mark.parametrize("damaged", ['{"run": "x", "cases": {"test_mm', "", "[]", '{"cases": 3}'])
def test_a_run_whose_summary_is_damaged_is_gone_on_with_by_its_journal(tmp_path, damaged):
    about = {"provenance": {"options": {"limit": 3}}}
    run = ResultsRun(tmp_path, label="nano", about=about)
    run.close(finished=False)
    (run.path / "summary.json").write_text(damaged)
    later = ResultsRun(tmp_path, label="nano", about=about, resume=run.path)
    later.add_case("test_x", {"score": 0.5})
    later.close(finished=True)
    made = json.loads((run.path / "summary.json").read_text())
    assert (made["cases"], made["finished"]) == ({"test_x": {"score": 0.5}}, True)
    assert (made["provenance"], made["resumed"]) == (about["provenance"], [about["provenance"]])
    assert (run.path / "summary.json.damaged").read_text() == damaged


def test_a_folder_that_cannot_be_written_to_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match=r"results folder .*--results DIR"):
        ResultsRun(tmp_path / "file" / "results", label="nano")


@pytest.mark.parametrize(
    ("case", "stem"),
    [("test_mmlu[padded]", "test_mmlu-padded"), ("org/Qwen3-4B", "org-Qwen3-4B"), ("../../x", "..-..-x")],
    ids=["case", "model", "path"],
)
def test_names_become_file_names(case, stem):
    assert file_stem(case) == stem
    assert os.sep not in stem


def test_cases_are_called_by_their_tests_names_and_by_their_whole_ids_where_two_share_one():
    tests = [("a.py::test_mmlu[x]", "test_mmlu[x]"), ("b.py::test_mmlu[x]", "test_mmlu[x]"), ("b.py::test_y", "test_y")]
    assert case_names(tests) == {
        "a.py::test_mmlu[x]": "a.py::test_mmlu[x]",
        "b.py::test_mmlu[x]": "b.py::test_mmlu[x]",
        "b.py::test_y": "test_y",
    }


def test_cases_whose_names_make_one_file_name_write_two_files(tmp_path):
    run = ResultsRun(tmp_path, label="nano")
    for case in ("test_x[a b]", "test_x[a-b]", "test_x[A-B]", "test_x[a b]"):
        with run.open_case(case) as log:
            log.write(CHOICE, GRADED, prompt_hash=case, main_metric="accuracy")
    written = {path.name: [line["prompt_hash"] for line in lines(path)] for path in run.path.glob("*.jsonl")}
    assert written == {
        "test_x-a-b.jsonl": ["test_x[a b]"],
        "test_x-a-b-2.jsonl": ["test_x[a-b]"],
        "test_x-A-B-3.jsonl": ["test_x[A-B]"],
    }


KILLED = """
import sys, time
from pathlib import Path
from evalsuite.results import ResultsRun
from evalsuite.types import ChoiceScores, Graded
run = ResultsRun(Path(sys.argv[1]), label="nano")
log = run.open_case("test_mmlu[padded]")
for number in range(3):
    log.write(ChoiceScores(id=str(number), logprobs=(-1.0,)),
              Graded(id=str(number), group="g", prediction="A", gold=("A",), scores={"accuracy": 1.0}),
              prompt_hash="h", main_metric="accuracy")
print("written", flush=True)
time.sleep(60)
"""


def test_a_killed_run_leaves_the_questions_it_had_answered(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (run,) = tmp_path.iterdir()
    assert [line["id"] for line in lines(run / "test_mmlu-padded.jsonl")] == ["0", "1", "2"]
    assert json.loads((run / "summary.json").read_text())["cases"] == {}


def test_fields_are_added_to_each_question_s_line_and_nothing_else_changes(tmp_path):
    run = ResultsRun(tmp_path, label="nano")
    texts = {"q/1": "Hà Nội\u2028\nmới", "q/2": "Huế"}
    with run.open_case("test_viquad[padded]") as log:
        for id_, text in texts.items():
            outcome = Generation(id=id_, text=text, token_ids=(1,), logprobs=(-0.1,), finish_reason="stop")
            graded = Graded(id=id_, group="g", prediction=text, gold=("a",), scores={"exact_match": 0.0})
            log.write(outcome, graded, prompt_hash="abc", main_metric="exact_match")
    before = lines(log.path)
    add_fields(log.path, {"q/2": {"judge": 0.5}, "q/1": {"judge": None}})
    assert lines(log.path) == [before[0] | {"judge": None}, before[1] | {"judge": 0.5}]
    assert {path.name for path in run.path.iterdir()} == {"journal", "summary.json", "test_viquad-padded.jsonl"}


def test_two_runs_that_one_process_begins_in_a_second_have_two_folders(tmp_path):
    assert len({ResultsRun(tmp_path, label="nano").path for _ in range(3)}) == 3
