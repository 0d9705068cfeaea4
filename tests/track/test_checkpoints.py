"""What counts as a checkpoint, in which order, and why something does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from evalsuite.errors import ConfigError
from evalsuite.tracking.checkpoints import find_checkpoints


def checkpoint(folder: Path, name: str, inner: str = "") -> Path:
    directory = folder / name / inner
    directory.mkdir(parents=True)
    save_file({"w": torch.zeros(8)}, directory / "model.safetensors")
    return directory


@pytest.mark.parametrize(
    ("name", "step", "unit"),
    [
        ("step_500", 500, "step"),
        ("step-000500", 500, "step"),
        ("ckpt-1000", 1000, "step"),
        ("checkpoint-1500", 1500, "step"),
        ("global_step2000", 2000, "step"),
        ("iter_0000300", 300, "step"),
        ("qwen3-4b-step700", 700, "step"),
        ("2500", 2500, "step"),
        ("epoch=2-step=900", 900, "step"),
        ("epoch_3", 3, "epoch"),
        ("checkpoint-epoch-4", 4, "epoch"),
    ],
)
def test_a_step_is_read_from_the_usual_names(tmp_path: Path, name: str, step: int, unit: str) -> None:
    path = checkpoint(tmp_path, name)
    (found,), skipped = find_checkpoints(tmp_path)
    assert (found.name, found.path, found.step, found.unit, skipped) == (name, path, step, unit, [])


def test_checkpoints_come_in_step_order_and_not_by_name(tmp_path: Path) -> None:
    for name in ("step_1000", "ckpt-200", "step_30"):
        checkpoint(tmp_path, name)
    assert [found.step for found in find_checkpoints(tmp_path)[0]] == [30, 200, 1000]


def test_weights_may_lie_one_folder_down(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "global_step10", "hf")
    assert [found.path for found in find_checkpoints(tmp_path)[0]] == [path]


def test_a_trainers_state_tells_the_step_that_a_name_does_not(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "last")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": 77}))
    assert [found.step for found in find_checkpoints(tmp_path)[0]] == [77]


def test_what_is_not_whole_is_left_aside_with_the_reason(tmp_path: Path) -> None:
    for name in ("step_1", "step_2", "step_4", "step_5", "tmp-checkpoint-6", "best", "ckpt-1"):
        checkpoint(tmp_path, name)
    file = tmp_path / "step_2" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    (tmp_path / "step_3").mkdir()
    (tmp_path / "step_4" / "model.safetensors").unlink()
    torch.save({"w": torch.zeros(8)}, tmp_path / "step_4" / "pytorch_model.bin")
    pickled = tmp_path / "step_4" / "pytorch_model.bin"
    pickled.write_bytes(pickled.read_bytes()[:-9])
    (tmp_path / "step_5" / "model.safetensors").unlink()
    (tmp_path / "step_5" / "model.safetensors.index.json").write_text('{"weight_map": {"w": "a.safetensors"}}')
    (tmp_path / "logs").mkdir()
    (tmp_path / ".git").mkdir()
    for inner in ("a", "b"):
        checkpoint(tmp_path, "step_7", inner)
        checkpoint(tmp_path, "final", inner)
    found, skipped = find_checkpoints(tmp_path)
    reasons = {left.name: left.reason for left in skipped}
    assert [checkpoint.name for checkpoint in found] == ["ckpt-1"]
    assert "the file has" in reasons.pop("step_2")
    assert "cut short" in reasons.pop("step_4")
    assert "1 of 1 shards are missing: a.safetensors" in reasons.pop("step_5")
    assert reasons == {
        "logs": "neither weights in it nor a step in its name",
        "final": "neither weights in it nor a step in its name, but in 2 folders in it (a, b), and one is expected",
        "step_7": "no weights in it, or not yet, but in 2 folders in it (a, b), and one is expected",
        "best": "no step in its name, nor a trainer_state.json that tells it",
        "step_1": "step 1 is ckpt-1 already",
        "step_3": "no weights in it, or not yet",
        "tmp-checkpoint-6": "still being written, by its name",
    }


def test_a_whole_pickled_checkpoint_counts(tmp_path: Path) -> None:
    (tmp_path / "step_1").mkdir()
    torch.save({"w": torch.zeros(8)}, tmp_path / "step_1" / "pytorch_model.bin")
    assert [found.step for found in find_checkpoints(tmp_path)[0]] == [1]


def test_steps_and_epochs_share_no_axis(tmp_path: Path) -> None:
    checkpoint(tmp_path, "epoch_1")
    checkpoint(tmp_path, "step_500")
    with pytest.raises(ConfigError, match=r"step_500 counts in steps and others in epochs"):
        find_checkpoints(tmp_path)


def test_no_folder_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a folder of checkpoints"):
        find_checkpoints(tmp_path / "mmlu")
