"""Which of the expected cases a run had to bring: a case that nobody selected is not missing, a renamed one is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

DESELECTED = "deselected"
OUTSIDE = "outside of the given paths"
ONLY_FAILED = "left out by --lf or --sw"


@dataclass(kw_only=True, slots=True)
class Collected:
    """The cases (node ids) that a run found. Collection comes before -k, so a case that is in neither is gone."""

    kept: set[str] = field(default_factory=set)
    deselected: set[str] = field(default_factory=set)
    """By -k, -m, --deselect or --strategy."""

    def to_dict(self) -> dict[str, list[str]]:
        """From an xdist worker to its controller."""
        return {"kept": sorted(self.kept), "deselected": sorted(self.deselected)}

    def add(self, other: dict[str, list[str]]) -> None:
        self.kept.update(other["kept"])
        self.deselected.update(other["deselected"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Where a run looked for cases."""

    paths: tuple[str, ...]
    """Files, folders and node ids, relative to the rootdir; `.` for all."""
    ignored: tuple[str, ...] = ()
    """Of --ignore, in the same form."""
    ignored_globs: tuple[str, ...] = ()
    """Of --ignore-glob, as absolute patterns."""
    root: Path = Path()
    only_failed: bool = False
    """--lf and --sw leave out whole files without a word."""

    def covers(self, case: str) -> bool:
        """Whether the run would have collected this case, if it exists."""
        file = case.split("::")[0]
        if any(_within(file, path) for path in self.ignored):
            return False
        if any(fnmatch(str(self.root / file), pattern) for pattern in self.ignored_globs):
            return False
        return any(_within(case, path) for path in self.paths)


def scope_of(
    arguments: Iterable[str],
    *,
    root: Path,
    called_from: Path,
    ignored: Iterable[str] = (),
    ignored_globs: Iterable[str] = (),
    only_failed: bool = False,
) -> Scope:
    """From pytest's arguments, which are relative to the folder that it was called from."""

    def relative(argument: str) -> str:
        path, separator, test = argument.partition("::")
        absolute = (called_from / path).resolve()
        inside = absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else absolute.as_posix()
        return inside + separator + test

    return Scope(
        paths=tuple(map(relative, arguments)),
        ignored=tuple(map(relative, ignored)),
        ignored_globs=tuple(str(called_from / pattern) for pattern in ignored_globs),
        root=root,
        only_failed=only_failed,
    )


def why_not_expected(case: str, collected: Collected, scope: Scope) -> str | None:
    """Why an expected case need not have run; None where it had to."""
    if case in collected.kept:
        return None
    if case in collected.deselected:
        return DESELECTED
    if not scope.covers(case):
        return OUTSIDE
    return ONLY_FAILED if scope.only_failed else None


def renamed_to(case: str, new: Collection[str]) -> str | None:
    """The one new case of the same file, if there is one: it may be the missing one under another name."""
    beside = [other for other in new if other.split("::")[0] == case.split("::")[0]]
    return beside[0] if len(beside) == 1 else None


def narrowing_lines(reasons: Sequence[str], expected: int) -> list[str]:
    """What narrowed the gate, in a line: `narrowed to 4 of 23 expected cases: 19 deselected`."""
    if not reasons:
        return []
    counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))
    return [f"narrowed to {expected - len(reasons)} of {expected} expected cases: {counts}"]


def _within(case: str, path: str) -> bool:
    """Whether a node id or file is `path`, or below that folder, file or test."""
    return path == "." or case == path or case.startswith((f"{path}/", f"{path}::", f"{path}["))
