"""What the claims of an older guide rest on and no other benchmark measures. `benchmarks/claims` judges them.

The rest of the table comes from test_optimisations.py and the evaluations; records/README.md has the commands.
torch is imported by the tests and not by this file, so that collecting the benchmarks stays quick.
"""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.claims.catalogue import BATCHED_IDS
from benchmarks.claims.generating import answer_timed, batched, warm_up, whole_batches, workload_of
from benchmarks.claims.turns import in_turns, timed
from evalsuite.capability import best_device, dtype_reason, environment
from evalsuite.config import SHAPE_PREFIX, ExecutionOptions, InferenceConfig
from evalsuite.harness.case import ExecutionPath
from evalsuite.measure.memory import MemoryMeter
from evalsuite.measure.timing import CLOCK, rounds_for, seconds
from evalsuite.shapes import SHAPES

pytestmark = pytest.mark.benchmark(timer=seconds)

ATTENTION_ROUNDS, ATTENTION_REPEATS = 5, {"cuda": 50, "cpu": 1}
ROOM_FOR_WEIGHTS = 0.8
"""Of a GPU's memory."""
CLAIMED_BATCHES = {"viquad": (8, 16, 32), "vietnews": (4, 8, 16)}
"""Most rows in a batch: the guide's default, and the range that it advises."""


@pytest.fixture
def device(pytestconfig):
    import torch

    asked = pytestconfig.getoption("--device")
    return torch.device(best_device() if asked == "auto" else asked).type


@pytest.fixture(autouse=True)
def keep(request, benchmark, evaluation_session):
    """Into the results folder as soon as it is measured: pytest-benchmark's JSON of an interrupted run is lost."""

    def keep():
        if benchmark.extra_info:
            evaluation_session.results.add_case(request.node.name, dict(benchmark.extra_info))

    yield keep
    keep()


@pytest.mark.parametrize("length", [128, 512, 2048])
def test_attention_alone(benchmark, device, keep, length):
    import torch

    from benchmarks.claims.attending import attentions

    if (reason := dtype_reason("bfloat16", device)) is not None:
        pytest.skip(f"attention is compared in bfloat16: {reason}")
    repeats = ATTENTION_REPEATS[device] if benchmark.enabled else 1
    synchronize = torch.cuda.synchronize if device == "cuda" else _nothing
    with torch.inference_mode(), CLOCK.following(synchronize):
        kernels = attentions(length, device, torch.bfloat16)
        expected = kernels["eager"]().float()
        for name, attend in kernels.items():
            off = (attend().float() - expected).norm() / expected.norm()
            assert off < 2e-2, f"{name} differs from eager by {off:.1e} of its norm"

        def way(attend):
            return lambda _: timed(lambda: [attend() for _ in range(repeats)])

        in_turns(
            benchmark,
            {name: way(attend) for name, attend in kernels.items()},
            counts=dict.fromkeys(kernels, repeats),
            rounds=ATTENTION_ROUNDS,
            keep=keep,
        )


@pytest.mark.parametrize("task", list(CLAIMED_BATCHES), ids=BATCHED_IDS.__getitem__)
def test_batched_generation(evaluation_session, benchmark, keep, task):
    from evalsuite.harness.session import Reference

    session = evaluation_session
    config = session.plain(session.options.config)
    workload = workload_of(session, task)
    sample = session.sample(workload)
    reference = session.reference_path(config)
    paths = {f"batch {rows}": batched(session, rows) for rows in CLAIMED_BATCHES[task]}
    questions = {
        name: whole_batches(workload, path.execution.batch_size, including=sample.ids) for name, path in paths.items()
    }
    outcomes, reference_outcomes = {}, {}
    benchmark.extra_info["model"] = session.options.config.model
    rounds = 1
    if benchmark.enabled:
        warm_up(session, reference, sample.only(sample.ids[:1]))
        slowest = max(warm_up(session, path, questions[name]) for name, path in paths.items())
        rounds = min(rounds_for(slowest), len(sample))

    def one_by_one(round_number):
        taken, answers = answer_timed(session, reference, sample.only(sample.ids[round_number::rounds]))
        reference_outcomes.update(answers)
        return taken

    def in_batches(name):
        def answer(_):
            taken, outcomes[name] = answer_timed(session, paths[name], questions[name])
            return taken

        return answer

    taken = in_turns(
        benchmark,
        {"one by one": one_by_one} | {name: in_batches(name) for name in paths},
        counts={"one by one": len(sample) / rounds} | {name: len(questions[name]) for name in paths},
        rounds=rounds,
        keep=keep,
    )
    session.keep_reference(config, task, Reference(outcomes=reference_outcomes, seconds=sum(taken["one by one"])))
    verdicts = {name: session.verdict(config, task, answers) for name, answers in outcomes.items()}
    benchmark.extra_info |= {
        "verdicts": {name: verdict.summary() for name, verdict in verdicts.items()},
        "new_tokens": {name: sum(len(a.token_ids) for a in answers.values()) for name, answers in outcomes.items()},
    }
    if config.accuracy_is_meaningful:  # random weights decide by near ties, so a few of their answers change in bf16
        assert all(verdict.faithful for verdict in verdicts.values()), benchmark.extra_info["verdicts"]


