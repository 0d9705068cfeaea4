"""What answers depend on. Answers are reused where all of it is the same, and nowhere else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
_ONLY_READ_RUNS = ("commands", "compare", "gate", "nano", "report")
"""Folders of evalsuite that no answer comes from: they work on what is on disk, or made what is in the package."""
_NUMBERS = ("torch", "transformers", "tokenizers", "flash-attn", "flash-attn-3", "triton", "cuda", "device_name")
_NUMBERS_OF_CPU = ("torch", "transformers", "tokenizers", "processor", "threads")
"""Entries of `capability.environment()` that a number's last bits may depend on."""
SHOWN_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """Everything that a set of answers depends on, as JSON values."""

    parts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Twelve hex digits."""
        return hashlib.sha256(json.dumps(self.parts, sort_keys=True).encode()).hexdigest()[:12]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not the same, `versions.torch: 2.11.0 -> 2.13.0` and the like, in the order of `now`."""
    old, new = dict(_flat(before)), dict(_flat(now))
    names = [*new, *(name for name in old if name not in new)]
    return [f"{name}: {_shown(old, name)} -> {_shown(new, name)}" for name in names if old.get(name) != new.get(name)]


def versions_that_matter(environment: Mapping[str, str], device: str) -> dict[str, str]:
    """The packages and the hardware that numbers depend on, for a model on `device`."""
    names = _NUMBERS_OF_CPU if device.startswith("cpu") else _NUMBERS
    return {name: environment[name] for name in names if name in environment}


@lru_cache
def code_fingerprint(package: Path = _PACKAGE) -> str:
    """Twelve hex digits over evalsuite's own source, but for what only reads runs."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        relative = file.relative_to(package)
        if relative.parts[0] not in _ONLY_READ_RUNS:
            digest.update(relative.as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _shown(flat: Mapping[str, Any], name: str) -> str:
    text = str(flat[name]) if name in flat else "none"
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
