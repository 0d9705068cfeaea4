"""A batch's results as JSON values and back, bit for bit.

    ["c", id, [log-probability, ...]]                            ChoiceScores
    ["g", id, text, [token, ...], FLOATS, finish reason]         Generation
    ["t", id, FLOATS, [[[token, ...], FLOATS], ...]]             TeacherForced: along the answer; the best at each token
    ["t", ..., ..., ..., [[[token, ...], FLOATS], ...], bool]    of drawn tokens: also their reach, and if filtered
    ["d", [[choice, log-probability], ...]]                      choices of one row, with
    ["n", number, [[choice, log-probability], ...]]              the number of its request
    ["w", steps, [token, ...], FLOATS]                           what rows wrote: step by step, row by row

FLOATS is one string: `f` or `d`, then base64 of little-endian numbers of 4 or 8 bytes. Log-probabilities of tokens
come from fp32, so 4 bytes hold them exactly, at a quarter of the digits that JSON would take.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evalsuite.json_values import finite
from evalsuite.types import ChoiceScores, Generation


def encode(result: Any) -> list[Any]:
    """One result of a batch. Raises `TypeError` for a kind that is not listed above."""
    from evalsuite.generation._schedule import Written
    from evalsuite.generation.teacher_forcing import TeacherForced

    if isinstance(result, ChoiceScores):
        return ["c", result.id, finite(result.logprobs)]
    if isinstance(result, Generation):
        logprobs = pack_floats(result.logprobs)
        return ["g", result.id, result.text, list(result.token_ids), logprobs, result.finish_reason]
    if isinstance(result, TeacherForced):
        reach = [] if result.reach is None else [_packed_rows(result.reach), result.filtered]
        return ["t", result.id, pack_floats(result.logprobs), _packed_rows(result.best), *reach]
    if isinstance(result, Written):
        floats = "f" + base64.b64encode(result.logprobs.astype("<f4").tobytes()).decode("ascii")
        return ["w", len(result.token_ids), result.token_ids.ravel().tolist(), floats]
    if isinstance(result, Mapping):
        return ["d", _pairs(result)]
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
        return ["n", result[0], _pairs(result[1])]
    raise TypeError(f"expected a result of a strategy, got {type(result).__name__}")


def decode(value: Sequence[Any]) -> Any:
    """The result that `encode` made `value` of. Raises `ValueError` for anything else."""
    from evalsuite.generation._schedule import Written
    from evalsuite.generation.teacher_forcing import TeacherForced

    match value:
        case ["c", id_, logprobs]:
            return ChoiceScores(id=id_, logprobs=tuple(map(float, logprobs)))
        case ["g", id_, text, tokens, logprobs, reason]:
            return Generation(
                id=id_, text=text, token_ids=tuple(tokens), logprobs=unpack_floats(logprobs), finish_reason=reason
            )
        case ["t", id_, logprobs, best, *reach]:
            return TeacherForced(
                id=id_,
                logprobs=unpack_floats(logprobs),
                best=_unpacked_rows(best),
                reach=_unpacked_rows(reach[0]) if reach else None,
                filtered=reach[1] if reach else True,
            )
        case ["w", steps, tokens, logprobs]:
            ids = np.array(tokens, dtype=np.int32).reshape(steps, -1)
            floats = np.array(unpack_floats(logprobs), dtype=np.float32).reshape(steps, -1)
            return Written(lambda: (ids, floats))
        case ["d", pairs]:
            return {choice: float(logprob) for choice, logprob in pairs}
        case ["n", number, pairs]:
            return number, {choice: float(logprob) for choice, logprob in pairs}
    raise ValueError(f"expected a result as it was kept, got {str(value)[:80]}")


def pack_floats(values: Sequence[float]) -> str:
    """In 4 bytes each where that loses nothing, else in 8."""
    short = struct.pack(f"<{len(values)}f", *values) if all(map(_fits_fp32, values)) else None
    packed = struct.pack(f"<{len(values)}d", *values) if short is None else short
    return ("d" if short is None else "f") + base64.b64encode(packed).decode("ascii")


def unpack_floats(text: str) -> tuple[float, ...]:
    packed = base64.b64decode(text[1:], validate=True)
    size = {"f": 4, "d": 8}[text[0]]
    return struct.unpack(f"<{len(packed) // size}{text[0]}", packed)


def _fits_fp32(value: float) -> bool:
    try:
        there_and_back: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return False
    return there_and_back == value or value != value


def _packed_rows(rows: Sequence[Mapping[int, float]]) -> list[Any]:
    return [[list(row), pack_floats(list(row.values()))] for row in rows]


def _unpacked_rows(rows: Sequence[Any]) -> tuple[dict[int, float], ...]:
    return tuple(dict(zip(tokens, unpack_floats(floats), strict=True)) for tokens, floats in rows)


def _pairs(row: Mapping[int, float]) -> list[list[Any]]:
    return [[choice, finite(logprob)] for choice, logprob in row.items()]
