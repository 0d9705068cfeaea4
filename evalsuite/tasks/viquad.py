"""UIT-ViQuAD 2.0 (Nguyen et al. 2022): the SQuAD 2.0 nesting as released, or the hub's flat rows.

Answers are compared as text, so a span whose `answer_start` is off by one does no harm. An unanswerable
question has the gold `("",)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from evalsuite.errors import DataError
from evalsuite.metrics.aggregate import mean_metrics
from evalsuite.metrics.squad import is_refusal, normalise_answer, squad_scores
from evalsuite.tasks.base import SHOTS_HELD_OUT, DataSource, Example, Task, TaskData
from evalsuite.tasks.prompting import strip_think
from evalsuite.tasks.reading import Row, distinct_ids, existing_file, read_hub, read_json
from evalsuite.types import Graded, Metric

REPOSITORY = "taidng/UIT-ViQuAD2.0"
NO_ANSWER = "không có câu trả lời"
DESCRIPTION = (
    "Đọc đoạn văn rồi trả lời câu hỏi bằng cụm từ ngắn nhất trích nguyên văn từ đoạn văn. "
    f"Nếu đoạn văn không có câu trả lời, hãy viết: {NO_ANSWER}.\n\n"
)
DEFAULT_FILES = ("validation.json", "dev.json", "sample.json")
ANSWERABLE, UNANSWERABLE = "answerable", "unanswerable"
METRICS = ("exact_match", "f1")


def render_body(context: str, question: str) -> str:
    """The passage, the question and the cue."""
    return f"Đoạn văn: {context.strip()}\nCâu hỏi: {question.strip()}\nTrả lời:"


def read_viquad(source: DataSource, split: str | None, shots: int = 0) -> TaskData:
    """One split: the hub's (default `validation`) or a file `SPLIT.json` (default the first of `DEFAULT_FILES`).

    Shots are held out of the split's own rows. Raises `DataError` for a split whose golds are not published.
    """
    if source.kind == "hub":
        split = split or "validation"
        label, rows = read_hub(source, REPOSITORY, split)
    else:
        names = (f"{split}.json",) if split else DEFAULT_FILES
        path = existing_file(source.folder("viquad"), names, "viquad")
        split, label, rows = path.stem, str(path), _flatten(path)
    table = list(rows)
    ids = distinct_ids([f"viquad/{split}/{row.text('id')}" for row in table])
    golds = [_golds(row) for row in table]
    _refuse_blind(label, table, golds)
    examples = [_example(i, row, gold) for i, row, gold in zip(ids, table, golds, strict=True)]
    pool = _pick_shots(examples, shots)
    shot_ids = {shot.id for shot in pool}
    return TaskData(
        task="viquad",
        split=split,
        examples=tuple(e for e in examples if e.id not in shot_ids),
        shots={"": tuple(pool)} if pool else {},
        source=label,
        shots_source=tuple(shot.id for shot in pool),
        excluded={SHOTS_HELD_OUT: len(pool)} if pool else {},
    )


def grade_viquad(example: Example, text: str) -> Graded:
    """Exact match and F1 over the best gold. A refusal phrase counts as an empty answer, unless it is a gold."""
    answer = first_line(strip_think(text))
    golds = example.gold or ("",)
    if is_refusal(answer) and normalise_answer(answer) not in map(normalise_answer, golds):
        answer = ""
    return Graded(id=example.id, group=example.group, prediction=answer, gold=golds, scores=squad_scores(answer, golds))


def summarise_viquad(graded: Sequence[Graded]) -> list[Metric]:
    """EM and F1 overall, then for answerable and unanswerable questions apart."""
    metrics = mean_metrics([g.scores for g in graded], METRICS, "overall")
    for group in (ANSWERABLE, UNANSWERABLE):
        metrics += mean_metrics([g.scores for g in graded if g.group == group], METRICS, group)
    return metrics


def first_line(text: str) -> str:
    """The first line that is not blank, stripped; empty where there is none."""
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def _flatten(path: Path) -> Iterator[Row]:
    """The hub's flat rows from SQuAD's `data[].paragraphs[].qas[]`."""
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise DataError(f"{path}: expected SQuAD 2.0 nesting, an object with the list 'data'")
    number = 0
    for article in document["data"]:
        for paragraph in _nested(path, article, "paragraphs"):
            for question in _nested(path, paragraph, "qas"):
                number += 1
                shared = {
                    key: holder[key] for key, holder in (("context", paragraph), ("title", article)) if key in holder
                }
                yield Row(source=str(path), number=number, values={**shared, **question})


def _nested(path: Path, parent: Any, key: str) -> list[dict[str, Any]]:
    children = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(children, list) or not all(isinstance(child, dict) for child in children):
        raise DataError(f"{path}: expected SQuAD 2.0 nesting, a list of objects under {key!r}; got {children!r:.80}")
    return children


def _golds(row: Row) -> tuple[str, ...]:
    """Distinct gold texts; `("",)` for an unanswerable question; empty where none is published."""
    impossible = row.values.get("is_impossible")
    if not isinstance(impossible, (bool, NoneType)):
        raise row.error("is_impossible", f"expected true or false, got {row.got('is_impossible')}")
    if impossible:
        return ("",)
    if not row.has("answers"):
        raise row.error(
            "answers",
            f"expected SQuAD answers, got {row.got('answers')}; a blind test publishes none: use "
            "--split validation (in Python split='validation')",
        )
    answers = row.values["answers"]
    texts: Any
    if isinstance(answers, dict) and "text" in answers:
        texts = answers["text"] or []
    elif isinstance(answers, list) and all(isinstance(a, dict) and "text" in a for a in answers):
        texts = [a["text"] for a in answers]
    elif answers is None:
        texts = []
    else:
        raise row.error("answers", f"expected SQuAD answers, each with its `text`; got {answers!r:.80}")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise row.error("answers", f"expected texts, got {texts!r:.80}")
    return tuple(dict.fromkeys(text for text in texts if text.strip()))


def _refuse_blind(label: str, rows: Sequence[Row], golds: Sequence[tuple[str, ...]]) -> None:
    """A split without one gold text cannot be told from a blind one; a lone row without golds is malformed."""
    if rows and not any(any(gold) for gold in golds):
        raise DataError(
            f"{label}: its golds are not published (blind test), so it cannot be scored; use --split validation "
            "(in Python split='validation')"
        )
    for row, gold in zip(rows, golds, strict=True):
        if not gold:
            raise row.error("answers", "expected a gold answer, or is_impossible true; got neither")


def _example(identifier: str, row: Row, golds: tuple[str, ...]) -> Example:
    context, question = row.text("context"), row.text("question")
    return Example(
        id=identifier,
        group=ANSWERABLE if any(golds) else UNANSWERABLE,
        description=DESCRIPTION,
        body=render_body(context, question),
        answer=golds[0] or NO_ANSWER,
        gold=golds,
        fields={"context": context, "question": question, "title": row.text("title", missing="")},
    )


def _pick_shots(examples: Sequence[Example], count: int) -> list[Example]:
    """The first rows on distinct passages, every third one unanswerable, so that shots show both kinds."""
    picked: list[Example] = []
    passages: set[str] = set()
    for index in range(count):
        wanted = UNANSWERABLE if index % 3 == 2 else ANSWERABLE
        shot = next((e for e in examples if e.group == wanted and e.fields["context"] not in passages), None)
        if shot is not None:
            picked.append(shot)
            passages.add(shot.fields["context"])
    return picked


VIQUAD = Task(
    name="viquad",
    kind="generation",
    title="UIT-ViQuAD 2.0",
    main_metric="exact_match",
    default_split="validation",
    reader=read_viquad,
    grader=grade_viquad,
    summariser=summarise_viquad,
    max_new_tokens=64,
)
