"""Reading released files and hub datasets row by row, with errors that say where."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import DataError, first_line
from evalsuite.tasks.base import DataSource

REACH_SECONDS = 10.0
"""How long the hub may take to answer at all."""
_MISSING = object()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One record and where it stands."""

    source: str
    number: int
    """Counted from 1 in records, not lines: quoted cells span lines."""
    values: Mapping[str, Any]

    def error(self, field: str, message: str) -> DataError:
        """A `DataError` that names the source, this row and a field of it."""
        return DataError(f"{self.source}, row {self.number}, field {field!r}: {message}")

    def has(self, field: str) -> bool:
        """Whether there is such a field, null or not. What is absent from one row only was misspelt or lost."""
        return field in self.values

    def text(self, field: str, *, missing: str | None = None, null: str | None = None) -> str:
        """A string field. Raises `DataError` for anything else.

        `missing` stands in where it is absent or null, `null` only where it is null.
        """
        value = self.values.get(field)
        if value is None and missing is not None:
            return missing
        if value is None and null is not None and self.has(field):
            return null
        if not isinstance(value, str):
            raise self.error(field, f"expected text, got {self.got(field)}")
        return value

    def items(self, field: str) -> list[Any]:
        """A list field. Raises `DataError` otherwise."""
        value = self.values.get(field)
        if not isinstance(value, list):
            raise self.error(field, f"expected a list, got {self.got(field)}")
        return value

    def got(self, field: str) -> str:
        """What came in a field, for messages: its value, or that there is none and which there are."""
        value = self.values.get(field, _MISSING)
        return f"no such field (fields: {', '.join(self.values)})" if value is _MISSING else f"{value!r:.80}"


def read_csv(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    """Records of a headerless CSV, every cell as text: `None` and `4` stay what they are.

    The csv module is given the file with `newline=""`, so that quoted cells may span lines, CRLF ends a
    record as LF does, and U+0085 or U+2028 inside a cell end nothing.
    """
    with _open(path, newline="") as file:
        reader = csv.reader(file, strict=True)
        number = 0
        try:
            for cells in reader:
                if not cells:
                    continue
                number += 1
                if len(cells) != len(columns):
                    raise DataError(
                        f"{path}, row {number}: expected {len(columns)} fields ({', '.join(columns)}), "
                        f"got {len(cells)}: {cells!r:.200}; the file has no header, and a cell with a comma is quoted"
                    )
                yield Row(source=str(path), number=number, values=dict(zip(columns, cells, strict=True)))
        except csv.Error as error:
            raise DataError(
                f"{path}, row {number + 1}: not valid CSV: {error}; a quote within a quoted cell is doubled"
            ) from error
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from error


def read_jsonl(path: Path) -> Iterator[Row]:
    """Objects of a JSON Lines file. Only LF ends a line: U+2028 and U+0085 may stand raw inside a string."""
    with _open(path, newline="\n") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield Row(source=str(path), number=number, values=_json_object(path, number, line))
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from error


def read_json(path: Path) -> Any:
    """A JSON document. Raises `DataError` with the place of a syntax error."""
    with _open(path, newline="") as file:
        try:
            return json.load(file)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}") from error
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from error


def read_hub(source: DataSource, repository: str, split: str, config: str | None = None) -> tuple[str, Iterator[Row]]:
    """Rows of a hub dataset's split through `datasets`, and the name it was read by, with the revision that was got.

    With `source.path` the dataset is loaded from `PATH/repository` on disk, in the hub's own layout.
    Raises `DataError` when it cannot be had: no network, no such split or configuration.
    """
    from datasets import load_dataset

    name = str(Path(source.path) / repository) if source.path else repository
    if source.path and not Path(name).is_dir():
        raise DataError(f"{name}: no such directory; expected the hub dataset {repository} there, in the hub's layout")
    unreached = None if source.path else why_unreached()
    try:
        with offline() if unreached else nullcontext():
            table = load_dataset(name, config, split=split)
    except Exception as error:  # datasets raises OSError, ValueError and its own kinds for a missing set
        wanted = f"{repository}, configuration {config or 'default'}, split {split}"
        why = f"{type(error).__name__}: {error}"
        if unreached and isinstance(error, OSError):
            why = f"it is not cached here, and the hub was not reached: {unreached}"
        raise DataError(
            f"{name}: could not read {wanted}: {why}. Pass --data DIR (in Python data=DIR) with the released files, or "
            "--data sample (data='sample'); or fetch it on a machine with a network, copy that machine's HF_HOME and "
            "set HF_HUB_OFFLINE=1 here"
        ) from error
    label = f"{name}{hub_revision(table)} ({split})"
    return label, (Row(source=label, number=n, values=values) for n, values in enumerate(table, start=1))


def why_unreached() -> str | None:
    """Why the hub does not answer, found by one short request; None where it does, or where HF_HUB_OFFLINE is set.

    `datasets` itself tries each file for half a minute, with a warning for each try, before it looks into its cache.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return None
    try:
        get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)
    except Exception as error:  # of whichever HTTP library this version of the hub's client is made with
        return first_line(error)
    return None


@contextmanager
def offline() -> Iterator[None]:
    """Within, `datasets` and the hub's client look into their caches only, as if HF_HUB_OFFLINE had been set."""
    import datasets
    from huggingface_hub import constants

    holders: tuple[Any, ...] = (datasets.config, constants)
    before = [holder.HF_HUB_OFFLINE for holder in holders]
    try:
        for holder in holders:
            holder.HF_HUB_OFFLINE = True
        yield
    finally:
        for holder, value in zip(holders, before, strict=True):
            holder.HF_HUB_OFFLINE = value


def hub_revision(table: Any) -> str:
    """`@` and the commit of the hub's repository that a table was made from; empty where there is none.

    `datasets` keeps what it made of a hub repository in a folder that is named by the commit.
    """
    parts = [part for file in getattr(table, "cache_files", ()) for part in Path(str(file.get("filename"))).parts]
    return next((f"@{part}" for part in parts if re.fullmatch(r"[0-9a-f]{40}", part)), "")


def existing_file(folder: Path, names: tuple[str, ...], task: str) -> Path:
    """The first of `names` that exists in `folder`. Raises `DataError` listing what was looked for."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    there = ", ".join(sorted(p.name for p in folder.iterdir())[:10]) if folder.is_dir() else "no such directory"
    raise DataError(
        f"{task}: expected {' or '.join(names)} in {folder}; found: {there or 'nothing'}; "
        "check --data and --split (in Python data= and split=)"
    )


def distinct_ids(ids: list[str]) -> list[str]:
    """The same ids, a repeated one marked `#2`, `#3`, ... by occurrence."""
    seen: dict[str, int] = {}
    result = []
    for identifier in ids:
        seen[identifier] = seen.get(identifier, 0) + 1
        result.append(identifier if seen[identifier] == 1 else f"{identifier}#{seen[identifier]}")
    return result


def _open(path: Path, newline: str) -> Any:
    try:
        return path.open(encoding="utf-8-sig", newline=newline)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _json_object(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, row {number}: not valid JSON: {error.msg} at column {error.colno}; expected one object a line"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{path}, row {number}: expected a JSON object, got {type(value).__name__}")
    return value


def _not_utf8(path: Path, error: UnicodeDecodeError) -> DataError:
    return DataError(f"{path}: expected UTF-8 text: {error.reason} at byte {error.start}; convert the file to UTF-8")
