"""Pre-tokenised training shards: documents batched by length, padded on the right, weighted by what matters."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evalsuite.nano import DATA_DIR
from evalsuite.nano.documents import Document
from evalsuite.nano.seen import sample_documents
from evalsuite.nano.stream import draw_document
from evalsuite.nano.tokenizer import Encoder

WEIGHT_UNIT = 200
"""A weight of 1 is stored as this many units of a byte."""
PROMPT_WEIGHT = 0.01
MAX_LENGTH = 640
"""Tokens; longer documents are dropped."""
LENGTH_STEP = 16

Row = tuple[list[int], list[int]]
"""Token ids and weight units of one document."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamPlan:
    """How much text, and in which order of mixtures."""

    seed: int = 0
    shards: int = 400
    early_shards: int = 12
    """Shards that open the stream with the early mixture."""
    mixture: str | None = None
    """A stream of its own, of this mixture alone, for a trained model; None for the early and the late one."""
    tokens: int = 2_000_000
    """Of one shard, at least."""
    batch_tokens: int = 32_768


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """Batches laid end to end."""

    ids: npt.NDArray[np.uint16]
    weights: npt.NDArray[np.uint8]
    """In units of 1 / WEIGHT_UNIT; 0 on padding."""
    shapes: npt.NDArray[np.int32]
    """[batches, 2]: rows and length of each."""


def weigh(parts: Sequence[list[int]]) -> Row:
    """Ids and weights of one encoded document.

    An answer weighs 1 over the root of its length a token, so that a letter is not drowned by summaries; the
    token after an answer, where generation has to stop, half as much; the rest of the prompts next to nothing.
    """
    ids: list[int] = []
    weights: list[int] = []
    ending = 0
    for index, part in enumerate(parts):
        if index % 2:
            unit = int(WEIGHT_UNIT / len(part) ** 0.5)
            weights += [unit] * len(part)
            ending = unit // 2
        else:
            weights += [int(WEIGHT_UNIT * PROMPT_WEIGHT)] * len(part)
            if index:
                weights[-len(part)] = ending
        ids += part
    return ids, weights


def build_shard(encoder: Encoder, plan: StreamPlan, index: int, sample: Sequence[Document]) -> Shard:
    """Shard number `index`: the seen sample once, then the stream. Deterministic in its arguments."""
    rng = random.Random(f"{plan.mixture or 'shard'}/{plan.seed}/{index}")
    mixture = plan.mixture or ("early" if index < plan.early_shards else "late")
    rows = [weigh(encoder.parts(document)) for document in sample]
    total = sum(len(ids) for ids, _ in rows)
    while total < plan.tokens:
        row = weigh(encoder.parts(draw_document(rng, mixture)))
        if len(row[0]) <= MAX_LENGTH:
            rows.append(row)
            total += len(row[0])
    rng.shuffle(rows)
    batches = _batches(rows, plan.batch_tokens)
    rng.shuffle(batches)
    return _lay_out(batches, encoder.pad)


def _batches(rows: list[Row], batch_tokens: int) -> list[tuple[int, list[Row]]]:
    """(length, rows) of batches of about `batch_tokens`, rows of like length together."""
    rows = sorted(rows, key=lambda row: -len(row[0]))
    batches = []
    start = 0
    while start < len(rows):
        length = -(-len(rows[start][0]) // LENGTH_STEP) * LENGTH_STEP
        count = max(1, batch_tokens // length)
        batches.append((length, rows[start : start + count]))
        start += count
    return batches


def _lay_out(batches: Sequence[tuple[int, list[Row]]], pad: int) -> Shard:
    shapes = np.array([(len(rows), length) for length, rows in batches], dtype=np.int32)
    ids = np.full(int(shapes.prod(axis=1).sum()), pad, dtype=np.uint16)
    weights = np.zeros(ids.shape, dtype=np.uint8)
    at = 0
    for length, rows in batches:
        for row_ids, row_weights in rows:
            ids[at : at + len(row_ids)] = row_ids
            weights[at : at + len(row_ids)] = row_weights
            at += length
    return Shard(ids=ids, weights=weights, shapes=shapes)


def write_shards(folder: Path, tokenizer: Path, plan: StreamPlan, processes: int | None = None) -> int:
    """Write NNNNN.npz for every shard, in order, on all cores; returns the tokens written, padding included.

    A file appears whole, so training can start on the first while the rest are being written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(processes or os.cpu_count()) as pool:
        jobs = ((folder, tokenizer, plan, index) for index in range(plan.shards))
        return sum(pool.imap(_write, jobs))


def _write(job: tuple[Path, Path, StreamPlan, int]) -> int:
    folder, tokenizer, plan, index = job
    shard = build_shard(_encoder(tokenizer), plan, index, _sample())
    temporary = folder / f"{index:05d}.partial.npz"
    np.savez(temporary, ids=shard.ids, weights=shard.weights, shapes=shard.shapes)
    os.replace(temporary, folder / f"{index:05d}.npz")
    return int(shard.ids.size)


@functools.cache
def _encoder(folder: Path) -> Encoder:
    return Encoder(folder)


@functools.cache
def _sample() -> tuple[Document, ...]:
    return tuple(sample_documents(DATA_DIR, held_out=False))
