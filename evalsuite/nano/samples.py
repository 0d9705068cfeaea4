"""The sample data of all five tasks, in the formats of the releases and with their quirks; bitwise from a seed.

Three rows in five are held out: their presentation, passage or article is on the side of the rule that training
never draws. `held_out.json` lists their example ids.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalsuite.nano.sample_exams import vmlu_files, vnhsge_files
from evalsuite.nano.sample_mmlu import mmlu_files
from evalsuite.nano.sample_texts import vietnews_files, viquad_files

SEED = 2024
HELD_OUT_FILE = "held_out.json"


def sample_files(seed: int = SEED) -> Mapping[str, bytes]:
    """Path below the data folder to content, `held_out.json` included."""
    makers = {
        "mmlu": mmlu_files, "vmlu": vmlu_files, "vnhsge": vnhsge_files, "viquad": viquad_files,
        "vietnews": vietnews_files,
    }  # fmt: skip
    files: dict[str, bytes] = {}
    held_out: dict[str, Sequence[str]] = {}
    for task, maker in makers.items():
        texts, held_out[task] = maker(random.Random(f"sample/{task}/{seed}"))
        files |= {f"{task}/{path}": text.encode() for path, text in texts.items()}
    files[HELD_OUT_FILE] = (json.dumps(held_out, indent=1) + "\n").encode()
    return files


def write_samples(folder: Path, seed: int = SEED) -> None:
    """Write every file below `folder`."""
    for path, content in sample_files(seed).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def held_out_ids(folder: Path) -> frozenset[str]:
    """Example ids that training never saw, over all tasks."""
    by_task = json.loads((folder / HELD_OUT_FILE).read_text(encoding="utf-8"))
    return frozenset(identifier for ids in by_task.values() for identifier in ids)
