"""Which checkpoints a training run has left in a folder, in the order it made them; and what is none, with the reason.

    DIR/step_500/  DIR/ckpt-1000/  DIR/checkpoint-1500/  DIR/global_step2000/hf/  DIR/epoch_3/  DIR/2500/

A checkpoint is a directory with weights, or one whose only subdirectory with weights holds them. Its step stands in its
name, else in the `trainer_state.json` that transformers' Trainer leaves (`global_step`).
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evalsuite.errors import ConfigError, ModelFilesError

LOOKED_FOR = (
    "a folder named step_500, ckpt-1000, checkpoint-1500, global_step2000, iter_300, epoch_3 or 2500, or one with a "
    "trainer_state.json, that has model.safetensors or pytorch_model.bin, or an index of their shards, in it or in one "
    "folder in it"
)
NO_CHECKPOINT = "neither weights in it nor a step in its name"
STEP, EPOCH = "step", "epoch"
_STEP = re.compile(r"(?:step|ckpt|checkpoint|iter(?:ation)?)s?[-_=.]?(\d+)|^(\d+)$", re.IGNORECASE)
_EPOCH = re.compile(r"epochs?[-_=.]?(\d+)", re.IGNORECASE)
_WEIGHT_ENDINGS = (".safetensors", ".bin", ".index.json")
"""Whatever else a file of weights is called."""
_UNFINISHED = re.compile(r"^(\.|tmp)|\.(tmp|part|partial|incomplete)$", re.IGNORECASE)
"""Names that trainers write under until all is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """One to evaluate."""

    name: str
    """Of its directory in the folder."""
    path: Path
    """Where its weights are."""
    step: int
    unit: str
    """`STEP` or `EPOCH`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """What is left aside."""

    name: str
    reason: str


def find_checkpoints(folder: Path) -> tuple[list[Checkpoint], list[Skipped]]:
    """In step order.

    Raises:
        ConfigError: no such folder, or some names count steps and others epochs, which have no common axis.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected a folder of checkpoints, such as {folder}/step_500; give it first")
    found: dict[int, Checkpoint] = {}
    skipped = []
    for directory in sorted(path for path in folder.iterdir() if path.is_dir()):
        counted = _counted(directory)
        weights = _weights_in(directory)
        if counted is None and weights is None:
            if not directory.name.startswith("."):  # logs, samples, what else a training run leaves
                skipped.append(Skipped(name=directory.name, reason=NO_CHECKPOINT + _several(directory)))
            continue
        reason = _why_not(directory, counted, weights)
        if counted is not None and weights is not None and not reason:
            step, unit = counted
            if step in found and found[step].unit == unit:
                reason = f"{unit} {step} is {found[step].name} already"
            elif units := {checkpoint.unit for checkpoint in found.values()} - {unit}:
                raise ConfigError(
                    f"{folder}: expected all names to count steps or all to count epochs; {directory.name} counts in "
                    f"{unit}s and others in {units.pop()}s. Put them into folders of their own"
                )
            else:
                found[step] = Checkpoint(name=directory.name, path=weights, step=step, unit=unit)
        if reason:
            skipped.append(Skipped(name=directory.name, reason=reason))
    return [found[step] for step in sorted(found)], skipped


def _why_not(directory: Path, counted: tuple[int, str] | None, weights: Path | None) -> str:
    """Why this cannot be evaluated, or not yet; empty where it can."""
    if _UNFINISHED.search(directory.name):
        return "still being written, by its name"
    if weights is None:
        return "no weights in it, or not yet" + _several(directory)
    if counted is None:
        return "no step in its name, nor a trainer_state.json that tells it"
    return _damage(weights)


def _counted(directory: Path) -> tuple[int, str] | None:
    """(number, unit). A name that has both, as `epoch=2-step=500`, counts steps."""
    for pattern, unit in ((_STEP, STEP), (_EPOCH, EPOCH)):
        if match := pattern.search(directory.name):
            return int(next(group for group in match.groups() if group)), unit
    try:
        step = json.loads((directory / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (step, STEP) if isinstance(step, int) else None


def _weights_in(directory: Path) -> Path | None:
    """The directory itself, or the only one in it that has weights; None for neither."""
    if _holds_weights(directory):
        return directory
    inner = _inner(directory)
    return inner[0] if len(inner) == 1 else None


def _inner(directory: Path) -> list[Path]:
    return [path for path in sorted(directory.iterdir()) if path.is_dir() and _holds_weights(path)]


def _several(directory: Path) -> str:
    """What a reason goes on with where it is not clear which weights are meant."""
    inner = [path.name for path in _inner(directory)]
    return f", but in {len(inner)} folders in it ({', '.join(inner)}), and one is expected" if inner else ""


def _holds_weights(directory: Path) -> bool:
    # The exact names come with torch, seconds that folders of logs and samples need not cost.
    if not any(path.name.endswith(_WEIGHT_ENDINGS) for path in directory.iterdir()):
        return False
    from evalsuite.loading.sources import PICKLED, PICKLED_INDEX, SAFETENSORS, SAFETENSORS_INDEX

    return any((directory / name).is_file() for name in (SAFETENSORS, SAFETENSORS_INDEX, PICKLED, PICKLED_INDEX))


def _damage(directory: Path) -> str:
    """What shows that files are missing or cut short, as while they are being copied; empty where they are whole."""
    from evalsuite.loading.sources import find_weights

    try:
        files = find_weights(directory).files
    except ModelFilesError as error:
        return str(error)
    return next(_cut_short(file for file in files if file.suffix != ".safetensors"), "")


def _cut_short(files: Iterator[Path]) -> Iterator[str]:
    """torch.save writes a zip file, whose table of contents comes last. (An older format has no such mark.)"""
    for file in files:
        with file.open("rb") as stream:
            start = stream.read(2)
        if not start or (start == b"PK" and not zipfile.is_zipfile(file)):
            yield f"{file}: cut short"
