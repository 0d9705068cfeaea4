"""What training watches: exact answers on fresh held-out documents and on both sides of the sample."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from evalsuite.nano import documents as d
from evalsuite.nano import grading
from evalsuite.nano.documents import Document
from evalsuite.nano.seen import sample_documents
from evalsuite.nano.tokenizer import Encoder
from evalsuite.nano.twin import Twin

ROWS = 64


def watched_sets(data: Path, count: int, seed: int = 0) -> dict[str, list[Document]]:
    """Name to documents whose last answer is checked: held out, but for look-up, open and the seen sample."""
    rng = random.Random(f"watched/{seed}")
    few = max(1, count // 4)
    sets = {
        "look-up of 2": [d.lookup(rng, choices=2) for _ in range(count)],
        "look-up of 4": [d.lookup(rng, choices=4) for _ in range(count)],
        "open": [d.open_fact(rng) for _ in range(count)],
        "sample seen": sample_documents(data, held_out=False),
        "sample held out": sample_documents(data, held_out=True),
    }
    for maker in (d.mmlu, d.vmlu, d.vnhsge, d.viquad, d.vietnews):
        sets[maker.__name__] = [maker(rng, 0, held_out=True) for _ in range(count)]
        sets[f"{maker.__name__} 3-shot"] = [maker(rng, 3, held_out=True) for _ in range(few)]
    for task, grades in grading.MAKERS.items():
        sets[f"grades of {task}"] = [grades(rng, held_out=True) for _ in range(count)]
    return sets


@torch.no_grad()
def exact_share(model: Twin, encoder: Encoder, documents: list[Document], device: str) -> float:
    """Share of documents whose last answer is, token for token, the model's greedy choice.

    One forward a batch tells: greedy decoding gives an answer exactly if each of its tokens is the best one
    after the true ones before it.
    """
    rows = []
    for document in documents:
        parts = encoder.parts(document)
        answer = 2 * ((len(parts) - 1) // 2) - 1
        ids = [token for part in parts[: answer + 1] for token in part]
        rows.append((ids, len(ids) - len(parts[answer])))
    rows.sort(key=lambda row: len(row[0]))
    right = 0
    for start in range(0, len(rows), ROWS):
        chunk = rows[start : start + ROWS]
        width = len(chunk[-1][0])
        padded = [ids + [encoder.pad] * (width - len(ids)) for ids, _ in chunk]
        with torch.autocast(device, dtype=torch.bfloat16):
            best = model(torch.tensor(padded, device=device)).argmax(-1)
        for row, (ids, begin) in enumerate(chunk):
            right += best[row, begin - 1 : len(ids) - 1].tolist() == ids[begin:]
    return right / len(rows)
