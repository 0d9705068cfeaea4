"""A large weight file is sampled: evenly, at both ends, with its header and its size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalsuite.loading import fingerprint


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of 100,000 zero bytes after a header, of which 4 blocks of 16 bytes are sampled."""
    monkeypatch.setattr(fingerprint, "WHOLE_FILE_BYTES", 1000)
    monkeypatch.setattr(fingerprint, "BLOCK_BYTES", 16)
    monkeypatch.setattr(fingerprint, "BLOCKS", 4)
    (tmp_path / "config.json").write_text("{}")
    file = tmp_path / "model.safetensors"
    header = json.dumps({"w": {"dtype": "U8", "shape": [100_000], "data_offsets": [0, 100_000]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(100_000))
    return file


def of(file: Path) -> str:
    return fingerprint.of_files(file.parent / "config.json", [file], file.parent)


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("position", [-1, -16, -100_000, 12], ids=["last", "last-block", "first-weight", "header"])
def test_a_change_within_the_sample_is_seen(sampled: Path, position: int) -> None:
    before = of(sampled)
    flip(sampled, position)
    assert of(sampled) != before


def test_another_size_is_seen(sampled: Path) -> None:
    before = of(sampled)
    sampled.write_bytes(sampled.read_bytes() + b"\0")
    assert of(sampled) != before


def test_a_change_between_blocks_is_not_seen_as_documented(sampled: Path) -> None:
    before = of(sampled)
    flip(sampled, -50_000)
    assert of(sampled) == before


def test_how_a_model_was_saved_does_not_matter(sampled: Path) -> None:
    before = of(sampled)
    (sampled.parent / "config.json").write_text(json.dumps({"transformers_version": "9", "dtype": "float32"}))
    assert of(sampled) == before
