"""A draw belongs to its request: every strategy draws the same tokens, from the distribution that was asked for."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from evalsuite.config import GENERATION_STRATEGIES, REFERENCE_STRATEGY, ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.errors import ConfigError
from evalsuite.generation.sampling import Sampling, choose, draw_tokens, kept, sampling_of, uniforms
from evalsuite.loading import LoadedModel, load
from evalsuite.nano import DATA_DIR
from evalsuite.tasks import TASKS, DataSource
from evalsuite.tasks.prompting import Prompting
from evalsuite.types import EncodedPrompt, Generation
from tests.tiny import EOS, tiny_loaded

DRAWN = ExecutionOptions(temperature=0.8, top_p=0.9, top_k=50)
HOT = ExecutionOptions(temperature=3.0, top_p=0.9, top_k=50)
"""nano is so sure of its answers that at 0.8 it writes them as the greedy choice does."""
SAMPLINGS = [
    Sampling(temperature=1.0),
    Sampling(temperature=0.8, top_k=50, top_p=0.9),
    Sampling(temperature=1.7, top_p=0.6),
    Sampling(temperature=0.3, top_k=3),
    Sampling(temperature=2.0, top_k=7, top_p=0.01),
]
samplings = st.builds(
    Sampling,
    temperature=st.floats(0.05, 5.0),
    top_k=st.none() | st.integers(1, 12),
    top_p=st.just(1.0) | st.floats(0.01, 1.0),
)
draw = st.integers(0, 2**24 - 1).map(lambda n: n / 2**24)


@lru_cache
def nano() -> LoadedModel:
    return load(InferenceConfig(dtype="float32", device="cpu"))


@lru_cache
def questions(count: int = 10) -> tuple[EncodedPrompt, ...]:
    """Questions of nano's sample, with a shorter end."""
    data = TASKS["viquad"].read(DataSource(kind="directory", path=str(DATA_DIR)))
    requests = TASKS["viquad"].requests(data, Prompting())[:count]
    with TransformersEngine(nano(), ExecutionOptions()) as engine:
        encoded = engine.encode_prompts(requests)  # type: ignore[arg-type]
    return tuple(replace(prompt, max_new_tokens=8 + i % 5) for i, prompt in enumerate(encoded))


def generate(
    strategy: str, options: ExecutionOptions, batch: tuple[EncodedPrompt, ...], loaded: LoadedModel | None = None
) -> dict[str, Generation]:
    with TransformersEngine(loaded or nano(), options) as engine:
        return {outcome.id: outcome for outcome in engine.generate(batch, strategy)}


def tokens(answers: dict[str, Generation]) -> dict[str, tuple[int, ...]]:
    return {id_: answer.token_ids for id_, answer in answers.items()}


@lru_cache
def reference(options: ExecutionOptions) -> dict[str, Generation]:
    return generate(REFERENCE_STRATEGY, options, questions())


HEAT = pytest.mark.parametrize("options", [DRAWN, HOT], ids=["as usual", "hot"])


# ---- draws


def test_draws_are_these_on_every_machine() -> None:
    """Written down once: another release, platform or order of bytes would change every sampled answer."""
    assert (uniforms(0, "viquad/1", 4) * 2**24).tolist() == [16766525, 4197066, 14232253, 13622811]
    assert uniforms(0, "viquad/1", 4).dtype == np.float32


@given(seed=st.integers(), id_=st.text(), count=st.integers(0, 40), more=st.integers(0, 40))
def test_a_draw_depends_on_its_place_and_not_on_how_many_there_are(seed: int, id_: str, count: int, more: int) -> None:
    longer = uniforms(seed, id_, count + more)
    assert uniforms(seed, id_, count).tolist() == longer[:count].tolist()
    assert ((longer >= 0) & (longer < 1)).all()


