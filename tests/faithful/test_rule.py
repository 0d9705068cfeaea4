"""The rule of faithfulness, clause by clause."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import ConfigError
from evalsuite.faithful import NOISE_CAP, NOISE_FLOOR, compare_choices, compare_generations, percentile, reference_noise
from evalsuite.generation.teacher_forcing import TeacherForced
from evalsuite.types import ChoiceScores, Generation


def scores(**logprobs: tuple[float, ...]) -> dict[str, ChoiceScores]:
    return {id_: ChoiceScores(id=id_, logprobs=values) for id_, values in logprobs.items()}


def generation(text: str, tokens: tuple[int, ...], logprob: float = -1.0) -> dict[str, Generation]:
    return {
        "q": Generation(id="q", text=text, token_ids=tokens, logprobs=(logprob,) * len(tokens), finish_reason="length")
    }


def forced(*gaps: float, other: int = 4) -> dict[str, TeacherForced]:
    """fp32 gives token `other` a log-probability that is lower by the gap than the reference's at each position."""
    best = tuple({other: -1.0 - gap} for gap in gaps)
    return {"q": TeacherForced(id="q", logprobs=(-1.0,) * len(gaps), best=best)}


def test_equal_outcomes_are_faithful_and_the_verdict_says_how_many_were_compared() -> None:
    same = scores(a=(-1.0, -2.0), b=(-3.0, -1.0))
    verdict = compare_choices(reference=same, path=same, reference_fp32=same, total=14_042)
    assert verdict.faithful
    assert verdict.summary() == "faithful, 2 of 14,042 compared"


def test_a_flip_with_a_clear_margin_is_not_faithful_and_is_listed() -> None:
    reference, path = scores(a=(-1.0, -1.05)), scores(a=(-1.05, -1.0))
    verdict = compare_choices(reference=reference, path=path, reference_fp32=reference)
    assert not verdict.faithful
    assert "1 answer changed" in verdict.summary()
    (flip,) = verdict.flips
    assert (flip.id, flip.reference, flip.path, flip.excused) == ("a", "0", "1", False)
    assert flip.margin == pytest.approx(0.05)


def test_a_flip_names_choices_as_the_question_does() -> None:
    reference, path = scores(a=(-1.0, -2.0, -1.5)), scores(a=(-2.0, -2.5, -1.0))
    verdict = compare_choices(reference=reference, path=path, reference_fp32=reference, labels={"a": "ABC"})
    assert [(flip.reference, flip.path) for flip in verdict.flips] == [("A", "C")]


def test_a_flip_below_the_noise_of_the_reference_is_excused_counted_and_listed() -> None:
    fp32 = scores(a=(-1.0, -1.01), b=(-2.0, -3.0))
    bf16 = scores(a=(-1.0, -1.02), b=(-2.0, -3.1))  # 0.1 from fp32: the noise
    path = scores(a=(-1.02, -1.0), b=(-2.0, -3.1))
    verdict = compare_choices(reference=bf16, path=path, reference_fp32=fp32)
    assert verdict.noise == pytest.approx(0.1)
    assert verdict.faithful
    assert [flip.excused for flip in verdict.flips] == [True]
    assert "1 flip below noise" in verdict.summary()


def test_differences_beyond_twice_the_noise_are_not_faithful_even_without_a_flip() -> None:
    reference = scores(a=(-1.0, -9.0))
    verdict = compare_choices(reference=reference, path=scores(a=(-1.1, -9.0)), reference_fp32=reference)
    assert not verdict.flips
    assert not verdict.faithful
    assert "log-probabilities differ" in verdict.reason


def test_a_path_that_rounds_otherwise_is_judged_by_what_it_rounds() -> None:
    fp32, bf16 = scores(a=(-1.0, -9.0)), scores(a=(-1.08, -9.0))
    near = compare_choices(reference=bf16, path=scores(a=(-0.9, -9.0)), reference_fp32=fp32)
    assert near.path_difference > 2 * near.noise > near.path_error
    assert near.faithful
    off = compare_choices(reference=bf16, path=scores(a=(-0.8, -9.0)), reference_fp32=fp32)
    assert off.reason == "log-probabilities differ by 0.28, from float32 by 0.2 (noise 0.08)"


def test_a_generated_answer_that_rounds_otherwise_is_judged_by_what_it_rounds() -> None:
    reference, fp32 = generation("xyz", (1, 2, 3), -1.08), forced(9.0, 9.0, 9.0)
    verdicts = [
        compare_generations(reference=reference, path=generation("xyz", (1, 2, 3), value), reference_fp32=fp32)
        for value in (-0.9, -0.8)
    ]
    assert [verdict.faithful for verdict in verdicts] == [True, False]
    assert [verdict.path_error for verdict in verdicts] == pytest.approx([0.1, 0.2])


def test_a_path_that_repeats_the_reference_is_faithful_in_a_dtype_beyond_the_cap() -> None:
    fp32, coarse = scores(a=(-1.0, -9.0)), scores(a=(-1.9, -9.0))
    verdict = compare_choices(reference=coarse, path=coarse, reference_fp32=fp32)
    assert verdict.path_error > 2 * verdict.noise
    assert verdict.faithful


