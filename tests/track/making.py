"""Checkpoints of nano, each worse than the last, and a stand-in for pytest that evaluates in this process."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.evaluation import answer, grade, prepare
from evalsuite.harness.options import sample_folder
from evalsuite.loading import load
from evalsuite.loading.sources import nano_dir
from evalsuite.tasks import DataSource, Prompting, get_task, limit_examples
from evalsuite.tracking.evaluating import RUNS, Evaluated

QUESTIONS = 40


@lru_cache
def nano_weights() -> dict[str, torch.Tensor]:
    return load_file(nano_dir() / "model.safetensors")


def write_checkpoint(folder: Path, name: str, noise: float, *, whole: bool = False) -> Path:
    """nano's matrices with noise of so many times their spread.

    Args:
        whole: with config and tokenizer, as Trainer saves it; else weights alone.
    """
    directory = folder / name
    if whole:
        shutil.copytree(nano_dir(), directory)
    directory.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    weights = {
        key: tensor + (noise * tensor.float().std() * torch.randn(tensor.shape, generator=generator)).to(tensor.dtype)
        if tensor.ndim > 1
        else tensor
        for key, tensor in nano_weights().items()
    }
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def evaluate_here(calls: list[str]) -> Any:
    """In place of `evaluating.evaluate`: nano's MMLU through the same loader, strategy and grading."""

    made = itertools.count(1)

    def evaluate(name: str, arguments: Sequence[str], out: Path) -> Evaluated:
        given = dict(zip(arguments[::2], arguments[1::2], strict=False))
        config = InferenceConfig(
            model=given["--model"], checkpoint=given.get("--checkpoint"), dtype="float32", device="cpu"
        )
        calls.append(name)
        task = get_task("mmlu")
        data = limit_examples(task.read(DataSource(kind="directory", path=str(sample_folder()))), QUESTIONS)
        with TransformersEngine(load(config), ExecutionOptions()) as engine:
            workload = prepare(task, data, engine, Prompting())
            graded = [grade(workload, outcome) for outcome in answer(engine, workload, "padded").values()]
        metrics = [
            {"name": m.name, "value": m.value, "stderr": m.stderr, "count": m.count, "group": m.group}
            for m in task.summarise(graded)
        ]
        return Evaluated(run=write_summary(out / RUNS / str(next(made)), metrics), problem="", seconds=1.0)

    return evaluate


def write_summary(run: Path, metrics: Sequence[dict[str, Any]]) -> Path:
    run.mkdir(parents=True)
    record = {"task": "mmlu", "score": metrics[0], "metrics": list(metrics)}
    (run / "summary.json").write_text(json.dumps({"run": run.name, "cases": {"test_mmlu[padded]": record}}))
    return run
