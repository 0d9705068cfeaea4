"""Two sides compared: per case and metric the effect and its test, what changed, the speed, and what to be wary of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from evalsuite.compare import settings
from evalsuite.compare.pairing import IN_A, CasePair, QuestionPairs, pair_cases, pair_questions
from evalsuite.compare.runs import JUDGE
from evalsuite.compare.sides import Answered, Side
from evalsuite.compare.speed import Speed, compare_speed
from evalsuite.compare.statistics import Effect, holm, paired_bootstrap, paired_proportions
from evalsuite.errors import DataError

RIGHT_OR_WRONG = frozenset({"accuracy", "exact_match", "acc_norm"})
SIGNIFICANT = 0.05

Pairs = Sequence[tuple[Answered, Answered]]


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One metric of one case."""

    metric: str
    questions: int
    """Those that both sides have a value for."""
    missing: int
    """Paired questions without a value on one side, such as a grade that a judge did not give."""
    a: float
    b: float
    effect: Effect
    p_holm: float
    """`effect.p` adjusted for all rows of the comparison."""

    @property
    def significant(self) -> bool:
        return self.p_holm < SIGNIFICANT

    @property
    def worse(self) -> bool:
        """Whether B is, beyond chance."""
        return self.significant and self.effect.value < 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A question that the two answer otherwise."""

    id: str
    a: str
    b: str
    gold: tuple[str, ...] | None
    outcome: str
    """`won` (B scores more), `lost`, or `even`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparedCase:
    """One pair of cases. Either `refused`, or all the rest."""

    name: str
    task: str
    questions: int = 0
    rows: tuple[MetricRow, ...] = ()
    changes: tuple[Change, ...] = ()
    speed: Speed | None = None
    notes: tuple[str, ...] = ()
    refused: str = ""

    def count(self, outcome: str) -> int:
        return sum(change.outcome == outcome for change in self.changes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Everything that is shown of A and B."""

    a: str
    b: str
    cases: tuple[ComparedCase, ...]
    notes: tuple[str, ...]
    alone: tuple[str, ...]
    """Cases without a partner, in words."""

    @property
    def worse(self) -> list[str]:
        """Why `--fail-if-worse` fails: what B does worse beyond chance, and what A has that was not compared."""
        lost = [
            f"{case.name}: {row.metric} is worse by {-row.effect.value:.3f} (p {row.p_holm:.2g})"
            for case in self.cases
            for row in case.rows
            if row.worse
        ]
        refused = [f"{case.name}: not compared: {case.refused}" for case in self.cases if case.refused]
        unscored = [f"{case.name}: no score to compare" for case in self.cases if not case.refused and not case.rows]
        return [*lost, *refused, *unscored, *(text for text in self.alone if text.endswith(IN_A))]


def compare(a: Side, b: Side, *, only: Sequence[str] = (), other_prompts: bool = False) -> Comparison:
    """Pair, test and adjust.

    Args:
        only: keep the pairs whose name holds one of these; all where there is none.
        other_prompts: see `pair_questions`.

    Raises:
        DataError: nothing can be compared.
    """
    pairs, alone = pair_cases(a, b)
    if only:
        pairs = [pair for pair in pairs if any(text in pair.name for text in only)]
        alone = [text for text in alone if any(part in text for part in only)]
    if not pairs:
        raise DataError(
            f"expected a case that both have; A has {', '.join(a.cases)}; B has {', '.join(b.cases)}. "
            "Name two with PATH:CASE or --cases"
        )
    families: list[tuple[object, ...]] = []
    cases = [_compare_case(pair, other_prompts, families) for pair in pairs]
    if all(case.refused for case in cases):
        raise DataError("nothing to compare: " + "; ".join(f"{case.name}: {case.refused}" for case in cases))
    return Comparison(
        a=a.name, b=b.name, cases=tuple(_adjusted(cases, families)), notes=(*a.notes, *b.notes), alone=tuple(alone)
    )


def _compare_case(pair: CasePair, other_prompts: bool, families: list[tuple[object, ...]]) -> ComparedCase:
    """`families` gets one entry a row: rows with equal entries are one hypothesis, tested once."""
    matched = pair_questions(pair, other_prompts=other_prompts)
    setup = settings.setup(pair.a, pair.b)
    if not matched.pairs:
        why = f"; {settings.in_words(setup)} (A / B)" if setup else ""
        return ComparedCase(
            name=pair.name, task=pair.a.task, refused=f"no question in both, shown alike: {_counted(matched)}{why}"
        )
    notes = list(_notes(pair, matched, other_prompts))
    rows = []
    for metric in _metrics(pair, matched.pairs):
        valued = [(x, y) for x, y in matched.pairs if metric in x.scores and metric in y.scores]
        if valued:
            rows.append(_row(metric, valued, missing=_scored(matched.pairs, metric) - len(valued)))
            families.append((pair.a.task, metric, len(valued), _differences(valued, metric)))
    return ComparedCase(
        name=pair.name,
        task=pair.a.task,
        questions=len(matched.pairs),
        rows=tuple(rows),
        changes=tuple(_changes(matched.pairs, rows[0].metric if rows else None)),
        speed=compare_speed(pair.a.record, pair.b.record, matched),
        notes=tuple(notes),
    )


def _metrics(pair: CasePair, pairs: Pairs) -> list[str]:
    """Those that both sides have, the task's own first; no judge's where the two judges are not the same."""
    a, b = ({name: None for answered in side for name in answered.scores} for side in zip(*pairs, strict=True))
    main = [name for name in (pair.a.main_metric, pair.b.main_metric) if name in a and name in b]
    names = list(dict.fromkeys([*main, *(name for name in a if name in b)]))
    if settings.judges(pair.a, pair.b) is not None:
        names = [name for name in names if name != JUDGE]
    return [str(name) for name in names]


def _differences(pairs: Pairs, metric: str) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((x.id, y.scores[metric] - x.scores[metric]) for x, y in pairs if x.scores != y.scores))


def _scored(pairs: Pairs, metric: str) -> int:
    return sum(metric in x.scores or metric in y.scores for x, y in pairs)


def _row(metric: str, pairs: Pairs, *, missing: int) -> MetricRow:
    scores = [(x.scores[metric], y.scores[metric]) for x, y in pairs]
    if metric in RIGHT_OR_WRONG and all(value in (0.0, 1.0) for both in scores for value in both):
        effect = paired_proportions(
            won=sum(x < y for x, y in scores), lost=sum(x > y for x, y in scores), questions=len(scores)
        )
    else:
        effect = paired_bootstrap([y - x for x, y in scores])
    return MetricRow(
        metric=metric,
        questions=len(scores),
        missing=missing,
        a=sum(x for x, _ in scores) / len(scores),
        b=sum(y for _, y in scores) / len(scores),
        effect=effect,
        p_holm=effect.p,
    )


def _changes(pairs: Pairs, metric: str | None) -> list[Change]:
    return [
        Change(id=x.id, a=x.prediction, b=y.prediction, gold=x.gold, outcome=_outcome(x, y, metric))
        for x, y in pairs
        if x.prediction != y.prediction
    ]


def _outcome(x: Answered, y: Answered, metric: str | None) -> str:
    if metric is None or metric not in x.scores or metric not in y.scores:
        return "even"
    change = y.scores[metric] - x.scores[metric]
    return "won" if change > 0 else "lost" if change < 0 else "even"


def _adjusted(cases: Sequence[ComparedCase], families: Sequence[tuple[object, ...]]) -> list[ComparedCase]:
    """Holm's adjustment over all rows. Paths that answer alike are one test and not several."""
    p_values = {family: row.effect.p for family, row in zip(families, [r for c in cases for r in c.rows], strict=True)}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    by_row = iter(adjusted[family] for family in families)
    return [
        dataclasses.replace(case, rows=tuple(dataclasses.replace(row, p_holm=next(by_row)) for row in case.rows))
        for case in cases
    ]


def _notes(pair: CasePair, matched: QuestionPairs, other_prompts: bool) -> list[str]:
    notes = []
    if subject := settings.subject(pair.a, pair.b):
        notes.append(f"A / B: {settings.in_words(subject)}")
    if setup := settings.setup(pair.a, pair.b):
        kept = (
            "questions shown in other words are compared all the same"
            if other_prompts
            else ("only questions that both were shown in the same words are compared")
        )
        notes.append(f"NOT SET UP ALIKE: {settings.in_words(setup)} (A / B); {kept}")
    if matched.left_out:
        notes.append(f"LEFT OUT: {_counted(matched)}")
    if other_prompts and (others := sum(x.prompt_hash != y.prompt_hash for x, y in matched.pairs)):
        notes.append(f"OTHER PROMPTS: {others:,} of {len(matched.pairs):,} questions were shown in other words")
    if (judges := settings.judges(pair.a, pair.b)) is not None:
        notes.append(f"OTHER JUDGES, so their grades are not compared: {judges[0]} / {judges[1]}")
    if unscored := sum(x.gold is None for x, _ in matched.pairs):
        notes.append(f"{unscored:,} questions have no published answer: what changed is shown, nothing is scored")
    return notes


def _counted(matched: QuestionPairs) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in matched.left_out.items()) or "none on either side"
