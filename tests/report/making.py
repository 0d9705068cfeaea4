"""Run folders for the page, as a run would leave them but without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalsuite.evaluation import prompt_hash
from evalsuite.prompts import keep_prompts
from evalsuite.report.page import render
from evalsuite.report.saved import read_saved, shown
from evalsuite.types import ChoiceRequest

BUILT_WITHIN = 3.0
"""Seconds of a processor, for a large page."""
HOSTILE = (
    '</script><script>window.pwned = 1</script><img src=x onerror="window.pwned = 2">'
    "<!-- ]]> &lt;b&gt; \u2028\u2029 \x00 \ud800 ' \" \\ ${1} \u202e"
)
"""Everything that has ended a string somewhere."""
NAME = "20260131-120000-nano-1"


def page_of(*runs: Path) -> str:
    return render(shown(read_saved(runs)))


def record(name: str, *, task: str = "mmlu", questions: int = 4, **changes: Any) -> dict[str, Any]:
    """A case's record in the form of `harness.record.case_record`; `changes` replace whole fields."""
    metric = {"name": "accuracy", "value": 0.75, "stderr": 0.25, "count": questions, "group": "overall"}
    groups = [metric | {"group": group, "count": questions // 2} for group in ("anatomy", "law")]
    strategy = name.partition("[")[2].rstrip("]")
    made = {
        "case": name,
        "task": task,
        "strategy": strategy,
        "model": "nano",
        "config": {"checkpoint": None},
        "prompting": {"shots": 0, "shots_shown": {"0": questions}, "chat_template": False},
        "score": metric,
        "metrics": [metric, *groups],
        "judge": None,
        "questions": questions,
        "questions_in_data": questions,
        "left_out": 0,
        "excluded": {},
        "unscored": 0,
        "truncated": 0,
        "speed_up": speed_up(4.0),
        "questions_per_s": 10.0,
        "ceiling": {"flops_per_second": 1e9, "size": 8, "dtype": "float32", "seconds": 1.0},
        "peak_memory": {"bytes": 1_500_000_000, "kind": "resident"},
        "counters": {
            "forward_passes": 1,
            "tokens_computed": 100 * questions,
            "padding_tokens": 20 * questions,
            "distinct_tokens": 50 * questions,
            "logit_rows": questions,
            "kv_bytes": 0,
            "flops": 1_000_000 * questions,
        },
        "verdict": verdict(questions),
        "fallbacks": [],
        "load_report": {
            "asked": {"device": "auto", "dtype": "bfloat16"},
            "got": {"device": "cpu", "dtype": "bfloat16"},
            "notes": [],
            "load_seconds": 0.1,
            "peak_memory_bytes": 1_000_000,
            "parameters": 984_128,
        },
        "fingerprints": {"data": "d" * 12, "prompts": "e" * 12, "model": "f" * 12, "config": "a" * 12},
        "data": {"source": "sample", "split": "test"},
        "versions": {"python": "3.11", "torch": "2.13"},
        "timed": True,
    }
    if strategy == "unbatched":
        made |= {"speed_up": {"ratio": 1.0, "low": None, "high": None, "rounds": 1, "note": "the reference itself"}}
        made |= {"verdict": {"faithful": True, "summary": "reference"}}
    return made | changes


def speed_up(ratio: float, baseline: str = "unbatched") -> dict[str, Any]:
    bounds = {"ratio": ratio, "low": ratio * 0.8, "high": ratio * 1.2, "rounds": 5, "note": ""}
    return bounds | {"baseline": {"strategy": baseline}, "path_seconds_per_question": 0.1}


def verdict(questions: int, flips: Sequence[Mapping[str, Any]] = (), faithful: bool | None = True) -> dict[str, Any]:
    return {
        "faithful": faithful,
        "compared": questions,
        "total": questions,
        "flips": list(flips),
        "noise": 0.1,
        "path_difference": 0.05,
        "reason": "" if faithful else "1 answer changed",
        "reference_flips": 0,
        "summary": "made up",
    }


def flip(id_: str, *, margin: float | None, excused: bool) -> dict[str, Any]:
    return {"id": id_, "reference": "A", "path": "B", "margin": margin, "excused": excused}


def request(number: int, *, group: str = "anatomy", words: str = "") -> ChoiceRequest:
    opening = f"The following are questions about {group}, the answer to each is a letter.\n\n"
    body = f"Question number {number}? {words}\nA. yes\nB. no\nAnswer:"
    return ChoiceRequest(id=f"mmlu/test/{group}/{number}", context=opening + body, continuations=(" A", " B"))


def line(of: ChoiceRequest, prediction: str = "A", gold: str | None = "A", **more: Any) -> dict[str, Any]:
    scores = {} if gold is None else {"accuracy": float(prediction == gold)}
    made = {
        "id": of.id,
        "group": of.id.split("/")[2],
        "prompt_hash": prompt_hash(of),
        "logprobs": [-0.1234567, -2.25],
        "prediction": prediction,
        "gold": None if gold is None else [gold],
        "score": scores.get("accuracy"),
        "scores": scores,
    }
    return made | more


def write_run(
    folder: Path,
    cases: Mapping[str, Mapping[str, Any]],
    lines: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    requests: Sequence[ChoiceRequest] = (),
    name: str = NAME,
    session: str | None = None,
) -> Path:
    """A run's folder: records by case, their questions' lines, and the prompts of mmlu. `session`: of its workers."""
    run = folder / name
    run.mkdir(parents=True)
    written = {}
    for case, made in cases.items():
        written[case] = dict(made)
        if lines and case in lines:
            written[case]["answers"] = f"{len(written)}.jsonl"
            text = "".join(json.dumps(one) + "\n" for one in lines[case])
            (run / written[case]["answers"]).write_text(text, encoding="utf-8")
    about = {"provenance": {"session": session}} if session else {}
    (run / "summary.json").write_text(json.dumps({"run": name, **about, "cases": written}), encoding="utf-8")
    if requests:
        keep_prompts(run, "mmlu", requests)
    return run


def varied_run(folder: Path, words: str = "plain") -> Path:
    """Four questions by three cases: one flips below the noise, one is hostile wherever text can be."""
    asked = [request(n, group="anatomy" if n < 2 else "law", words=words if n == 3 else "") for n in range(4)]
    alike = [line(one, gold="B" if n == 1 else "A") for n, one in enumerate(asked)]
    flipped = [
        *alike[:2],
        line(asked[2], "B"),
        line(asked[3], words, judge=None, judge_problem=words, judge_reply=words),
    ]
    found = [flip(asked[2].id, margin=0.01, excused=True), flip(asked[3].id, margin=None, excused=False)]
    found[1] |= {"path": words}
    changed = verdict(4, found, faithful=False) | {"reason": words}
    report = record("x")["load_report"]
    step = {"what": "attention", "asked": "flash", "got": words, "reason": words}
    cases = {
        "test_mmlu[unbatched]": record("test_mmlu[unbatched]"),
        "test_mmlu[padded]": record("test_mmlu[padded]"),
        "test_mmlu[packed]": record(
            "test_mmlu[packed]",
            verdict=changed,
            fallbacks=[step],
            load_report=report | {"got": {"device": words, "dtype": words}, "notes": [words]},
            versions={"python": words},
            excluded={words: 1},
        ),
        "test_batch_size[8]": record("test_batch_size[8]", strategy="padded", speed_up=speed_up(2.0, "padded")),
    }
    lines = {"test_mmlu[unbatched]": alike, "test_mmlu[padded]": alike, "test_mmlu[packed]": flipped}
    return write_run(folder, cases, lines, asked)


def large_run(folder: Path, questions: int) -> Path:
    """So many questions of MMLU's length by three cases, in 57 groups."""
    words = "Which of these is the best description of what was found in the study above, taken as a whole? " * 5
    asked = [
        request(n, group=f"subject_{n % 57}", words=f"{words} {n * 2654435761 % 2**32:x}") for n in range(questions)
    ]
    names = [f"test_mmlu[{strategy}]" for strategy in ("unbatched", "padded", "packed")]
    cases = {name: record(name, questions=questions) for name in names}
    answered = [line(one, "AB"[n % 2], "AB"[n % 3 % 2]) for n, one in enumerate(asked)]
    return write_run(folder, cases, dict.fromkeys(names, answered), asked)
