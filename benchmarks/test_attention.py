"""Each attention at four lengths: one forward, and a short generation, beside another one on the same documents.

sdpa is what the others are timed against, and judged by; sdpa itself stands beside eager, where that fits.
"""

from __future__ import annotations

import pytest

from benchmarks.claims.generating import workload_of
from benchmarks.documents import documents
from benchmarks.side_by_side import Judge, named_skips, side_by_side
from evalsuite.config import ATTENTIONS
from evalsuite.harness.plan import CannotRun, plan_case
from evalsuite.measure.timing import seconds

pytestmark = pytest.mark.benchmark(timer=seconds)

TASK = "vietnews"
LENGTHS = {512: 8, 2_048: 4, 8_192: 2, 32_768: 1}
"""Tokens of a document -> documents of one forward each. One of them is generated from."""
NEW_TOKENS = 16
NAMES = tuple(name for name in ATTENTIONS if name != "auto")


@pytest.fixture(scope="module")
def judge(evaluation_session):
    return Judge(evaluation_session)


# The decorator above varies faster: a model is loaded once for all lengths.
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("attention", NAMES)
def test_one_forward(evaluation_session, benchmark, request, judge, attention, tokens):
    with named_skips(request.config):
        compare(evaluation_session, benchmark, request.node.name, judge, attention, tokens, kv_cache=False)


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("attention", NAMES)
def test_short_generation(evaluation_session, benchmark, request, judge, attention, tokens):
    with named_skips(request.config):
        compare(evaluation_session, benchmark, request.node.name, judge, attention, tokens, kv_cache=True)


def compare(session, benchmark, name, judge, attention, tokens, *, kv_cache):
    """One prompt at a time. A forward is what gives the first token of an answer: logits at the last position."""
    new_tokens, number = (NEW_TOKENS, 1) if kv_cache else (1, LENGTHS[tokens])
    alone = {"batch_size": 1, "kv_cache": kv_cache}
    case = plan_case(
        session,
        name,
        TASK,
        "padded",
        change={"attention": attention, **alone},
        baseline={"attention": "eager" if attention == "sdpa" else "sdpa", **alone},
    )
    require_window(session, case.path.config, tokens + new_tokens)
    asked = documents(workload_of(session, TASK), tokens=tokens, number=number, new_tokens=new_tokens)
    paths = {path.config.attention: path for path in (case.baseline, case.path)}
    if "eager" in paths and (reason := no_room_for_eager(session, paths["eager"].config, tokens)) is not None:
        if attention == "eager":
            raise CannotRun("attention", "eager", reason)
        del paths["eager"]
    if len(paths) == 1:
        benchmark.extra_info["alone"] = f"attention eager: {reason}"
    ways = {attention: (path, asked) for attention, path in paths.items()}
    verdict = side_by_side(session, benchmark, case.name, ways, judge=judge, about={"attention"})
    if verdict is None:
        return
    assert verdict.rounds_alike, verdict.summary()
    if case.path.config.accuracy_is_meaningful:  # random weights decide by near ties
        assert verdict.faithful, verdict.summary()


def require_window(session, config, tokens):
    from evalsuite.runner import context_window

    window = context_window(session.pool.get(config).model)
    if window is not None and tokens > window:
        raise CannotRun("length", f"of {tokens:,} tokens", f"{config.model} was made for {window:,} tokens")


def no_room_for_eager(session, config, tokens):
    """Why eager attention does not fit: it writes down each head's scores, as they are, masked, and in float32."""
    from evalsuite.loading.memory import free_bytes

    loaded = session.pool.get(config)
    heads = loaded.model.config.get_text_config().num_attention_heads
    needed, free = heads * tokens**2 * (2 * loaded.model.dtype.itemsize + 4), free_bytes(str(loaded.device))
    if free is None or needed <= free:
        return None
    gib = f"{needed / 2**30:,.1f} GiB, and {loaded.device} has {free / 2**30:,.1f} GiB free"
    return f"scores of {tokens:,} by {tokens:,} tokens in {heads} heads take {gib}"
