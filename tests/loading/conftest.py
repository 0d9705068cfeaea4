"""Tiny models saved as real ones are: once a session, copied by tests that damage them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from evalsuite.loading.report import log_once
from tests.tiny import make_model, tiny_tokenizer

SaveModel = Callable[..., Path]
CompileWith = Callable[[Any], None]


@pytest.fixture(autouse=True)
def _each_test_logs_anew() -> None:
    log_once.cache_clear()


@pytest.fixture
def compile_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[CompileWith]:
    """What is compiled from now on goes to this backend, which knows no options of torch's own compiler."""
    real = torch.compile

    def use(backend: Any) -> None:
        def compile_(function: Any, options: object = None, **rest: Any) -> Any:
            return real(function, backend=backend, **rest)

        monkeypatch.setattr(torch, "compile", compile_)
        torch._dynamo.reset()

    yield use
    torch._dynamo.reset()


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> SaveModel:
    """(architecture, shard_size, seed) -> a directory with config, weights and tokenizer. Do not change it."""
    made: dict[tuple[str, str, int], Path] = {}

    def save(architecture: str = "qwen3", *, shard_size: str = "1GB", seed: int = 0) -> Path:
        key = (architecture, shard_size, seed)
        if key not in made:
            directory = tmp_path_factory.mktemp(architecture)
            make_model(architecture, seed=seed).save_pretrained(directory, max_shard_size=shard_size)
            tiny_tokenizer().save_pretrained(directory)
            made[key] = directory
        return made[key]

    return save


@pytest.fixture
def own_model(save_model: SaveModel, tmp_path: Path) -> SaveModel:
    """As `save_model`, but a copy that the test may damage."""

    def copy(architecture: str = "qwen3", *, shard_size: str = "1GB", seed: int = 0) -> Path:
        target = tmp_path / f"{architecture}-{seed}"
        shutil.copytree(save_model(architecture, shard_size=shard_size, seed=seed), target)
        return target

    return copy
