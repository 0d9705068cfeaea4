"""VietNews (Nguyen et al. 2019) in the hub's schema (`nam194/vietnews`): DIR/vietnews/SPLIT.jsonl or the hub.

The release is word-segmented: `_` joins the syllables of a word and a space stands before every punctuation
mark. Both are undone (`evalsuite.tasks.cleaning`) in articles and abstracts alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evalsuite.metrics.aggregate import mean_metrics
from evalsuite.metrics.rouge import ROUGE_TYPES, rouge_scores
from evalsuite.tasks.base import SHOTS_HELD_OUT, DataSource, Example, Task, TaskData
from evalsuite.tasks.cleaning import desegment
from evalsuite.tasks.prompting import strip_think
from evalsuite.tasks.reading import existing_file, read_hub, read_jsonl
from evalsuite.types import Graded, Metric

REPOSITORY = "nam194/vietnews"
DESCRIPTION = "Tóm tắt bài báo sau trong một hoặc hai câu.\n\n"
EMPTY_ARTICLE, EMPTY_ABSTRACT = "empty article", "empty abstract"


def render_body(article: str) -> str:
    """The article, cleaned, and the cue."""
    return f"Bài báo: {article}\nTóm tắt:"


def read_vietnews(source: DataSource, split: str | None, shots: int = 0) -> TaskData:
    """One split (default `test`). Rows whose article or abstract is empty or null are left out and counted.

    Shots are the first rows of the split, which are then not scored.
    """
    split = split or "test"
    if source.kind == "hub":
        label, rows = read_hub(source, REPOSITORY, split)
    else:
        path = existing_file(source.folder("vietnews"), (f"{split}.jsonl",), "vietnews")
        label, rows = str(path), read_jsonl(path)
    counts: Counter[str] = Counter()
    examples: list[Example] = []
    for row in rows:
        article = desegment(row.text("article", null=""))
        abstract = desegment(row.text("abstract", null=""))
        if not article or not abstract:
            counts[EMPTY_ARTICLE if not article else EMPTY_ABSTRACT] += 1
            continue
        title = desegment(row.text("title", missing=""))
        examples.append(_example(f"vietnews/{split}/{row.number}", article, abstract, title))
    if shots:
        counts[SHOTS_HELD_OUT] = len(examples[:shots])
    return TaskData(
        task="vietnews",
        split=split,
        examples=tuple(examples[shots:]),
        shots={"": tuple(examples[:shots])} if shots else {},
        source=label,
        shots_source=tuple(example.id for example in examples[:shots]),
        excluded=dict(counts),
    )


def grade_vietnews(example: Example, text: str) -> Graded:
    """ROUGE F1 against the abstract."""
    summary = strip_think(text)
    golds = example.gold or ("",)
    return Graded(
        id=example.id, group=example.group, prediction=summary, gold=golds, scores=rouge_scores(golds[0], summary)
    )


def summarise_vietnews(graded: Sequence[Graded]) -> list[Metric]:
    """Mean ROUGE-1, ROUGE-2 and ROUGE-L, with their standard errors."""
    return mean_metrics([g.scores for g in graded], ROUGE_TYPES, "overall")


def _example(identifier: str, article: str, abstract: str, title: str) -> Example:
    return Example(
        id=identifier,
        group="news",
        description=DESCRIPTION,
        body=render_body(article),
        answer=abstract,
        gold=(abstract,),
        fields={"article": article, "title": title},
    )


VIETNEWS = Task(
    name="vietnews",
    kind="generation",
    title="VietNews",
    main_metric="rougeL",
    default_split="test",
    reader=read_vietnews,
    grader=grade_vietnews,
    summariser=summarise_vietnews,
    max_new_tokens=128,
)
