"""Under `-n`, each worker takes a GPU of its own. The GPUs of these tests are simulated."""

import json

import pytest

from evalsuite.harness.workers import sharing_note, worker_gpu
from tests.plugin.conftest import RunSuite


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("gpus", "taken"), [(1, [0, 0, 0, 0]), (2, [0, 1, 0, 1]), (3, [0, 1, 2, 0]), (8, [0, 1, 2, 3])]
)
def test_workers_go_round_the_gpus(device: str, gpus: int, taken: list[int]) -> None:
    assert [worker_gpu(device, f"gw{number}", gpus) for number in range(4)] == taken
    assert worker_gpu(device, "gw17", gpus) == 17 % gpus


@pytest.mark.parametrize("device", ["cuda:1", "cuda:0", "cpu", "mps"])
def test_a_device_that_is_named_stays(device: str) -> None:
    assert worker_gpu(device, "gw3", 4) is None


def test_without_a_gpu_or_a_number_nothing_changes() -> None:
    assert worker_gpu("auto", "gw3", 0) is None
    assert worker_gpu("auto", "remote", 4) is None


@pytest.mark.parametrize(("workers", "gpus", "shared"), [(4, 2, True), (2, 2, False), (1, 2, False), (4, None, False)])
def test_more_workers_than_gpus_are_mentioned(workers: int, gpus: int | None, shared: bool) -> None:
    note = sharing_note({"id": "gw0", "workers": workers, "gpus": gpus})
    assert (note is not None) is shared
    assert note is None or note.startswith(f"{workers} workers share {gpus} GPUs, ")
    assert sharing_note(None) is None


SIMULATED_GPUS = """
pytest_plugins = ["evalsuite.plugin"]

def pytest_collection_finish(session):
    import sys
    if not hasattr(session.config, "workerinput"):
        return
    assert "torch" not in sys.modules
    import dataclasses
    import torch
    from evalsuite import capability
    from evalsuite.loading.ladder import resolve_device
    from evalsuite.loading.report import StepsDown
    from evalsuite.pool import ModelPool

    current = [0]
    torch.cuda.device_count = lambda: 2
    torch.cuda.current_device = lambda: current[0]
    torch.cuda.set_device = lambda index: current.__setitem__(0, index)
    get = ModelPool.get

    def as_if_on_a_gpu(self, config):
        loaded = get(self, config)  # no CUDA: on the CPU
        torch.cuda.is_available = lambda: True
        device = resolve_device(config, StepsDown(strict=True))
        torch.cuda.is_available = lambda: False
        loaded.report = dataclasses.replace(loaded.report, got={**loaded.report.got, "device": device})
        return loaded

    ModelPool.get = as_if_on_a_gpu
"""


def test_each_worker_runs_on_a_gpu_of_its_own_and_its_records_say_so(
    run_suite: RunSuite, project: pytest.Pytester
) -> None:
    project.makeconftest(SIMULATED_GPUS)
    options = ("-n2", "--dist=each", "--benchmark-disable", "--results=out", "--strategy=padded", "--device=auto")
    run_suite(*options).assert_outcomes(passed=2)
    summaries = [json.loads(path.read_text()) for path in project.path.glob("out/*/summary.json")]
    cases = [case for summary in summaries for case in summary["cases"].values()]
    assert {case["worker"]["id"]: case["load_report"]["got"]["device"] for case in cases} == {
        "gw0": "cuda:0",
        "gw1": "cuda:1",
    }
    assert {(case["worker"]["workers"], case["worker"]["gpus"]) for case in cases} == {(2, 2)}
