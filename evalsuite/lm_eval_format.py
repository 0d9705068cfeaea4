"""A run in lm-evaluation-harness's results and samples format, so that what reads the one reads the other.

    OUT/test_mmlu-padded/MODEL/results_DATE.json            as `EvaluationTracker.save_results_aggregated` of lm_eval
    OUT/test_mmlu-padded/MODEL/samples_mmlu_DATE.jsonl      0.4.13 writes them, and `save_results_samples`

A case is a folder, since the harness knows a task and not the ways of computing it. What the harness says and a run
does not know is left out or `null`; of a choice, whether greedy decoding would have written it: `"None"` in `resps`.
Questions without a published answer have no metrics, so they have no sample.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from evalsuite import __version__
from evalsuite.errors import DataError
from evalsuite.json_values import finite
from evalsuite.prompts import read_prompts
from evalsuite.resume.storage import replace_file
from evalsuite.runs import CaseRun, Run
from evalsuite.tasks import get_task

FORMAT = "0.4.13"
FILTER = "none"
METRICS = {"accuracy": "acc"}
"""Metrics that have another name there."""


def export(run: Run, out: Path) -> list[Path]:
    """Write every case that answers questions; the files that were written.

    Raises:
        DataError: a run of before prompts and provenance were kept, or one without a single answered case.
        ResultsError: a file cannot be written.
    """
    summary = json.loads((run.path / "summary.json").read_text(encoding="utf-8"))
    cases = [case for case in run.cases.values() if case.answers is not None]
    if not cases or "provenance" not in summary:
        what = "a case with answers" if not cases else "its provenance"
        raise DataError(f"{run.path}: expected a run with {what}; run it again with this version")
    return [file for case in cases for file in _write_case(run, case, summary["provenance"], out)]


def sample_lines(case: CaseRun, prompts: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The samples of a case, in the order of its questions. `prompts`: by hash, as `evalsuite.prompts` keeps them."""
    order = {hash_: number for number, hash_ in enumerate(prompts)}
    for line in sorted(case.lines(), key=lambda line: order.get(line["prompt_hash"], len(order))):
        if line["scores"]:
            shown = prompts.get(line["prompt_hash"])
            if shown is None:
                raise DataError(f"{case.answers}: {line['id']}: its prompt is not among those that the run kept")
            yield _sample(case, line, shown, order[line["prompt_hash"]])


