"""The text of a run's prompts, on disk once for all its cases: a question's line holds only their hash.

    RESULTS/RUN/prompts-mmlu.jsonl.gz      one line a question: id, prompt_hash, prompt, and a choice's continuations

MMLU's 14,042 test questions take 2.7 MB so, and 4.3 MB with five shots (7.7 and 42 MB of text).
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalsuite.errors import ConfigError, DataError
from evalsuite.evaluation import prompt_hash
from evalsuite.types import ChoiceRequest, GenerationRequest

COMPRESSION = 3
"""Of 1 to 9: above it, a little smaller and much slower."""


def prompts_file(run: Path, task: str) -> Path:
    return run / f"prompts-{task}.jsonl.gz"


def keep_prompts(run: Path, task: str, requests: Sequence[ChoiceRequest | GenerationRequest]) -> None:
    """Write those that the file does not hold yet. It is replaced in one step, so it is always whole.

    Raises:
        ConfigError: the file cannot be written.
    """
    known = read_prompts(run, task)
    found = {prompt_hash(request): request for request in requests}
    new = [_line(hash_, request) for hash_, request in found.items() if hash_ not in known]
    if not new:
        return
    path = prompts_file(run, task)
    try:
        _write(path, [*known.values(), *new])
    except OSError as error:
        raise ConfigError(
            f"{path}: expected room for the prompts of {task}, got {error.strerror or error}; "
            "make room, or choose another folder with --results DIR"
        ) from error


def read_prompts(run: Path, task: str) -> dict[str, Mapping[str, Any]]:
    """The lines by prompt hash; none for a run of before there was such a file.

    Raises:
        DataError: the file is there and is not what `keep_prompts` writes.
    """
    path = prompts_file(run, task)
    if not path.exists():
        return {}
    try:
        with gzip.open(path, "rt", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            lines = [json.loads(text) for text in file]
        return {line["prompt_hash"]: line for line in lines}
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected compressed JSON lines with a prompt_hash each; got {error!r}. Delete the file: "
            "a run that goes on writes it anew"
        ) from error


def _line(hash_: str, request: ChoiceRequest | GenerationRequest) -> dict[str, Any]:
    line: dict[str, Any] = {"id": request.id, "prompt_hash": hash_}
    if isinstance(request, ChoiceRequest):
        return line | {"prompt": request.context, "continuations": list(request.continuations)}
    return line | {"prompt": request.prompt}


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    part = path.with_name(path.name + ".part")
    # No time in the header: the same prompts are the same bytes.
    part.write_bytes(gzip.compress(text.encode("utf-8", "surrogatepass"), COMPRESSION, mtime=0))
    os.replace(part, path)
