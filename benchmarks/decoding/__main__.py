"""Time the attention of one layer in one step of decoding by each library that has one, beside this project's kernel.

python -m benchmarks.decoding --model shape:qwen3-4b --workload viquad:1024:64 vietnews:512:64 --out RECORD.json
    --candidates ours "flash-attn 2, block table"        some of them alone; --help lists all

A workload is NAME:ROWS:WRITTEN, with prompts of `benchmarks.peers.prompts` after so many new tokens each, or
even:ROWS:KEYS or even:ROWS:KEYS:SHARING:SHARED, rows of one length of which so many neighbours have their first keys in
common. Each row asks one query, of a model's shape, whose weights are never made; keys and values are random.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoding.candidates import CANDIDATES, OURS
from benchmarks.decoding.reference import TOLERANCES, reference
from benchmarks.decoding.table import lines
from benchmarks.decoding.timing import measure
from benchmarks.decoding.workloads import EVEN, Workload, case_of, sizes
from benchmarks.peers.prompts import WORKLOADS
from evalsuite.capability import device_reason, environment
from evalsuite.config import DTYPES
from evalsuite.errors import ConfigError
from evalsuite.shapes import SHAPES, Shape, get_shape

PROGRAM = "python -m benchmarks.decoding"


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    try:
        shape = _checked(given)
    except ConfigError as problem:
        raise SystemExit(f"{PROGRAM}: error: {problem}") from None
    if (index := torch.device(given.device).index) is not None:
        torch.cuda.set_device(index)
    record: dict[str, Any] = {}
    for record in _measured(given, shape):
        Path(given.out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print("\n".join(lines(record | {"results": record["results"][-1:]})), flush=True)
    print("\n".join(lines(record)))
    if wrong := [entry["candidate"] for entry in record["results"] if "wrong" in entry]:
        raise SystemExit(f"{PROGRAM}: error: not attention: {'; '.join(dict.fromkeys(wrong))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=(__doc__ or "").splitlines()[0],
        epilog="\n  ".join(["candidates, in the order in which they are measured:", *CANDIDATES]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        default="shape:qwen3-4b",
        metavar="shape:NAME",
        help=f"whose shape the layer has, of {', '.join(SHAPES)} (default: %(default)s)",
    )
    parser.add_argument(
        "--dtype", default="bfloat16", choices=DTYPES, help="of queries, keys and values (default: %(default)s)"
    )
    parser.add_argument("--device", default="cuda", help="a CUDA device (default: %(default)s)")
    workloads = ["viquad:1024:64", "vietnews:512:64"]
    parser.add_argument(
        "--workload",
        type=_workload,
        nargs="+",
        default=list(map(_workload, workloads)),
        metavar="NAME:ROWS:WRITTEN",
        help=f"rows of {', '.join(WORKLOADS)} prompts, each after so many new tokens; or {EVEN}:ROWS:KEYS, or "
        f"{EVEN}:ROWS:KEYS:SHARING:SHARED, where so many neighbours have their first keys in common "
        f"(default: {' '.join(workloads)})",
    )
    parser.add_argument(
        "--candidates",
        nargs="+",
        default=list(CANDIDATES),
        choices=CANDIDATES,
        metavar="NAME",
        help=f"some of those listed below, in any order (default: all); the column x ours needs {OURS} among them",
    )
    parser.add_argument("--out", required=True, metavar="RECORD.json", help="written anew after each result")
    return parser


def _checked(given: argparse.Namespace) -> Shape:
    """The layer's shape; ConfigError for whatever is wrong before anything is measured, the user's mistakes first."""
    shape = get_shape(given.model)
    out = Path(given.out)
    if not out.parent.is_dir():
        raise ConfigError(f"--out: there is no folder {out.parent}: make it, or name a file in another")
    if out.is_dir():
        raise ConfigError(f"--out: expected a file to write, got the folder {out}: name a file in it")
    reason = device_reason(given.device) or (None if given.device.startswith("cuda") else f"{given.device} is none")
    if reason is not None:
        raise ConfigError(f"needs a CUDA device, and {reason}")
    return shape


def _workload(text: str) -> Workload:
    name, *counts = text.split(":")
    try:
        numbers = tuple(map(int, counts))
    except ValueError:
        numbers = ()
    if len(numbers) == 2 and name in (*WORKLOADS, EVEN) and min(numbers) > 0:
        return Workload(name=name, rows=numbers[0], tokens=numbers[1])
    if len(numbers) == 4 and name == EVEN and min(numbers) > 0 and numbers[3] < numbers[1]:
        return Workload(name=name, rows=numbers[0], tokens=numbers[1], sharing=numbers[2], shared=numbers[3])
    raise argparse.ArgumentTypeError(
        f"expected {'|'.join(WORKLOADS)}:ROWS:WRITTEN, {EVEN}:ROWS:KEYS or {EVEN}:ROWS:KEYS:SHARING:SHARED with fewer "
        f"shared than keys, got {text!r}"
    )


def _measured(given: argparse.Namespace, shape: Shape) -> Iterator[dict[str, Any]]:
    """The record so far, after each result: what was measured outlives what goes wrong later."""
    arguments = {name: value for name, value in vars(given).items() if name != "out"}
    record: dict[str, Any] = {
        "arguments": arguments | {"workload": list(map(str, given.workload))},
        "versions": environment(),
        "shape": dataclasses.asdict(shape),
        "tolerance": TOLERANCES[given.dtype],
        "cache_bytes": torch.cuda.get_device_properties(given.device).L2_cache_size,
        "workloads": {},
        "results": [],
    }
    cases = {}
    for workload in given.workload:
        case = case_of(workload, shape, dtype=given.dtype, device=given.device)
        cases[str(workload)] = case, reference(case)
        record["workloads"][str(workload)] = sizes(case)
    ours: dict[str, float] = {}
    for name in (name for name in CANDIDATES if name in given.candidates):  # ours, if asked for, before all others
        for text, (case, want) in cases.items():
            entry = measure(CANDIDATES[name], case, want, tolerance=record["tolerance"])
            if name == OURS and "seconds" in entry:
                ours[text] = entry["seconds"]
            if "seconds" in entry and text in ours:
                entry["times_ours"] = entry["seconds"] / ours[text]
            record["results"].append({"candidate": name, "workload": text} | entry)
            yield record


if __name__ == "__main__":
    main()
