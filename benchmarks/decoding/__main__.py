"""Time the attention of one layer in one step of decoding by each library that has one, beside this project's kernel.

python -m benchmarks.decoding --model shape:qwen3-4b --workload viquad:1024:64 vietnews:512:64 --out RECORD.json
    --candidates ours "flash-attn 2, block table"        some of them alone

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
from evalsuite.shapes import get_shape


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    reason = device_reason(given.device) or (None if given.device.startswith("cuda") else f"{given.device} is none")
    if reason is not None:
        raise SystemExit(f"python -m benchmarks.decoding: error: needs a CUDA device, and {reason}")
    if (index := torch.device(given.device).index) is not None:
        torch.cuda.set_device(index)
    record: dict[str, Any] = {}
    for record in _measured(given):
        Path(given.out).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print("\n".join(lines(record | {"results": record["results"][-1:]})), flush=True)
    print("\n".join(lines(record)))
    if wrong := [entry["candidate"] for entry in record["results"] if "wrong" in entry]:
        raise SystemExit(f"python -m benchmarks.decoding: error: not attention: {'; '.join(dict.fromkeys(wrong))}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="shape:qwen3-4b", help="whose shape the layer has: shape:NAME")
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--device", default="cuda", help="a CUDA device")
    parser.add_argument(
        "--workload",
        type=_workload,
        nargs="+",
        default=[_workload("viquad:1024:64"), _workload("vietnews:512:64")],
        metavar="NAME:ROWS:WRITTEN",
    )
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=CANDIDATES, metavar="NAME")
    parser.add_argument("--out", required=True, metavar="RECORD.json")
    return parser


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


def _measured(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The record so far, after each result: what was measured outlives what goes wrong later."""
    shape = get_shape(given.model)
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
    for name in given.candidates:
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
