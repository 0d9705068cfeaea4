"""Which model answered: twelve hex digits over architecture, weights and tokenizer, read from the files.

Read from files, the digits are the same whatever dtype, attention or device the model is loaded with, and whichever
version of transformers loads it. A weight file of up to 16 MiB is hashed whole. Of a larger one, its size, its header
(names, shapes, dtypes) and 64 evenly spaced blocks of 64 KiB, first and last included: a 64 GB model takes a
second. Training changes every block; an edit that lies between blocks is not seen. The same weights in another
sharding get other digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalsuite.loading.sources import read_json

WHOLE_FILE_BYTES = 16 << 20
BLOCK_BYTES = 64 << 10
BLOCKS = 64
DIGITS = 12

_VOLATILE = {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache", "_attn_implementation"}
"""Configuration keys that say how a model was saved or is run, not what it computes."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja")


def of_files(config_file: Path, weight_files: Iterable[Path], tokenizer_dir: Path) -> str:
    """The fingerprint of a model that is loaded from files."""
    digest = hashlib.sha256(_architecture(read_json(config_file)))
    for file in weight_files:
        _hash_weights(digest, file)
    for name in _TOKENIZER_FILES:
        if (tokenizer_dir / name).is_file():
            digest.update(name.encode() + b"\0" + (tokenizer_dir / name).read_bytes())
    return digest.hexdigest()[:DIGITS]


def of_facts(facts: Mapping[str, Any]) -> str:
    """The fingerprint of a model that facts determine: a shape, its seed, and where its numbers are drawn."""
    return hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode()).hexdigest()[:DIGITS]


def _architecture(config: Mapping[str, Any]) -> bytes:
    kept = {key: value for key, value in config.items() if key not in _VOLATILE}
    return json.dumps(kept, sort_keys=True).encode()


def _hash_weights(digest: hashlib._Hash, file: Path) -> None:
    size = file.stat().st_size
    digest.update(f"\0{size}\0".encode())
    with file.open("rb") as stream:
        if size <= WHOLE_FILE_BYTES:
            digest.update(stream.read())
            return
        header_end = 8 + int.from_bytes(stream.read(8), "little") if file.suffix == ".safetensors" else 0
        stream.seek(0)
        digest.update(stream.read(min(header_end, size)))
        last = size - BLOCK_BYTES
        for block in range(BLOCKS):
            stream.seek(header_end + (last - header_end) * block // (BLOCKS - 1))
            digest.update(stream.read(BLOCK_BYTES))