@pytest.mark.parametrize("rows", [1, 8])
def test_kv_cache_at_batch(evaluation_session, benchmark, keep, rows):
    session = evaluation_session
    questions = whole_batches(workload_of(session, "viquad"), rows)
    paths = {name: batched(session, rows, kv_cache=kept) for name, kept in (("without", False), ("with", True))}
    texts = {}

    def way(name):
        def answer(_):
            taken, outcomes = answer_timed(session, paths[name], questions)
            texts[name] = {id_: outcome.text for id_, outcome in outcomes.items()}
            return taken

        return answer

    rounds = rounds_for(max(warm_up(session, path, questions) for path in paths.values())) if benchmark.enabled else 1
    counts = dict.fromkeys(paths, len(questions))
    benchmark.extra_info["model"] = session.options.config.model
    in_turns(benchmark, {name: way(name) for name in paths}, counts=counts, rounds=rounds, keep=keep)
    same = sum(texts["with"][id_] == text for id_, text in texts["without"].items())
    benchmark.extra_info["same_answers"] = same
    if session.options.config.accuracy_is_meaningful:  # random weights decide by near ties
        assert benchmark.extra_info["same_answers"] == len(questions)


def test_loading(pytestconfig, tmp_path, benchmark, device, keep):
    from benchmarks.claims.loads import FreshProcesses
    from evalsuite.loading import load
    from evalsuite.loading.sources import find_source

    config = InferenceConfig(model=pytestconfig.getoption("--model"), device=device)
    if (reason := dtype_reason("bfloat16", device)) is not None:
        pytest.skip(f"loading is compared in bfloat16: {reason}")
    processes = FreshProcesses("cuda:0" if device == "cuda" else device)
    directory = str(tmp_path) if config.model.startswith(SHAPE_PREFIX) else str(find_source(config).weights_dir)
    if directory == str(tmp_path):
        load(config).model.save_pretrained(tmp_path)
    costs = {}
    benchmark.extra_info |= {"model": config.model, "costs": costs}

    def load_anew(name):
        cost = processes.load(directory, *name.split(", "))
        costs[name] = dataclasses.asdict(cost)
        return cost.seconds

    load_anew("as loaded, float32")  # for its memory; it also reads the files into the system's cache
    keep()
    ways = {name: lambda _, name=name: load_anew(name) for name in ("built first, bfloat16", "as loaded, bfloat16")}
    in_turns(benchmark, ways, counts=dict.fromkeys(ways, 1), keep=keep)


@pytest.mark.parametrize("name", ["qwen3-4b", "qwen3-32b"])
def test_memory(evaluation_session, benchmark, device, name):
    """Weights by arithmetic on every machine; where CUDA has room, what scoring and generation took at most."""
    import torch

    session = evaluation_session
    config = session.options.config.replace(model=SHAPE_PREFIX + name, dtype="bfloat16")
    weights = torch.bfloat16.itemsize * SHAPES[name].parameters
    benchmark.extra_info |= {"weights_bytes": weights, "peak_bytes": None, "versions": environment()}
    room = torch.cuda.get_device_properties("cuda").total_memory if device == "cuda" else 0
    if room * ROOM_FOR_WEIGHTS < weights:
        benchmark.pedantic(lambda: weights)
        return
    meter = MemoryMeter(device)

    def answer_default_batches():
        for task, strategy in (("mmlu", "padded"), ("viquad", "padded")):
            path = ExecutionPath(config=config, execution=ExecutionOptions(), strategy=strategy)
            answer_timed(session, path, workload_of(session, task, config))

    session.pool.get(config)
    meter.reset()
    benchmark.pedantic(answer_default_batches)
    benchmark.extra_info["peak_bytes"] = meter.peak(beside=session.pool.bytes_beside(config)).bytes


def _nothing():
    pass
