"""Batches kept and recalled: bit for bit, under one key, in a process's own time."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.config import ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.generation._schedule import Written
from evalsuite.generation.teacher_forcing import TeacherForced
from evalsuite.measure.counters import WorkCounters
from evalsuite.measure.timing import CLOCK
from evalsuite.resume.codec import decode, encode, pack_floats, unpack_floats
from evalsuite.resume.folder import Journals
from evalsuite.resume.journal import Journal, read_lines, with_checksum
from evalsuite.resume.key import Key, code_fingerprint, differences
from evalsuite.runner import KeptBatch, ModelRunner
from evalsuite.types import ChoiceScores, EncodedChoices, EncodedPrompt, Generation
from tests.tiny import tiny_loaded

KEY = Key(parts={"model": "a", "versions": {"torch": "2"}})
floats = st.floats(allow_nan=False)


@given(st.lists(st.floats() | st.floats(width=32)))
def test_floats_come_back_bit_for_bit(values):
    back = unpack_floats(pack_floats(values))
    assert [math.isnan(value) or value for value in back] == [math.isnan(value) or value for value in values]


ids = st.text(min_size=1)
tokens = st.lists(st.integers(0, 2**31 - 1), unique=True, max_size=4).map(tuple)
scores = st.builds(ChoiceScores, id=ids, logprobs=st.lists(floats).map(tuple))
generations = tokens.flatmap(
    lambda t: st.builds(
        Generation,
        id=ids,
        text=st.text(st.characters()),
        token_ids=st.just(t),
        logprobs=st.lists(floats, min_size=len(t), max_size=len(t)).map(tuple),
        finish_reason=st.sampled_from(("eos", "stop", "length")),
    )
)
forced = st.builds(
    TeacherForced,
    id=ids,
    logprobs=st.lists(floats).map(tuple),
    best=st.lists(st.dictionaries(st.integers(0, 9), floats)).map(tuple),
)
forced_draws = st.builds(
    replace, forced, reach=st.lists(st.dictionaries(st.integers(0, 9), floats)).map(tuple), filtered=st.booleans()
)
rows = st.dictionaries(st.integers(0, 9), floats)


def test_what_rows_wrote_comes_back_as_it_was():
    ids = np.array([[5, 6, 7], [8, 9, 10]], dtype=np.int32)
    floats = np.array([[-0.1, -2.5, -1e-9], [0.0, -30.0, -3.3]], dtype=np.float32)
    written = Written(lambda: (ids, floats))
    again = decode(encode(written))
    assert (again.token_ids == written.token_ids).all() and again.token_ids.dtype == np.int32
    assert (again.logprobs == written.logprobs).all() and again.logprobs.dtype == np.float32


@given(scores | generations | forced | forced_draws | rows | st.tuples(st.integers(0, 9), rows))
def test_every_kind_of_result_comes_back_as_it_was(result):
    assert decode(encode(result)) == result


def keep(path: Path, **batches: float) -> None:
    journal = Journal(path, KEY, recall_from=(path,) if path.exists() else ())
    for name, logprob in batches.items():
        result = ChoiceScores(id=name, logprobs=(logprob,))
        journal.keep([name], KeptBatch(results=[result], counters=WorkCounters(forward_passes=2)))
    journal.close()


def recalled(path: Path, *names: str) -> list[KeptBatch | None]:
    journal = Journal(path, KEY, recall_from=(path,))
    try:
        return [journal.recall([name]) for name in names]
    finally:
        journal.close()


def test_a_batch_is_recalled_with_its_results_and_its_counters_once(tmp_path):
    keep(tmp_path / "j", a=-0.5)
    first, again, unknown = recalled(tmp_path / "j", "a", "a", "b")
    assert first is not None
    assert (first.results[0].logprobs, first.counters) == ((-0.5,), WorkCounters(forward_passes=2))
    assert (again, unknown) == (None, None)


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_torn_last_line_costs_its_own_batch_only(tmp_path, cut):
    keep(tmp_path / "j", a=-0.5, b=-1.0)
    content = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(content[:-cut])
    assert [kept is not None for kept in recalled(tmp_path / "j", "a", "b")] == [True, False]
    keep(tmp_path / "j", b=-1.0)
    assert all(recalled(tmp_path / "j", "a", "b"))


def test_a_damaged_line_costs_its_own_batch_only_and_is_told(tmp_path, caplog):
    keep(tmp_path / "j", a=-0.5, b=-1.0)
    lines = (tmp_path / "j").read_bytes().split(b"\n")
    damaged = next(number for number, line in enumerate(lines) if b'["c","a"' in line)
    lines[damaged] = b"\0" * len(lines[damaged])
    (tmp_path / "j").write_bytes(b"\n".join(lines))
    assert [kept is not None for kept in recalled(tmp_path / "j", "a", "b")] == [False, True]
    assert "1 damaged line is left out" in caplog.text


def test_a_changed_number_is_no_answer_but_costs_its_batch_and_is_told_once(tmp_path, caplog):
    keep(tmp_path / "j", a=-8.029, b=-1.0, c=-2.0)
    before = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(before.replace(b"-8.029", b"-8.329"))
    assert [kept is not None for kept in recalled(tmp_path / "j", "a", "b", "c")] == [False, True, True]
    assert caplog.text.count("1 damaged line is left out") == 1
    caplog.clear()
    keep(tmp_path / "j", a=-8.029)
    again = recalled(tmp_path / "j", "a", "b", "c")
    assert [kept and kept.results[0].logprobs for kept in again] == [(-8.029,), (-1.0,), (-2.0,)]
    assert not caplog.text


def test_a_line_without_a_checksum_counts_as_damaged(tmp_path):
    keep(tmp_path / "j", a=-0.5, b=-1.0)
    lines = [json.loads(line) for line in (tmp_path / "j").read_text().splitlines()]
    for line in lines:
        if line.get("r", [[None, None]])[0][1] == "a":
            del line["sum"]
    (tmp_path / "j").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    assert [kept is not None for kept in recalled(tmp_path / "j", "a", "b")] == [False, True]


@given(text=st.text(st.characters()), place=st.integers(0), bit=st.integers(0, 7))
def test_one_changed_bit_anywhere_in_a_line_is_found(tmp_path_factory, text, place, bit):
    path = tmp_path_factory.mktemp("bit") / "j"
    content = bytearray(with_checksum(json.dumps({"b": text}, ensure_ascii=False)).encode("utf-8", "surrogatepass"))
    path.write_bytes(content + b"\n")
    assert [line["b"] for line in read_lines(path)] == [text]
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content + b"\n")
    assert list(read_lines(path)) == []


def test_a_journal_of_surrogates_is_still_one_when_a_line_is_taken_out(tmp_path):
    keep(tmp_path / "j", **{"a\ud800": -0.5, "b": -1.0})
    (tmp_path / "j").write_bytes((tmp_path / "j").read_bytes().replace(b"[-1.0]", b"[-1.5]"))
    assert [kept is not None for kept in recalled(tmp_path / "j", "a\ud800", "b")] == [True, False]


def test_a_journal_of_an_earlier_version_still_says_what_it_depended_on(tmp_path):
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "case.0123456789ab.jsonl").write_text('{"journal":1,"key":{"model":"b"}}\n')
    assert Journals(tmp_path, resumed=True).not_used("case", Key(parts={"model": "a"})) == "model: b -> a"


def test_a_recalled_batch_takes_on_the_clock_what_it_took_when_it_was_run(tmp_path):
    journal = Journal(tmp_path / "j", KEY)
    CLOCK.advance(20.0)  # a batch that takes 20 s
    journal.keep(["a"], KeptBatch(results=[], counters=WorkCounters()))
    journal.close()
    start = CLOCK()
    recalled(tmp_path / "j", "a")
    assert 20.0 <= CLOCK() - start < 21.0


def test_another_key_finds_nothing_and_says_what_differs(tmp_path):
    other = Key(parts={"model": "b", "versions": {"torch": "2"}})
    journals = Journals(tmp_path)
    journal = journals.open("case", KEY)
    journal.keep(["a"], KeptBatch(results=[], counters=WorkCounters()))
    journal.close()
    journals.close()
    later = Journals(tmp_path, resumed=True)
    assert later.not_used("case", other) == "model: a -> b"
    assert not later.holds("case", other)
    assert later.holds("case", KEY)
    assert later.not_used("case", KEY) == ""


def test_two_cases_of_one_run_that_would_answer_alike_both_answer(tmp_path):
    journals = Journals(tmp_path)
    for case in ("one", "two", "one"):
        journal = journals.open(case, KEY)
        assert journal.recall(["a"]) is None
        journal.keep(["a"], KeptBatch(results=[], counters=WorkCounters()))
        journal.close()


def test_a_reference_is_recalled_from_the_case_that_answered_by_it(tmp_path):
    journals = Journals(tmp_path)
    journal = journals.open("case", KEY)
    journal.keep(["a"], KeptBatch(results=[], counters=WorkCounters()))
    journal.close()
    journals.close()
    assert Journals(tmp_path, resumed=True).open("reference", KEY, shared=True).recall(["a"]) is not None


def test_differences_are_named_by_their_whole_path():
    assert differences({"a": {"b": 1}, "c": 2, "gone": 0}, {"a": {"b": 2}, "c": 2, "new": None}) == [
        "a.b: 1 -> 2",
        "gone: 0 -> none",
    ]


def test_the_code_s_fingerprint_changes_with_what_answers_and_not_with_what_reads_runs(tmp_path):
    for name in ("runner.py", "report/page.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    before = code_fingerprint.__wrapped__(tmp_path)
    (tmp_path / "report/page.py").write_text("2")
    assert code_fingerprint.__wrapped__(tmp_path) == before
    (tmp_path / "runner.py").write_text("2")
    assert code_fingerprint.__wrapped__(tmp_path) != before


class Killed(BaseException):
    """Stands for SIGKILL: nothing handles it."""


class DiesAfter:
    """A journal that dies after so many batches were kept."""

    def __init__(self, journal: Journal, batches: int) -> None:
        self._journal, self._left = journal, batches
        self.begin, self.recall = journal.begin, journal.recall

    def keep(self, batch: object, kept: KeptBatch) -> None:
        if self._left == 0:
            raise Killed
        self._left -= 1
        self._journal.keep(batch, kept)


SHARED = tuple(range(1, 20))
CHOICES = [
    EncodedChoices(
        id=f"q/{n}", context_ids=(*SHARED, *range(1, n + 2)), continuation_ids=((5,), (6, 7), (8,), (9, 1 + n))
    )
    for n in range(8)
]
PROMPTS = [EncodedPrompt(id=f"p/{n}", prompt_ids=(*SHARED, n + 1), max_new_tokens=1 + n % 5) for n in range(8)]


def run(loaded: Any, strategy: str, budget: int, journal: Any, *, generates: bool) -> tuple[list[Any], WorkCounters]:
    rows = 3 if strategy == "continuous" else None  # so that prompts wait until others have been answered
    options = ExecutionOptions(token_budget=budget, batch_size=rows)
    with TransformersEngine(loaded, options) as engine, engine.keeping(journal):
        answers = engine.generate(PROMPTS, strategy) if generates else engine.score(CHOICES, strategy)
        return list(answers), engine.counters


@pytest.mark.parametrize(
    ("strategy", "budget", "generates"),
    [
        ("unbatched", 60, False),
        ("per_question", 60, False),
        ("padded", 60, False),
        ("packed", 20, False),
        ("unbatched", 60, True),
        ("padded", 60, True),
        ("continuous", 20, True),
    ],
    ids=[
        *("unbatched", "per_question", "padded", "packed"),
        *("generate-unbatched", "generate-padded", "generate-continuous"),
    ],
)
def test_wherever_a_strategy_dies_its_answers_and_counters_are_those_of_an_unbroken_run(
    tmp_path, strategy, budget, generates
):
    loaded = tiny_loaded("qwen3")
    whole = Journal(tmp_path / "whole", KEY)
    expected, counters = run(loaded, strategy, budget, whole, generates=generates)
    assert whole.batches_run >= 3
    for survived in range(whole.batches_run):
        path = tmp_path / f"dies-after-{survived}"
        with pytest.raises(Killed):
            run(loaded, strategy, budget, DiesAfter(Journal(path, KEY), survived), generates=generates)
        later = Journal(path, KEY, recall_from=(path,))
        answers, counted = run(loaded, strategy, budget, later, generates=generates)
        assert (later.batches_recalled, later.batches_run) == (survived, whole.batches_run - survived)
        assert counted == counters
        assert [answer.id for answer in answers] == [answer.id for answer in expected]
        if strategy in ("packed", "continuous"):  # taken up from the middle, on keys and values of another shape
            numbers = [[number for answer in each for number in answer.logprobs] for each in (answers, expected)]
            assert numbers[0] == pytest.approx(numbers[1], abs=1e-5)
            assert [getattr(answer, "token_ids", ()) for answer in answers] == [
                getattr(answer, "token_ids", ()) for answer in expected
            ]
        else:
            assert answers == expected


def test_a_batch_that_did_not_fit_is_split_again_without_being_tried(tmp_path):
    def begin(tried: list[int], journal: Any, dies_at: int | None = None) -> tuple[list[Any], WorkCounters, int | None]:
        def compute(batch: list[int]) -> list[dict[int, float]]:
            tried.append(len(batch))
            if batch[0] == dies_at:
                raise Killed
            if len(batch) > 2:
                raise MemoryError("too large")
            runner.counters.forward_passes += 1
            return [{0: float(item)} for item in batch]

        with ModelRunner(tiny_loaded("qwen3"), ExecutionOptions()) as runner:
            runner.journal = journal
            results = list(runner.run_batches([[1, 2, 3, 4], [5, 6, 7, 8]], compute, len))
            return results, runner.counters, len(runner.fallbacks)

    tried: list[int] = []
    unbroken = begin(tried, Journal(tmp_path / "whole", KEY))
    assert tried == [4, 2, 2, 2, 2]
    with pytest.raises(Killed):
        begin([], Journal(tmp_path / "j", KEY), dies_at=3)
    tried = []
    assert begin(tried, Journal(tmp_path / "j", KEY, recall_from=(tmp_path / "j",))) == unbroken
    assert tried == [2, 2, 2]


def test_a_pack_is_known_by_where_it_goes_on():
    from evalsuite.resume.journal import batch_digest

    def packed(*tokens: int) -> SimpleNamespace:
        pack = SimpleNamespace(used=len(tokens), carried=0, carry=(), tokens=np.array(tokens, dtype=np.int32))
        return SimpleNamespace(rows=[], pack=pack)

    assert batch_digest(packed(1, 2)) != batch_digest(packed(1, 3))
