"""What of a run is expected to be the same next time: facts of a case, and the setting that they hold in."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from evalsuite.config import NANO_MODEL, ExecutionOptions, InferenceConfig
from evalsuite.faithful import NOISE_CAP
from evalsuite.harness.options import REFERENCE_LIMIT, SuiteOptions

COUNTERS = "counters."
"""Begins the names of facts that are work counters."""
GROUPS_ABOVE = 1_000
"""Questions. Of larger sets the expected file keeps one digest a group beside the digest of all."""
GROUP = "answers:"
"""Begins the names of facts that are the digest of one group's answers."""
IDENTITY = ("data", "prompts", "weights")
"""Fingerprints: where one changed, the run was about something else."""
_LOADED = ("device", "dtype", "attention", "torch_compile")

Facts = dict[str, Any]
"""Name to a JSON value. A case that was skipped has `skipped` alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The answers of one case that rounding does not decide."""

    by_id: Mapping[str, str]
    groups: Mapping[str, str]
    """Question id to its group."""
    near_ties: Mapping[str, float] = field(default_factory=dict)
    """Left out: margin below the noise, in nats."""
    close: Mapping[str, str] = field(default_factory=dict)
    """The answers to those."""
    unknown: int = 0
    """Left out: generated answers without a margin, since the reference did not answer those questions."""


def setting(options: SuiteOptions, device: str) -> str:
    """What the facts of a run depend on beside its cases, for people to read; what is not named is at its default.

    `nano on sample, cpu, bfloat16, 16384 tokens`. A case's own change (of dtype, batch size, ...) is in its name, and
    fingerprints of data, prompts and weights are facts, so that their change is told as such.

    Args:
        device: what the run really had; its class counts, as in `cuda` for `cuda:1`.
    """
    config, execution, plain = options.config, options.execution, InferenceConfig()
    usual, sampled = ExecutionOptions(), execution.temperature > 0
    data = options.data if options.data in ("sample", "hub") else "a directory"
    further = {
        f"checkpoint {Path(config.checkpoint).name}" if config.checkpoint else "": True,
        f"attention {config.attention}": config.attention != plain.attention,
        "compiled": config.torch_compile,
        f"batch size {execution.batch_size}": execution.batch_size is not None,
        "no kv cache": not execution.kv_cache,
        "deterministic": execution.deterministic,
        "past the end of sequence": execution.ignore_eos,
        f"temperature {execution.temperature:g}": sampled,
        f"top p {execution.top_p:g}": sampled and execution.top_p != usual.top_p,
        f"top k {execution.top_k}": sampled and execution.top_k != usual.top_k,
        f"sampling seed {execution.sampling_seed}": sampled and execution.sampling_seed != usual.sampling_seed,
        f"memory fraction {execution.memory_fraction:g}": execution.memory_fraction != usual.memory_fraction,
        f"kv cache {execution.kv_cache_dtype}": execution.kv_cache_dtype != usual.kv_cache_dtype,
        f"{options.shots} shots": options.shots > 0,
        f"chat template {options.chat_template}": options.chat_template != "auto",
        f"split {options.split}": options.split is not None,
        f"limit {options.limit}": options.limit is not None,
        f"reference limit {options.reference_limit or 'all'}": options.reference_limit
        != _usual_reference_limit(options),
    }
    parts = [
        f"{_model_name(config.model)} on {data}",
        device.split(":")[0],
        config.dtype,
        f"{execution.token_budget} tokens",
        *(text for text, counts in further.items() if text and counts),
    ]
    return ", ".join(parts)


def without_limits(options: SuiteOptions) -> SuiteOptions:
    """The same run on all questions: what a run with --limit or --reference-limit is a part of."""
    return replace(options, limit=None, reference_limit=_usual_reference_limit(options))