def test_few_questions_seldom_blame_a_sound_path_and_show_a_fault_of_three_times_the_noise() -> None:
    """Two independent roundings of 32 questions, each with one scale for its four choices, as a real model's have."""
    draw = Random(0)

    def rounded(by: float) -> tuple[float, ...]:
        scale = by * math.exp(draw.gauss(0, 0.5))
        return tuple(draw.gauss(0, scale) for _ in range(4))

    blamed = {"sound": 0, "faulty": 0}
    for _ in range(200):
        fp32 = scores(**{str(i): (0.0,) * 4 for i in range(32)})
        reference = scores(**{str(i): rounded(0.03) for i in range(32)})
        for name, by in (("sound", 0.03), ("faulty", 0.09)):
            path = scores(**{i: rounded(by) for i in reference})
            blamed[name] += not compare_choices(reference=reference, path=path, reference_fp32=fp32).rounds_alike
    assert blamed["sound"] <= 2, blamed
    assert blamed["faulty"] >= 100, blamed


def test_a_path_that_gives_nan_is_not_faithful() -> None:
    reference = scores(a=(-1.0, -2.0))
    path = scores(a=(-1.0, math.nan))
    assert not compare_choices(reference=reference, path=path, reference_fp32=reference).faithful


def test_noise_is_capped_so_that_a_broken_dtype_excuses_nothing() -> None:
    fp32, broken = scores(a=(-1.0, -1.5)), scores(a=(-3.0, -1.5))
    verdict = compare_choices(reference=broken, path=fp32, reference_fp32=fp32)
    assert verdict.noise == NOISE_CAP
    assert not verdict.faithful


def test_a_text_that_differs_is_judged_by_the_gap_at_the_first_token_that_differs() -> None:
    reference, path = generation("xyz", (1, 2, 3)), generation("xaz", (1, 4, 3))
    sure = compare_generations(reference=reference, path=path, reference_fp32=forced(0.0, 0.5, 0.0))
    unsure = compare_generations(reference=reference, path=path, reference_fp32=forced(9.0, 0.5e-4, 9.0))
    assert not sure.faithful
    assert unsure.faithful
    assert unsure.flips[0].excused


def test_a_flip_to_a_token_that_fp32_finds_unlikely_is_never_excused() -> None:
    reference, path = generation("xyz", (1, 2, 3)), generation("xaz", (1, 4, 3))
    near_tie_of_others = forced(0.0, 0.0, 0.0, other=7)
    verdict = compare_generations(reference=reference, path=path, reference_fp32=near_tie_of_others)
    assert not verdict.faithful
    assert verdict.flips[0].margin is None


def test_what_the_dtype_itself_changes_is_counted_and_shown_beside_the_verdict() -> None:
    fp32, bf16 = scores(a=(-1.0, -1.3), b=(-1.0, -9.0)), scores(a=(-1.4, -1.3), b=(-1.0, -9.0))
    verdict = compare_choices(reference=bf16, path=bf16, reference_fp32=fp32)
    assert verdict.faithful
    assert verdict.reference_flips == 1
    assert verdict.noise == NOISE_CAP
    assert verdict.measured_noise == pytest.approx(0.4)
    assert "1 answered otherwise by the reference in float32" in verdict.summary()


def test_an_answer_cut_short_is_never_excused() -> None:
    reference, path = generation("xyz", (1, 2, 3)), generation("xy", (1, 2))
    verdict = compare_generations(reference=reference, path=path, reference_fp32=forced(0.0, 0.0, 0.0))
    assert not verdict.faithful
    assert verdict.flips[0].margin is None


def test_same_tokens_trimmed_to_another_text_are_never_excused() -> None:
    reference, path = generation("xyz", (1, 2, 3)), generation("yz", (1, 2, 3))
    verdict = compare_generations(reference=reference, path=path, reference_fp32=forced(0.0, 0.0, 0.0))
    assert not verdict.faithful


def test_tokens_after_the_first_difference_do_not_count_against_the_path() -> None:
    reference, path = generation("xyz", (1, 2, 3), -1.0), generation("xab", (1, 4, 5), -1.0)
    path["q"] = Generation(id="q", text="xab", token_ids=(1, 4, 5), logprobs=(-1.0, -7.0, -9.0), finish_reason="eos")
    verdict = compare_generations(reference=reference, path=path, reference_fp32=forced(0.0, 0.0, 0.0))
    assert verdict.path_difference == 0.0


@pytest.mark.parametrize("lacking", ["path", "fp32 reference"])
def test_a_question_that_was_not_run_is_an_error_and_not_a_pass(lacking: str) -> None:
    both, one = scores(a=(-1.0, -2.0), b=(-1.0, -2.0)), scores(a=(-1.0, -2.0))
    given_ = {"path": both, "reference_fp32": both} | {("path" if lacking == "path" else "reference_fp32"): one}
    with pytest.raises(ConfigError, match=f"{lacking} lacks 1 of 2 compared questions, the first is b"):
        compare_choices(reference=both, **given_)


def test_comparing_nothing_is_an_error_and_not_a_pass() -> None:
    with pytest.raises(ConfigError, match=r"nothing to compare: .* look at what --data holds"):
        compare_choices(reference={}, path={}, reference_fp32={})


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.floats(0.1, 100))
def test_percentile_is_the_smallest_value_that_covers_its_share(values: list[float], q: float) -> None:
    value = percentile(values, q)
    assert value in values
    assert sum(v <= value for v in values) / len(values) >= q / 100 - 1e-12
    assert not any(v < value and sum(u <= v for u in values) / len(values) >= q / 100 for v in values)


def test_noise_has_a_floor() -> None:
    assert reference_noise([]) == reference_noise([0.0]) == NOISE_FLOOR
