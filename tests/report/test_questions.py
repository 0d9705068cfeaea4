"""The questions as `page.js` gets them."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from evalsuite.errors import DataError
from evalsuite.report.questions import pack, read_questions
from evalsuite.report.saved import read_saved, shown
from tests.report.making import HOSTILE, line, record, request, varied_run, write_run

PADDED, PACKED = "test_mmlu[padded]", "test_mmlu[packed]"


def unpacked(*runs, **options):
    page = shown(read_saved(runs))
    packed = pack(page, read_questions(page, **options))
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_every_question_is_there_once_with_all_that_was_said(tmp_path):
    data = unpacked(varied_run(tmp_path))
    assert data["cases"] == ["test_mmlu[unbatched]", PADDED, PACKED, "test_batch_size[8]"]
    assert [question[2] for question in data["questions"]] == [
        f"mmlu/test/{g}" for g in ("anatomy/0", "anatomy/1", "law/2", "law/3")
    ]
    task, group, _, opening, prompt, continuations, gold, answers, flips = data["questions"][2]
    assert (data["tasks"][task], data["groups"][group]) == ("mmlu", "law")
    assert data["openings"][opening] + prompt == request(2, group="law").context
    assert (continuations, gold) == ([" A", " B"], ["A"])
    assert answers == [
        [[0, 1], "A", 1.0, {"accuracy": 1.0}, [-0.123, -2.25], None, None],
        [[2], "B", 0.0, {"accuracy": 0.0}, [-0.123, -2.25], None, None],
    ]
    assert flips == [[2, "A", "B", 0.01, True]]


def test_hostile_text_is_carried_to_the_character_and_cannot_end_its_element(tmp_path):
    page = shown(read_saved([varied_run(tmp_path, HOSTILE)]))
    packed = pack(page, read_questions(page))
    assert set(packed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
    question = json.loads(gzip.decompress(base64.b64decode(packed)))["questions"][3]
    assert HOSTILE in question[4]
    assert question[7][1][1] == HOSTILE
    assert question[7][1][6] == [None, HOSTILE, HOSTILE]


def test_the_same_question_shown_otherwise_is_another(tmp_path):
    plain, chat = request(0), request(0, words="in a template")
    cases = {PADDED: record(PADDED), PACKED: record(PACKED)}
    data = unpacked(write_run(tmp_path, cases, {PADDED: [line(plain)], PACKED: [line(chat)]}, [plain, chat]))
    assert [[answer[0] for answer in question[7]] for question in data["questions"]] == [[[0]], [[1]]]


def test_a_run_without_prompts_shows_its_questions_without_them(tmp_path):
    run = write_run(tmp_path, {PADDED: record(PADDED)}, {PADDED: [line(request(0), gold=None)]})
    (question,) = unpacked(run)["questions"]
    assert (question[3], question[4], question[6], question[7][0][2]) == (-1, None, None, None)


def test_prompts_can_be_left_out(tmp_path):
    data = unpacked(varied_run(tmp_path), with_prompts=False)
    assert {question[4] for question in data["questions"]} == {None}
    assert data["openings"] == []


def test_raw_text_is_kept_where_it_says_more_than_the_prediction(tmp_path):
    written = [line(request(0), "Huế", text=" Huế"), line(request(1), "Huế", text=" Huế. Câu hỏi: ...")]
    run = write_run(tmp_path, {PADDED: record(PADDED)}, {PADDED: written})
    assert [question[7][0][5] for question in unpacked(run)["questions"]] == [None, " Huế. Câu hỏi: ..."]


def test_answers_that_are_gone_are_an_error(tmp_path):
    run = varied_run(tmp_path)
    next(run.glob("[0-9].jsonl")).unlink()
    with pytest.raises(DataError, match="expected the answers of"):
        unpacked(run)