def case_facts(record: Mapping[str, Any], answers: Answers) -> Facts:
    """The facts of one case from its record (`harness.record`) and its answers."""
    facts: Facts = {
        "questions": record["questions"],
        "data": record["fingerprints"]["data"],
        "prompts": record["fingerprints"]["prompts"],
        "weights": record["fingerprints"]["model"],
        "answers": digest(answers.by_id),
        "verdict": verdict_word(record["verdict"]),
        "loaded": ", ".join(_got(record["load_report"]["got"], name) for name in _LOADED),
        **{COUNTERS + name: value for name, value in record["counters"].items()},
    }
    if steps := steps_down(record):
        facts["steps_down"] = steps
    if answers.near_ties:
        facts["near_ties"] = sorted(answers.near_ties)
    if answers.unknown:
        facts["without_margin"] = answers.unknown
    if len(answers.by_id) > GROUPS_ABOVE:
        groups = group_digests(answers.by_id, answers.groups)
        facts |= {group_fact(group): value for group, value in groups.items()}
    return facts


def read_answers(lines: Iterable[Mapping[str, Any]], ties: Mapping[str, Any]) -> Answers:
    """Answers from a case's lines (`results.question_line`), less those that rounding may decide.

    Of a choice that the reference did not answer, the margin is that of the run's own log-probabilities, and counts as
    a near tie below twice the noise, since either of two may be off by it. A generated answer that the reference did
    not give has no margin and is left out.

    Args:
        ties: what `margins.near_ties` gave; empty for a case that could not be judged.
    """
    ties = {"known": [], "margins": {}, "noise": None, **ties}
    known, close = ties["known"], dict(ties["margins"])
    noise = NOISE_CAP if ties["noise"] is None else ties["noise"]
    by_id, groups, unknown = {}, {}, 0
    for line in lines:
        id_ = line["id"]
        if known is not None and id_ not in known:
            if "logprobs" not in line:
                unknown += 1
                continue
            if (margin := _own_margin(line["logprobs"])) < 2 * noise:
                close[id_] = margin
        groups[id_] = line["group"]
        by_id[id_] = line["text"] if "text" in line else line["prediction"]
    kept = {id_: answer for id_, answer in by_id.items() if id_ not in close}
    return Answers(
        by_id=kept,
        groups=groups,
        # Margins come for every question of the reference; this case may have answered fewer.
        near_ties={id_: margin for id_, margin in close.items() if id_ in by_id},
        close={id_: answer for id_, answer in by_id.items() if id_ in close},
        unknown=unknown,
    )


def digest(answers: Mapping[str, str]) -> str:
    """Sixteen hex digits over ids and answers, whatever their order."""
    return hashlib.sha256(json.dumps(sorted(answers.items())).encode()).hexdigest()[:16]


def group_digests(answers: Mapping[str, str], groups: Mapping[str, str]) -> dict[str, str]:
    """One digest a group; `groups` is question id to group."""
    grouped: dict[str, dict[str, str]] = defaultdict(dict)
    for id_, answer in answers.items():
        grouped[groups[id_]][id_] = answer
    return {group: digest(those) for group, those in sorted(grouped.items())}


def group_fact(group: str) -> str:
    """The name of a group's digest among facts. No space: a line of the expected file is split at its last one."""
    return GROUP + group.replace(" ", "_")


def verdict_word(verdict: Mapping[str, Any]) -> str:
    if verdict["summary"] == "reference":
        return "reference"
    return {True: "faithful", False: "not faithful", None: "not judged"}[verdict["faithful"]]


def steps_down(record: Mapping[str, Any]) -> list[str]:
    """Those that the user would mind: a choice made within `auto` is no step down."""
    asked = record["load_report"]["asked"]
    return [f"{s['what']}: {s['asked']} -> {s['got']}" for s in record["fallbacks"] if asked.get(s["what"]) != "auto"]


def _got(got: Mapping[str, str], name: str) -> str:
    return f"{name} {got[name].split(':')[0]}"


def _own_margin(logprobs: list[float | str]) -> float:
    """Results files hold infinities as words."""
    best, *others = sorted(map(float, logprobs), reverse=True)
    margin = best - others[0] if others else math.inf
    return 0.0 if math.isnan(margin) else margin


def _usual_reference_limit(options: SuiteOptions) -> int | None:
    return None if (options.config.model, options.data) == (NANO_MODEL, "sample") else REFERENCE_LIMIT


def _model_name(model: str) -> str:
    """A hub's name as it is; of a directory, its last part."""
    return Path(model).resolve().name if Path(model).is_dir() else model
