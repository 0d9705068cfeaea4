"""Where a model's files are, and whether they are all there: checked before any weight is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.config import NANO_MODEL, SHAPE_PREFIX, InferenceConfig
from evalsuite.errors import ModelFilesError, first_line, some
from evalsuite.shapes import get_shape

SAFETENSORS = "model.safetensors"
SAFETENSORS_INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
PICKLED = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_HUB_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The directories that the parts of one model come from."""

    config_dir: Path
    weights_dir: Path
    tokenizer_dir: Path
    generation_dir: Path
    """Holds generation_config.json, with the ids that end a text; training checkpoints often leave it out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The weight files of a directory, found whole."""

    files: tuple[Path, ...]
    elements: int
    """Stored numbers; 0 for pickled files, which are not read ahead."""
    file_bytes: int

    def bytes_in(self, itemsize: int) -> int:
        """Memory in bytes once loaded with `itemsize` bytes a number."""
        return self.elements * itemsize if self.elements else self.file_bytes


def find_source(config: InferenceConfig) -> Source:
    """Resolve model and checkpoint to directories, downloading a hub model that is not cached.

    Raises:
        ModelFilesError: no such directory, no such hub model, or the hub cannot be reached.
    """
    base = _model_dir(config.model)
    if config.checkpoint is None:
        return Source(config_dir=base, weights_dir=base, tokenizer_dir=base, generation_dir=base)
    checkpoint = Path(config.checkpoint).expanduser()
    if not checkpoint.is_dir():
        raise ModelFilesError(
            f"checkpoint: no such directory: {checkpoint}. Give the directory that holds {SAFETENSORS} or its shards"
        )
    return Source(
        config_dir=checkpoint if (checkpoint / CONFIG).is_file() else base,
        weights_dir=checkpoint,
        tokenizer_dir=checkpoint if _holds_tokenizer(checkpoint) else base,
        generation_dir=checkpoint if (checkpoint / GENERATION_CONFIG).is_file() else base,
    )


def refuse_absent(config: InferenceConfig) -> None:
    """Look for a model as far as its configuration tells: nothing is loaded, and of a hub model a few kB are fetched.

    Raises:
        ModelFilesError: as `find_source`, or there is no config.json.
        ConfigError: no such shape.
    """
    if config.model.startswith(SHAPE_PREFIX):
        get_shape(config.model)
        return
    if config.model == NANO_MODEL:
        return
    if why_no_model(config.model) is None and not Path(config.model).expanduser().is_dir():
        from huggingface_hub import hf_hub_download

        with _hub_errors(config.model):
            hf_hub_download(config.model, CONFIG)
        return
    read_json(find_source(config).config_dir / CONFIG)


def _model_dir(model: str) -> Path:
    if model == NANO_MODEL:
        return nano_dir()
    local = Path(model).expanduser()
    if local.is_dir():
        return local
    if (reason := why_no_model(model)) is not None:
        raise ModelFilesError(f"model: {reason}")
    return _hub_dir(model)


def why_no_model(model: str) -> str | None:
    """Why `model` cannot be one, as far as a look at the disk tells; None for what is there, and for any hub name."""
    local = Path(model).expanduser()
    if local.is_dir():
        return None
    if local.is_file():
        return f"{model} is a file; give the directory that holds config.json and the weights"
    if model.startswith((".", "/", "~")) or model.count("/") > 1 or "\\" in model:
        return f"no such directory: {model}. Check the path, or give a hub name such as Qwen/Qwen3-4B"
    return None


def nano_dir() -> Path:
    """The embedded model's directory."""
    directory = Path(__file__).resolve().parent.parent / "nano" / "model"
    if not directory.is_dir():
        raise ModelFilesError(
            f"the embedded model is missing: {directory}. Install evalsuite again, with its package data"
        )
    return directory


def _hub_dir(name: str) -> Path:
    """The local snapshot of hub model `name`; files in subfolders, and weights in a second format, are not fetched."""
    from huggingface_hub import snapshot_download

    def snapshot(*patterns: str) -> Path:
        return Path(snapshot_download(name, allow_patterns=list(patterns), ignore_patterns=["*/*", "consolidated*"]))

    with _hub_errors(name):
        directory = snapshot(*_HUB_FILES)
        if not any(directory.glob("*.safetensors")):
            directory = snapshot(*_HUB_FILES, "*.bin")
    return directory