def results_document(
    case: CaseRun, samples: Sequence[Mapping[str, Any]], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The aggregated results of a case: its overall metrics. Those by subject are in the run's own summary."""
    record = case.record
    task, config = record["task"], record["config"]
    metrics = [metric for metric in record["metrics"] if metric["group"] == "overall"]
    names = [METRICS.get(metric["name"], metric["name"]) for metric in metrics]
    values: dict[str, Any] = {"name": task, "alias": task, "sample_len": len(samples)}
    for name, metric in zip(names, metrics, strict=True):
        values[f"{name},{FILTER}"] = metric["value"]
        values[f"{name}_stderr,{FILTER}"] = "N/A" if metric["stderr"] is None else metric["stderr"]
    choice = get_task(task).kind == "choice"
    hashes = "".join(sample["doc_hash"] + sample["prompt_hash"] + sample["target_hash"] for sample in samples)
    model = config["checkpoint"] or config["model"]
    return {
        "results": {task: values},
        "group_subtasks": {},
        "configs": {
            task: {
                "task": task,
                "dataset_path": record["data"]["source"],
                "test_split": record["data"]["split"],
                "output_type": "multiple_choice" if choice else "generate_until",
                "num_fewshot": record["prompting"]["shots"],
                "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names],
                "metadata": {"evalsuite_case": case.name, "strategy": record["strategy"]} | record["fingerprints"],
            }
        },
        "versions": {task: record["fingerprints"]["data"]},
        "n-shot": {task: record["prompting"]["shots"]},
        "higher_is_better": {task: dict.fromkeys(names, True)},
        "n-samples": {task: {"original": record["questions_in_data"] + record["left_out"], "effective": len(samples)}},
        "config": {
            "model": "evalsuite",
            "model_args": {name: value for name, value in config.items() if value is not None},
            "model_num_parameters": record["load_report"]["parameters"],
            "model_dtype": record["load_report"]["got"]["dtype"],
            "model_sha": record["fingerprints"]["model"],
            "batch_size": record["execution"]["batch_size"] and str(record["execution"]["batch_size"]),
            "device": record["load_report"]["got"]["device"],
            "limit": provenance["options"]["limit"],
            "bootstrap_iters": 0,
            "random_seed": record["seeds"]["sampling"],
        },
        "git_hash": (provenance["git"] or {}).get("commit"),
        "date": datetime.fromisoformat(provenance["started"]).timestamp(),
        "transformers_version": record["versions"].get("transformers"),
        "lm_eval_version": f"{FORMAT} (format; written by evalsuite {__version__})",
        "task_hashes": {task: _hash(hashes)},
        "model_source": "evalsuite",
        "model_name": model,
        "model_name_sanitized": _sanitized(model),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": None,
        "total_evaluation_time_seconds": str(record["questions"] / record["questions_per_s"]),
    }


def _write_case(run: Run, case: CaseRun, provenance: Mapping[str, Any], out: Path) -> Iterator[Path]:
    assert case.answers is not None
    samples = list(sample_lines(case, read_prompts(run.path, case.record["task"])))
    document = results_document(case, samples, provenance)
    folder = out / case.answers.stem / document["model_name_sanitized"]
    folder.mkdir(parents=True, exist_ok=True)
    date = re.sub(r"[+].*", "", provenance["started"]).replace(":", "-")
    lines = "".join(_json(sample) + "\n" for sample in samples)
    for name, text in (
        (f"results_{date}.json", _json(document, indent=2)),
        (f"samples_{case.record['task']}_{date}.jsonl", lines),
    ):
        replace_file(folder / name, text)
        yield folder / name


def _sample(case: CaseRun, line: Mapping[str, Any], shown: Mapping[str, Any], number: int) -> dict[str, Any]:
    scores = {METRICS.get(name, name): value for name, value in line["scores"].items()}
    if line.get("judge") is not None:
        scores["judge"] = line["judge"]
    gold = line["gold"]
    doc: dict[str, Any] = {"id": line["id"], "group": line["group"], "gold": gold}
    if "continuations" in shown:
        choices = [continuation.strip() for continuation in shown["continuations"]]
        doc["choices"] = choices
        target = str(choices.index(gold[0]))
        arguments = [{"arg_0": shown["prompt"], "arg_1": continuation} for continuation in shown["continuations"]]
        said: list[Any] = [[str(logprob), "None"] for logprob in line["logprobs"]]
        resps: list[Any] = [[each] for each in said]
    else:
        target = gold[0] if len(gold) == 1 else str(gold)
        settings = {**_sampled(case.record), "max_gen_toks": get_task(case.record["task"]).max_new_tokens}
        arguments = [{"arg_0": shown["prompt"], "arg_1": settings}]
        said, resps = [line["prediction"]], [[line["text"]]]
    return {
        "doc_id": number,
        "doc": doc,
        "target": target,
        "arguments": {f"gen_args_{index}": argument for index, argument in enumerate(arguments)},
        "resps": resps,
        "filtered_resps": said,
        "filter": FILTER,
        "metrics": list(scores),
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(shown["prompt"]),
        "target_hash": _hash(target),
        **scores,
    }


def _sampled(record: Mapping[str, Any]) -> dict[str, Any]:
    execution = record.get("execution", {})
    if not execution.get("temperature"):
        return {"do_sample": False}
    return {"do_sample": True, **{name: execution[name] for name in ("temperature", "top_p", "top_k")}}


def _json(value: Any, *, indent: int | None = None) -> str:
    text = json.dumps(finite(value), ensure_ascii=False, indent=indent)
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair, as a model may write, is no UTF-8


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _sanitized(model: str) -> str:
    """As `lm_eval.utils.sanitize_model_name`."""
    return re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model)
