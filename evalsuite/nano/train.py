"""Train the twin on shards, watching the curves; the schedule follows the clock, so a run ends when its time is up."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from evalsuite.nano.curves import exact_share, watched_sets
from evalsuite.nano.shards import WEIGHT_UNIT
from evalsuite.nano.tokenizer import Encoder
from evalsuite.nano.twin import Twin

UNTIMED_STEPS = 3
"""Compilation happens in these; the clock starts after them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The model's size."""

    hidden: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    inner: int = 384


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainPlan:
    """How to train."""

    shape: Shape = field(default_factory=Shape)
    seconds: float = 240.0
    """Of training, after compilation."""
    learning_rate: float = 3e-3
    warmup_steps: int = 200
    weight_decay: float = 0.1
    accumulate: int = 2
    """Batches in one step."""
    answers_only: bool = False
    """Prompts weigh nothing, and the logits after them are not computed."""
    report_seconds: float = 20.0
    watched: int = 200
    """Documents in each watched set."""
    compile: bool = False
    seed: int = 0


def train(
    plan: TrainPlan,
    *,
    shards: Path,
    count: int,
    tokenizer: Path,
    data: Path,
    out: Path,
    start: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[dict[str, Any]]:
    """Train until the time is up; writes model.pt and curve.json to `out` at every report, and returns the curve.

    From random weights, or from `start` (see `read_start`), which must be of the plan's shape.
    """
    torch.manual_seed(plan.seed)
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    encoder = Encoder(tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    shape = {"vocab": encoder.vocabulary, **asdict(plan.shape)}
    model = Twin(**shape).to(device)
    if start is not None:
        model.load_state_dict(read_start(start))
    optimiser = make_optimiser(model, plan.weight_decay, device)
    loss_of: Callable[[Tensor, Tensor], Tensor] = model.answer_loss if plan.answers_only else model.loss
    if plan.compile:
        loss_of = torch.compile(loss_of, dynamic=True)
    sets = watched_sets(data, plan.watched)
    batches = read_batches(shards, count, device)
    curve: list[dict[str, Any]] = []
    losses: list[Tensor] = []
    begin = last = clock()
    step = tokens = 0
    while not curve or curve[-1]["seconds"] < plan.seconds:
        if step == UNTIMED_STEPS:
            begin = last = clock()
        progress = (clock() - begin) / plan.seconds if step >= UNTIMED_STEPS else 0.0
        set_rate(optimiser, rate(progress, step, plan.learning_rate, plan.warmup_steps))
        for _ in range(plan.accumulate):
            ids, weights = next(batches)
            with torch.autocast(device, dtype=torch.bfloat16):
                loss = loss_of(ids, weights)
            torch.autograd.backward(loss / plan.accumulate)
            losses.append(loss.detach())
            tokens += ids.numel()
        apply_step(model, optimiser)
        step += 1
        now = clock()
        if step > UNTIMED_STEPS and (now - last >= plan.report_seconds or progress >= 1):
            last = now
            scores = {name: round(exact_share(model, encoder, docs, device), 4) for name, docs in sets.items()}
            mean = round(float(torch.stack(losses).mean()), 4)
            losses = []
            point = {"seconds": round(now - begin, 1), "step": step, "tokens": tokens, "loss": mean}
            curve.append(point | scores)
            print(json.dumps(curve[-1]), flush=True)
            save(model, shape, curve, out)
    return curve


def read_start(start: Path) -> dict[str, Tensor]:
    """Weights by name: of a checkpoint that training wrote, or of a folder that `export` wrote."""
    if start.is_dir():
        return load_file(start / "model.safetensors")
    state: dict[str, Tensor] = torch.load(start, weights_only=True, map_location="cpu")["state"]
    return state


def make_optimiser(model: Twin, decay: float, device: str) -> torch.optim.AdamW:
    """AdamW; norms are not decayed."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=device == "cuda")


def rate(progress: float, step: int, peak: float, warmup_steps: int) -> float:
    """Linear warm-up over steps times a cosine from the peak to 1 % of it over progress in [0, 1]."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return peak * min(1.0, (step + 1) / warmup_steps) * (0.01 + 0.99 * cosine)


def set_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = value


def apply_step(model: Twin, optimiser: torch.optim.Optimizer) -> None:
    """Clip the gathered gradients at norm 1, step, and forget them."""
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)


def read_batches(folder: Path, count: int, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """(ids, weights), each [rows, length], in shard order; waits for a shard still being written. Past the last
    shard it starts over in the middle, where the early mixture is long past."""
    index = 0
    while True:
        path = folder / f"{index:05d}.npz"
        while not path.exists():
            time.sleep(0.05)
        with np.load(path) as shard:
            ids = torch.from_numpy(shard["ids"].astype(np.int64)).to(device)
            weights = torch.from_numpy(shard["weights"].astype(np.float32) / WEIGHT_UNIT).to(device)
            shapes = shard["shapes"].tolist()
        at = 0
        for rows, length in shapes:
            end = at + rows * length
            yield ids[at:end].view(rows, length), weights[at:end].view(rows, length)
            at = end
        index = index + 1 if index + 1 < count else count // 2


def save(model: Twin, shape: dict[str, int], curve: list[dict[str, Any]], out: Path) -> None:
    """model.pt and curve.json, each replaced whole."""
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    torch.save({"shape": shape, "state": state}, out / "model.partial")
    (out / "model.partial").replace(out / "model.pt")
    (out / "curve.json").write_text(json.dumps({"shape": shape, "curve": curve}, indent=1) + "\n")