@contextmanager
def _hub_errors(name: str) -> Iterator[None]:
    """Within, what the hub raises about model `name` becomes a ModelFilesError that says what to do."""
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        yield
    except HFValidationError as error:
        raise ModelFilesError(f"model: {name!r} is neither a directory here nor a valid hub name: {error}") from error
    except LocalEntryNotFoundError as error:  # neither the hub nor the cache gave them
        raise ModelFilesError(
            f"model: {name!r} is no directory here, {_why_not_got(error)}. Copy the model here and give its directory, "
            "or fetch it on a machine with a network, copy that machine's HF_HOME and set HF_HUB_OFFLINE=1 here"
        ) from error
    except OSError as error:  # every answer of the hub derives from it
        raise ModelFilesError(
            f"model: {name!r} is no directory here, and the hub gave no such model: {first_line(error)}. "
            "Check the spelling, log in for a gated model, or copy the model here and give its directory"
        ) from error


def _why_not_got(error: Exception) -> str:
    """What kept the hub's client from a model that it has not in its cache."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return "nor in the hub's cache, and HF_HUB_OFFLINE is set"
    cause = error.__cause__ or error
    answered = "did not give it" if isinstance(cause, HfHubHTTPError) else "was not reached"
    return f"and the hub {answered}: {first_line(cause)}"


def _holds_tokenizer(directory: Path) -> bool:
    return any((directory / name).is_file() for name in TOKENIZER_FILES)


def find_weights(directory: Path) -> Weights:
    """The weight files of `directory`, each shard present and of the length that its header promises.

    Raises:
        ModelFilesError: no weights, a missing shard, or a file cut short; names the file and both lengths.
    """
    if (directory / SAFETENSORS).is_file():
        files = [directory / SAFETENSORS]
    elif (directory / SAFETENSORS_INDEX).is_file():
        files = _shards(directory / SAFETENSORS_INDEX)
    elif (directory / PICKLED).is_file():
        files = [directory / PICKLED]
    elif (directory / PICKLED_INDEX).is_file():
        files = _shards(directory / PICKLED_INDEX)
    else:
        raise ModelFilesError(
            f"{directory}: expected {SAFETENSORS}, {SAFETENSORS_INDEX} or {PICKLED}, found none. "
            "Download or copy the weights again"
        )
    elements = sum(_checked_elements(file) for file in files if file.suffix == ".safetensors")
    return Weights(files=tuple(files), elements=elements, file_bytes=sum(file.stat().st_size for file in files))


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFilesError(f"{index}: expected an object `weight_map` of tensor names to files, found none")
    files = [index.parent / name for name in sorted(set(weight_map.values()))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelFilesError(
            f"{index}: {len(missing)} of {len(files)} shards are missing: {some(missing)}. Download or copy them again"
        )
    return files


def _checked_elements(file: Path) -> int:
    """Numbers stored in a safetensors file: 8 bytes little-endian header length, a JSON header, then the data."""
    size = file.stat().st_size
    header = read_header(file)
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    data_bytes = max((entry["data_offsets"][1] for entry in tensors), default=0)
    with file.open("rb") as stream:
        (header_bytes,) = struct.unpack("<Q", stream.read(8))
    expected = 8 + header_bytes + data_bytes
    if size != expected:
        raise ModelFilesError(
            f"{file}: checkpoint truncated or damaged: its header promises {expected:,} bytes, the file has {size:,}. "
            "Download or copy it again"
        )
    return sum(_product(entry["shape"]) for entry in tensors)


def read_header(file: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file; ModelFilesError if the file ends before it does."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else None
        if length is None or 8 + length > size:
            raise ModelFilesError(
                f"{file}: checkpoint truncated or damaged: the file has {size:,} bytes, too few for its header. "
                "Download or copy it again"
            )
        try:
            header: dict[str, Any] = json.loads(stream.read(length))
        except ValueError as error:
            raise ModelFilesError(f"{file}: not a safetensors file: its header is not JSON ({error})") from error
    return header


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object; ModelFilesError that names the file if it is missing or something else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelFilesError(f"{file}: no such file, and a model directory needs it") from error
    except ValueError as error:
        raise ModelFilesError(f"{file}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelFilesError(f"{file}: expected a JSON object, found {type(value).__name__}")
    return value


def _product(shape: list[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
