"""Errors that a user can act on. Each message says what was expected, what came, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class EvalsuiteError(Exception):
    """Base of every error that evalsuite raises on purpose."""


class ConfigError(EvalsuiteError, ValueError):
    """An option or combination of options that cannot be honoured."""


class DataError(EvalsuiteError, ValueError):
    """Evaluation data that is missing, malformed, or of another schema. Names the file, row and field."""


class ModelLoadError(EvalsuiteError, RuntimeError):
    """A model or tokenizer that could not be loaded."""


class JudgeError(EvalsuiteError, RuntimeError):
    """A judge that cannot be asked, or whose grades are missing beyond the set share."""


class ModelFilesError(ModelLoadError):
    """Files of a model that are missing or wrong, whatever dtype, attention or device it is wanted in."""


class ResultsError(EvalsuiteError, RuntimeError):
    """Results that cannot be written: a full disk, or a folder that another run holds. What was written is kept."""


class RequestError(EvalsuiteError, ValueError):
    """A request that no strategy can execute, such as an empty continuation."""


def anew(error: EvalsuiteError) -> EvalsuiteError:
    """The same error without its traceback, to be kept: the frames of a traceback hold models."""
    return type(error)(*error.args)


def first_line(error: BaseException) -> str:
    """An error's first line, at most 300 characters and without its full stop, to be quoted in another."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300].rstrip(".")


def some(names: Sequence[str], most: int = 4) -> str:
    """The first few of `names`, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")
