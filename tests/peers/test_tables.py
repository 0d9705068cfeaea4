"""README's tables of peers are those that the committed records make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import attention_record, compiled_record, labels_record, long_record
from benchmarks.claims.table import MARKER as CLAIMS
from benchmarks.marked import NoPlace, names, placed
from benchmarks.peers import tables


@pytest.mark.parametrize("document", tables.DOCUMENTS, ids=lambda path: path.parent.name)
def test_a_document_s_tables_are_those_that_the_committed_records_make(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert text == tables.with_tables(text, tables.all_tables()), "run: python -m benchmarks.peers.tables --write"


def test_every_table_has_a_place_and_every_place_a_table() -> None:
    places = [name for document in tables.DOCUMENTS for name in names(document.read_text(encoding="utf-8"))]
    assert sorted(places) == sorted([*tables.all_tables(), CLAIMS])


def test_every_record_is_of_a_table_or_explained() -> None:
    told = (tables.RECORDS / "README.md").read_text(encoding="utf-8")
    assert not [file.name for file in tables.RECORDS.glob("*.json") if file.name not in told]


def test_a_row_is_what_its_result_says() -> None:
    ours = {"peer": "continuous", "workload": "viquad:10:3", "prompts": 10, "seconds": 2.0, "prompts_per_second": 5.0}
    other = {**ours, "peer": "other", "prompts_per_second": 1.25, "times_continuous": 4.0}
    failed = {"peer": "third", "workload": "viquad:10:3", "prompts": 10, "failed": "no room"}
    record = {
        "versions": {"device": "cpu", "torch": "2", "transformers": "5"},
        "arguments": {"model": "nano", "dtype": "float32"},
        "ceilings": [{"flops_per_second": 2e12}],
        "first_token": {"first_seconds": 1.0, "later_seconds": 0.5},
        "results": [
            ours | {"times_continuous": 1.0, "peak_bytes": 2**30, "profile": {"idle_share": 0.031}},
            other,
            failed,
        ],
    }
    rows = tables.generation_table(record).splitlines()
    assert rows[-5] == "| viquad:10:3 | continuous | 10 | 2.00 | 5.00 | 1.00 | - | 1.0 | 3.1% |"
    assert rows[-4] == "| viquad:10:3 | other | 10 | 2.00 | 1.25 | 4.00 | - | - | - |"
    assert rows[-3] == "| viquad:10:3 | third | 10 | failed | - | - | - | - | - |"
    assert rows[-1] == "third, viquad:10:3: no room"


def test_a_row_of_scoring_has_its_memory_and_its_share_of_the_ceiling() -> None:
    details = {"flops_per_second": 1.5e12, "peak_bytes": 3 * 2**30}
    ours = {"peer": "packed", "questions": 10, "seconds": 2.0, "first_seconds": 7.25, "details": details}
    ours |= {"seconds_per_question": 0.2, "same_labels_as_packed": 10, "times_packed": 1.0}
    other = {**ours, "peer": "other", "details": None, "same_labels_as_packed": None, "times_packed": 1.5}
    record = {
        "versions": {"device": "cpu", "torch": "2", "transformers": "5"},
        "arguments": {"model": "nano", "dtype": "float32", "task": "mmlu"},
        "ceilings": [{"flops_per_second": 1e12}, {"flops_per_second": 2e12}],
        "results": [ours | {"shots": 0}, ours | {"shots": 5}, other | {"shots": 0}],
    }
    lines = tables.scoring_table(record).splitlines()
    assert "at 1 to 2 TFLOP/s. MMLU; packed's first questions are answered 7.2 s after loading" in lines[0]
    assert lines[4:] == [
        "| packed | 0 | 10 | 2.00 | 200.00 | 1.00 | 10 of 10 | 75.0% | 3.0 |",
        "| other | 0 | 10 | 2.00 | 200.00 | 1.50 | - | - | - |",
        "| packed | 5 | 10 | 2.00 | 200.00 | 1.00 | 10 of 10 | 75.0% | 3.0 |",
    ]


@pytest.fixture
def passes() -> dict[str, Any]:
    """What a run of test_attention.py leaves: sdpa in two tests, eager at one length, a failed case."""

    def case(verdicts: dict[str, str] | None = None, **seconds: float) -> dict[str, Any]:
        return {
            "seconds": {name: [taken] for name, taken in seconds.items()},
            "counts": dict.fromkeys(seconds, 2),
            "peak_bytes": dict.fromkeys(seconds, 2**31),
            "one_off_seconds": {},
            "results": "elsewhere",
        } | ({"verdicts": verdicts} if verdicts else {})

    return {
        "provenance": {
            "options": {"config": {"model": "nano", "dtype": "float32"}},
            "versions": {"device": "cpu", "torch": "2", "transformers": "5"},
            "directory": "/home",
        },
        "cases": {
            "test_one_forward[sdpa-512]": case({"sdpa": "faithful"}, eager=3.0, sdpa=1.0),
            "test_one_forward[flash_attention_2-512]": case(
                {"flash_attention_2": "red"}, sdpa=2.0, flash_attention_2=0.5
            ),
            "test_short_generation[sdpa-512]": case({"sdpa": "faithful, too"}, eager=9.0, sdpa=9.0),
            "test_one_forward[sdpa-2048]": case(sdpa=4.0) | {"alone": "attention eager: no room"},
            "test_one_forward[flash_attention_3-512]": {"not_measured": "it stepped down", "seconds": {"sdpa": [1.0]}},
            "test_one_forward[flash_attention_3-2048]": {"unfinished": "1 of 5 rounds", "seconds": {"sdpa": [1.0]}},
        },
    }


def test_every_pass_of_an_attention_counts_and_what_has_no_row_is_named(passes: dict[str, Any]) -> None:
    record = attention_record.trim([passes])
    assert "elsewhere" not in str(record) and "/home" not in str(record)
    lines = tables.attention_table(record).splitlines()
    assert "without a warm-up" in lines[0]
    assert lines[4:8] == [
        "| 512 | eager | 1.500 | 1 | 4.500 | 1 | 2 | - | - |",
        "| 512 | sdpa | 0.500 to 1.000 | 2 | 4.500 | 1 | 2 | faithful | faithful, too |",
        "| 512 | flash_attention_2 | 0.250 | 1 | - | 0 | 2 | red | - |",
        "| 2,048 | sdpa | 2.000 | 1 | - | 0 | 2 | - | - |",
    ]
    assert [line for line in lines[8:] if line] == [
        "flex_attention: not measured.",
        "flash_attention_3: not measured.",
        "2,048 tokens, a forward: attention eager: no room.",
    ]


def test_a_later_runs_case_stands_for_an_earlier_ones(passes: dict[str, Any]) -> None:
    name = "test_short_generation[sdpa-512]"
    later = {**passes, "cases": {name: {**passes["cases"][name], "seconds": {"sdpa": [7.0]}}}}
    record = attention_record.trim([passes, later])
    assert record["cases"][name]["seconds"] == {"sdpa": [7.0]}
    assert record["cases"].keys() == attention_record.trim([passes])["cases"].keys()
    other = {**passes, "provenance": {**passes["provenance"], "versions": {"device": "cuda"}}}
    with pytest.raises(ValueError, match="expected runs of one model by one set of versions"):
        attention_record.trim([passes, other])


def test_hosts_of_a_gpu_may_have_other_threads(passes: dict[str, Any]) -> None:
    def on(device: str, threads: str) -> dict[str, Any]:
        versions = {**passes["provenance"]["versions"], "device": device, "threads": threads}
        return {**passes, "provenance": {**passes["provenance"], "versions": versions}}

    record = attention_record.trim([on("cuda", "32"), on("cuda", "16"), on("cuda", "32")])
    assert record["versions"]["threads"] == "32, 16"
    assert attention_record.trim([on("cuda", "32")] * 2)["versions"]["threads"] == "32"
    with pytest.raises(ValueError, match="expected runs of one model by one set of versions"):
        attention_record.trim([on("cpu", "32"), on("cpu", "16")])


def test_long_contexts_have_a_row_a_cache_format(passes: dict[str, Any]) -> None:
    case = {
        "seconds": {"unbatched": [8.0], "continuous": [60.0, 50.0]},
        "counts": {"unbatched": 4, "continuous": 100},
        "tokens": 32_768,
        "peak_bytes": {"unbatched": 2**30, "continuous": 3 * 2**30},
        "allowed_bytes": 2**32,
        "verdicts": {"continuous": "faithful"},
    }
    bare = {name: value for name, value in case.items() if name != "verdicts"} | {"allowed_bytes": None}
    run = {**passes, "cases": {"test_long_contexts[int8]": bare, "test_long_contexts[auto]": case}}
    assert tables.long_table(long_record.trim([run])).splitlines()[4:] == [
        "| auto | 100 | 32,768 | 50.0 | 0.50 | 2.00 | 3.0 | 4.0 | faithful |",
        "| int8 | 100 | 32,768 | 50.0 | 0.50 | 2.00 | 3.0 | - | not compared |",
    ]
    with pytest.raises(ValueError, match="expected measured cases of test_long_contexts"):
        long_record.trim([passes])


def test_a_compiled_forward_stands_beside_itself(passes: dict[str, Any]) -> None:
    case = {
        "seconds": {"as it is": [2.0, 1.0], "compiled": [4.0]},
        "counts": {"as it is": 4, "compiled": 4},
        "new_tokens": {"as it is": 256, "compiled": 256},
        "one_off_seconds": {"as it is": 0.0, "compiled": 70.5},
        "verdicts": {"compiled": "faithful"},
    }
    record = compiled_record.trim([{**passes, "cases": {"test_compiled_generation": case}}])
    assert tables.compiled_table(record).splitlines()[4:] == [
        "| as it is | 4 | 256 | 1.00 | 2 | 256.0 | 0.0 | the reference |",
        "| compiled | 4 | 256 | 4.00 | 1 | 64.0 | 70.5 | faithful |",
    ]
    with pytest.raises(ValueError, match="expected measured cases of test_compiled_generation"):
        compiled_record.trim([passes])


def test_grading_stands_beside_answering() -> None:
    record = {
        "arguments": {"model": "nano", "dtype": "float32", "task": "viquad", "judge": None},
        "versions": {"device": "cpu", "torch": "2", "transformers": "5"},
        "questions": 10,
        "seconds": {"answering": 2.0, "grading": 3.0},
    }
    lines = tables.judging_table(record).splitlines()
    assert "viquad, judged by the same model" in lines[0]
    assert lines[4:] == ["| answering | 10 | 2.00 | 200.00 | 1.00 |", "| grading | 10 | 3.00 | 300.00 | 1.50 |"]


def test_a_run_of_other_tests_is_no_record_of_attention(passes: dict[str, Any]) -> None:
    cases = passes["cases"]
    with pytest.raises(ValueError, match=r"expected measured cases of test_attention\.py, got none"):
        attention_record.trim([{**passes, "cases": {"test_one_forward[sdpa-512]": {"not_measured": "no room"}}}])
    with pytest.raises(ValueError, match="got test_mmlu"):
        attention_record.trim([{**passes, "cases": {**cases, "test_mmlu[padded]": {}}}])


@pytest.mark.parametrize("text", ["", "<!-- x: end --> <!-- x: begin -->", "<!-- x: begin -->" * 2 + "<!-- x: end -->"])
def test_a_text_without_the_place_is_refused(text: str) -> None:
    with pytest.raises(NoPlace, match="expected one <!-- x: begin -->"):
        placed(text, "x", "table")


def test_a_table_goes_between_its_markers_and_nowhere_else() -> None:
    begin, end = "<!-- x: begin -->", "<!-- x: end -->"
    assert placed(f"a\n{begin}\nold\n{end}\nb", "x", "new\n") == f"a\n{begin}\n\nnew\n\n{end}\nb"


def test_labels_are_told_apart_by_whether_noise_explains_them() -> None:
    flips = [{"id": "a", "margin": 0.02, "excused": True}, {"id": "b", "margin": 0.5, "excused": False}]
    verdict = {"compared": 1_000, "flips": flips, "noise": 0.125, "reference_flips": 7}
    case = {"task": "mmlu", "strategy": "packed", "prompting": {"shots": 5}, "verdict": verdict, "fallbacks": []}
    run = {
        "provenance": {
            "options": {"config": {"model": "nano", "dtype": "bfloat16"}},
            "versions": {"device": "cpu", "torch": "2", "transformers": "5"},
            "directory": "/home",
        },
        "cases": {"test_mmlu[packed]": case | {"results": "elsewhere"}},
    }
    record = labels_record.trim([run])
    assert "elsewhere" not in str(record) and "/home" not in str(record)
    lines = tables.labels_table(record).splitlines()
    assert lines[-1] == "| mmlu | 5 | packed | 1,000 | 998 | 1 | 0.020 | 0.125 | 1 | 7 |"
    other = {**run["provenance"], "versions": {"device": "cpu", "torch": "3", "transformers": "5"}}
    with pytest.raises(ValueError, match="one model by one set of versions"):
        labels_record.trim([run, {**run, "provenance": other}])
    with pytest.raises(ValueError, match="a verdict on every case"):
        labels_record.trim([{**run, "cases": {"test_mmlu[packed]": case | {"verdict": None}}}])