def test_draws_are_uniform_and_those_of_requests_and_seeds_are_others() -> None:
    first, of_another, of_another_seed = uniforms(0, "a", 20_000), uniforms(0, "b", 20_000), uniforms(1, "a", 20_000)
    for found in (first, of_another, of_another_seed):
        assert chi_square(np.bincount((found * 100).astype(int), minlength=100), np.full(100, 0.01)) < 3
    for other in (of_another, of_another_seed, np.roll(first, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.03
    assert uniforms(1, "0", 3).tolist() != uniforms(10, "", 3).tolist()


# ---- choosing


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_filters_keep_what_transformers_keep(sampling: Sampling) -> None:
    logits = torch.randn(60, 500, generator=torch.Generator().manual_seed(1)) * 3
    warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k is not None:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    warped = warpers(torch.zeros(60, 1, dtype=torch.long), logits)
    assert torch.equal(kept(logits, sampling), torch.isfinite(warped))


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_tokens_come_as_often_as_they_are_likely(sampling: Sampling) -> None:
    """Chi-square against transformers' softmax over what is kept, in units of its standard deviation."""
    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(2)) * 2
    count = 20_000
    drawn = draw_tokens(logits.expand(count, -1), torch.from_numpy(uniforms(3, "chi", count)), sampling)
    shares = (logits / sampling.temperature).masked_fill(~kept(logits, sampling), -math.inf).double().softmax(dim=-1)[0]
    assert chi_square(np.bincount(drawn.numpy(), minlength=40), shares.numpy()) < 3


def chi_square(counts: np.ndarray, shares: np.ndarray) -> float:
    """Pearson's statistic over classes of at least five expected, less its mean, over its standard deviation.

    What is never drawn must not come at all.
    """
    assert counts[shares == 0].sum() == 0
    expected = shares * counts.sum()
    common = expected >= 5
    freedom = max(common.sum() - 1, 1)
    statistic = ((counts[common] - expected[common]) ** 2 / expected[common]).sum()
    return float((statistic - freedom) / math.sqrt(2 * freedom))


def plain_choice(row: np.ndarray, u: float, sampling: Sampling) -> tuple[int, float]:
    """The token, and how far the draw is from the next boundary of the distribution or of a filter."""
    masses = np.exp((row - row.max()) / sampling.temperature)
    if sampling.top_k is not None:
        masses[row < np.sort(row)[::-1][: sampling.top_k].min()] = 0
    slack = 1.0
    if sampling.top_p < 1:
        above = np.array([masses[row > value].sum() for value in row]) / masses.sum()
        ahead = above[masses > 0]
        slack = float(np.abs(ahead - sampling.top_p).min())
        masses[above >= sampling.top_p] = 0
    ends = masses.cumsum() / masses.sum()
    return int((ends <= u).sum().clip(max=np.flatnonzero(masses)[-1])), min(slack, float(np.abs(ends[:-1] - u).min()))


@given(
    row=st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=2, max_size=20),
    u=draw,
    sampling=samplings,
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_token_is_that_of_the_plain_inverse(
    row: list[float], u: float, sampling: Sampling, dtype: torch.dtype
) -> None:
    logits = torch.tensor([row], dtype=dtype)
    expected, slack = plain_choice(logits[0].double().numpy(), u, sampling)
    (token,), (logprob,) = choose(logits, torch.tensor([u]), sampling)
    if slack > 1e-5:
        assert token == expected
    assert kept(logits.float(), sampling)[0, token]
    assert logprob == torch.log_softmax(logits.float(), dim=-1)[0, token]


def test_the_last_draw_gives_the_last_token_that_has_a_share() -> None:
    last, first = torch.tensor([1 - 2.0**-24, 0.0])
    logits = torch.tensor([[0.0, 1.0, 0.5, -math.inf], [-math.inf, 0.0, 3.0, 1.0]])
    assert draw_tokens(logits, torch.stack([last, first]), Sampling(temperature=1.0)).tolist() == [2, 1]
    many = torch.zeros(1, 150_000)
    assert draw_tokens(many, last[None], Sampling(temperature=1.0)) == 149_999
    assert draw_tokens(many, last[None], Sampling(temperature=1.0, top_k=1)) == 149_999, "all are equal to the first"


def test_the_likeliest_is_the_first_of_equals() -> None:
    chosen, logprobs = choose(torch.tensor([[0.0, 2.0, 2.0], [3.0, 3.0, 3.0]], dtype=torch.bfloat16), None, None)
    assert chosen.tolist() == [1, 0]
    assert logprobs[1] == pytest.approx(-math.log(3))
    assert sampling_of(ExecutionOptions(top_k=5)) is None


def test_a_cold_draw_is_the_likeliest_and_a_broken_row_harms_no_other() -> None:
    logits = torch.randn(8, 300, generator=torch.Generator().manual_seed(4))
    u = torch.from_numpy(uniforms(0, "u", 8))
    assert torch.equal(draw_tokens(logits, u, Sampling(temperature=1e-4)), logits.argmax(dim=-1))
    sampling = Sampling(temperature=1.0, top_k=9, top_p=0.8)
    sound = draw_tokens(logits, u, sampling)
    logits[3] = math.nan
    broken, logprobs = choose(logits, u, sampling)
    assert 0 <= broken[3] < 300
    assert logprobs[3].isnan()
    assert broken[:3].tolist() == sound[:3].tolist()


@given(rows=st.permutations(range(12)), count=st.integers(1, 12))
def test_a_row_gives_its_token_in_any_company(rows: list[int], count: int) -> None:
    logits = torch.randn(12, 700, generator=torch.Generator().manual_seed(5)) * 2
    u = torch.from_numpy(uniforms(0, "rows", 12))
    together = draw_tokens(logits, u, SAMPLINGS[1])
    some = torch.tensor(rows[:count])
    assert torch.equal(draw_tokens(logits[some], u[some], SAMPLINGS[1]), together[some])


# ---- strategies


@HEAT
@pytest.mark.parametrize("kv_cache", [True, False], ids=["cached", "recomputed"])
@pytest.mark.parametrize("batch_size", [1, 3, None])
def test_every_batch_draws_the_references_tokens(
    batch_size: int | None, kv_cache: bool, options: ExecutionOptions
) -> None:
    path = generate("padded", replace(options, batch_size=batch_size, kv_cache=kv_cache), questions())
    assert tokens(path) == tokens(reference(options))
    for id_, answer in reference(options).items():
        assert path[id_].logprobs == pytest.approx(answer.logprobs, abs=1e-4)
        assert (path[id_].text, path[id_].finish_reason) == (answer.text, answer.finish_reason)


def test_the_reference_draws_the_same_without_a_cache() -> None:
    assert tokens(generate(REFERENCE_STRATEGY, replace(HOT, kv_cache=False), questions())) == tokens(reference(HOT))


@pytest.mark.parametrize("strategy", GENERATION_STRATEGIES)
def test_order_and_company_do_not_matter(strategy: str) -> None:
    assert tokens(generate(strategy, HOT, questions()[::-1])) == tokens(reference(HOT))
    some = questions()[2:7:2]
    assert tokens(generate(strategy, HOT, some)) == {p.id: reference(HOT)[p.id].token_ids for p in some}


def test_another_seed_temperature_or_id_draws_other_tokens() -> None:
    here = tokens(reference(HOT))
    for other in (replace(HOT, sampling_seed=1), DRAWN, ExecutionOptions()):
        there = tokens(generate("padded", other, questions()))
        assert sum(there[id_] != here[id_] for id_ in here) > len(here) / 2
    twins = tuple(replace(questions()[0], id=f"twin {n}") for n in range(4))
    assert len(set(tokens(generate("padded", HOT, twins)).values())) == 4


@pytest.mark.parametrize("options", [ExecutionOptions(), HOT], ids=["greedy", "drawn"])
@pytest.mark.parametrize("strategy", GENERATION_STRATEGIES)
def test_no_new_token_is_an_empty_answer_without_a_forward(strategy: str, options: ExecutionOptions) -> None:
    none = tuple(replace(prompt, max_new_tokens=0, stop=("\n",)) for prompt in questions()[:3])
    with TransformersEngine(nano(), options) as engine:
        answers = list(engine.generate(none, strategy))
        forced = list(engine.teacher_force(none, answers))
        assert (engine.counters.forward_passes, engine.counters.distinct_tokens) == (0, 0)
    assert [(a.text, a.token_ids, a.logprobs, a.finish_reason) for a in answers] == [("", (), (), "length")] * 3
    assert [(f.logprobs, f.best) for f in forced] == [((), ())] * 3


@pytest.mark.parametrize("options", [ExecutionOptions(), HOT], ids=["greedy", "drawn"])
def test_none_one_and_many_new_tokens_go_together(options: ExecutionOptions) -> None:
    mixed = tuple(replace(prompt, max_new_tokens=(0, 1, 6)[i % 3]) for i, prompt in enumerate(questions()))
    answers = generate("padded", options, mixed)
    assert answers == approximately(generate(REFERENCE_STRATEGY, options, mixed))
    assert {len(answers[prompt.id].token_ids) for prompt in mixed if prompt.max_new_tokens < 2} == {0, 1}


def approximately(answers: dict[str, Generation]) -> dict[str, Generation]:
    return {
        id_: replace(answer, logprobs=pytest.approx(answer.logprobs, abs=1e-4))  # type: ignore[arg-type]
        for id_, answer in answers.items()
    }


@pytest.mark.parametrize("options", [ExecutionOptions(), ExecutionOptions(temperature=1.5)], ids=["greedy", "drawn"])
@pytest.mark.parametrize("strategy", GENERATION_STRATEGIES)
def test_the_end_of_sequence_is_ignored_where_that_is_asked(strategy: str, options: ExecutionOptions) -> None:
    """The token that an answer holds second is declared to end a sequence."""
    batch = tuple(EncodedPrompt(id=str(i), prompt_ids=(2 + i, 40), max_new_tokens=5 + i) for i in range(4))
    whole = generate(strategy, replace(options, ignore_eos=True), batch, tiny_loaded("llama"))
    ending = replace(tiny_loaded("llama"), eos_token_ids=(EOS, whole["0"].token_ids[1]))
    ended = generate(strategy, options, batch, ending)["0"]
    ignored = generate(strategy, replace(options, ignore_eos=True), batch, ending)
    assert (ended.token_ids, ended.finish_reason) == (whole["0"].token_ids[: len(ended.token_ids)], "eos")
    assert len(ended.token_ids) <= 2
    assert tokens(ignored) == tokens(whole)
    assert {(len(answer.token_ids) - int(id_), answer.finish_reason) for id_, answer in ignored.items()} == {
        (5, "length")
    }


@pytest.mark.parametrize("strategy", GENERATION_STRATEGIES)
def test_a_stop_string_ends_an_answer_that_ignores_the_end_of_sequence(strategy: str) -> None:
    options = ExecutionOptions(ignore_eos=True)
    (prompt,) = questions(1)
    long = replace(prompt, max_new_tokens=12, stop=())
    text = generate(strategy, options, (long,))[prompt.id].text
    stopped = generate(strategy, options, (replace(long, stop=(text[2],)),))[prompt.id]
    assert (stopped.text, stopped.finish_reason) == (text[: text.index(text[2])], "stop")
    assert len(stopped.token_ids) < 12


# ---- options


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": -0.1}, "temperature: expected a number of at least 0, got -0.1"),
        ({"temperature": math.nan}, "temperature: .* got nan"),
        ({"temperature": math.inf}, "temperature: .* got inf"),
        ({"top_p": 0.0}, "top_p: expected a share above 0, at most 1, got 0.0"),
        ({"top_k": 0}, "top_k: expected at least 1, got 0"),
        ({"memory_fraction": 0.0}, "memory_fraction: expected a share above 0, at most 1, got 0.0"),
        ({"kv_cache_dtype": "int4"}, "kv_cache_dtype: expected one of auto, int8, fp8; got 'int4'"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExecutionOptions(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["unbatched", "padded"])
def test_a_cache_of_another_dtype_is_refused_by_strategies_that_have_none(strategy: str) -> None:
    with (
        TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(kv_cache_dtype="int8")) as engine,
        pytest.raises(
            ConfigError, match=rf"kv_cache_dtype int8: {strategy} keeps keys and values in the model's dtype"
        ),
    ):
        list(engine.generate([EncodedPrompt(id="0", prompt_ids=(2,), max_new_tokens=1)], strategy))


def test_a_judge_is_greedy_whatever_is_judged() -> None:
    asked = ExecutionOptions(
        batch_size=3, temperature=1.0, top_p=0.5, top_k=2, sampling_seed=4, ignore_eos=True, kv_cache_dtype="fp8"
    )
    assert asked.greedy() == ExecutionOptions(batch_size=3)
