"""The command line's options, and the frozen form in which everything else reads them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalsuite.config import (
    ATTENTIONS,
    DTYPES,
    GENERATION_STRATEGIES,
    KV_CACHE_DTYPES,
    NANO_MODEL,
    SCORING_STRATEGIES,
    SHAPE_PREFIX,
    ExecutionOptions,
    InferenceConfig,
)
from evalsuite.errors import ConfigError
from evalsuite.gate.options import GATE_OPTIONS, GateOptions, read_gate_options
from evalsuite.harness.judge_options import JUDGE_OPTIONS, JudgeOptions, read_judge_options
from evalsuite.results import DEFAULT_FOLDER
from evalsuite.resume.choosing import LATEST

if TYPE_CHECKING:
    import pytest

    from evalsuite.tasks.base import DataSource

REFERENCE_LIMIT = 256
ALL_STRATEGIES = tuple(dict.fromkeys(SCORING_STRATEGIES + GENERATION_STRATEGIES))
SEED = 0
"""Draws the samples of --limit and --reference-limit, and resamples rounds for intervals."""

_DEFAULTS = InferenceConfig()
_EXECUTION = ExecutionOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteOptions:
    """What the command line asked for."""

    config: InferenceConfig
    execution: ExecutionOptions
    strategies: tuple[str, ...]
    """Cases of other strategies are deselected."""
    shots: int
    chat_template: str
    limit: int | None
    reference_limit: int | None
    """Most questions that slow strategies answer and that verdicts compare; None for all."""
    data: str
    """`sample`, `hub`, or a directory."""
    split: str | None
    results: Path
    require: tuple[str, ...]
    judge: JudgeOptions | None
    """None where no judge is asked."""
    resume: str | None = None
    """`LATEST` or a run's folder; None for a new run."""
    gate: GateOptions = field(default_factory=GateOptions)

    def data_source(self) -> DataSource:
        from evalsuite.tasks.base import DataSource

        if self.data == "hub":
            return DataSource(kind="hub")
        if self.data == "sample":
            return DataSource(kind="directory", path=str(sample_folder()))
        return DataSource(kind="directory", path=self.data)


def sample_folder() -> Path:
    """The sample data that evalsuite brings along."""
    return Path(__file__).parents[1] / "nano" / "data"


def add_options(parser: pytest.Parser) -> None:
    """One group in `pytest --help`. Flags that pytest has itself are shared, not redefined."""
    group = parser.getgroup(
        "evalsuite", "evalsuite (pytest's --strict-config counts too: what is asked for and cannot be had is an error)"
    )
    for flag, settings in (_OPTIONS | JUDGE_OPTIONS | GATE_OPTIONS).items():
        group.addoption(flag, **settings)


def read_options(config: pytest.Config) -> SuiteOptions:
    """Raises `ConfigError` for values that cannot be meant, and for directories that are not there."""
    model = config.getoption("--model")
    _refuse_absent(model, config.getoption("--checkpoint"), config.getoption("--data"))
    data = config.getoption("--data") or ("sample" if model == NANO_MODEL or model.startswith(SHAPE_PREFIX) else "hub")
    # The sample is small, and nano quick: there the verdict covers every question.
    usual_limit = None if (model, data) == (NANO_MODEL, "sample") else REFERENCE_LIMIT
    reference_limit = config.getoption("--reference-limit")
    resume = config.getoption("--resume")
    return SuiteOptions(
        config=InferenceConfig(
            model=model,
            checkpoint=config.getoption("--checkpoint"),
            dtype=config.getoption("--dtype"),
            attention=config.getoption("--attention"),
            torch_compile=config.getoption("--compile"),
            device=config.getoption("--device"),
            strict_config=bool(config.getoption("strict_config", default=False)),
        ),
        execution=ExecutionOptions(
            batch_size=config.getoption("--batch-size"),
            token_budget=config.getoption("--token-budget"),
            kv_cache=not config.getoption("--no-kv-cache"),
            deterministic=config.getoption("--deterministic"),
            ignore_eos=config.getoption("--ignore-eos"),
            temperature=config.getoption("--temperature"),
            top_p=config.getoption("--top-p"),
            top_k=config.getoption("--top-k"),
            sampling_seed=config.getoption("--sampling-seed"),
            memory_fraction=config.getoption("--memory-fraction"),
            kv_cache_dtype=config.getoption("--kv-cache-dtype"),
        ),
        strategies=_strategies(config.getoption("--strategy")),
        shots=config.getoption("--shots"),
        chat_template=config.getoption("--chat-template"),
        limit=config.getoption("--limit"),
        reference_limit=usual_limit if reference_limit is None else reference_limit or None,
        data=data,
        split=config.getoption("--split"),
        results=Path(resume).parent if resume not in (None, LATEST) else Path(config.getoption("--results")),
        resume=resume,
        require=tuple(name for names in config.getoption("--require") for name in names.split(",") if name),
        judge=read_judge_options(config.getoption),
        gate=read_gate_options(config.getoption, root=config.rootpath, called_from=config.invocation_params.dir),
    )


def _refuse_absent(model: str, checkpoint: str | None, data: str | None) -> None:
    """Once, rather than in each case that would have needed it."""
    if model != NANO_MODEL and not model.startswith(SHAPE_PREFIX) and not Path(model).expanduser().is_dir():
        from evalsuite.loading.sources import why_no_model  # with torch

        if (reason := why_no_model(model)) is not None:
            raise ConfigError(f"--model: {reason}")
    if checkpoint is not None and not Path(checkpoint).expanduser().is_dir():
        raise ConfigError(
            f"--checkpoint: no such directory: {checkpoint}. Give the directory that holds the weights to evaluate"
        )
    folder = Path(model).expanduser()
    if model != NANO_MODEL and folder.is_dir() and not _holds_config(folder) and not _holds_config(checkpoint):
        raise ConfigError(
            f"--model: no config.json in {model}. Give the directory that holds config.json, weights and tokenizer"
        )
    if data not in (None, "sample", "hub") and not Path(data).is_dir():
        raise ConfigError(
            f"--data: no such directory: {data}. Give the one that holds the released files in mmlu/, viquad/, ..., or "
            "sample, or hub"
        )


def _holds_config(directory: str | Path | None) -> bool:
    return directory is not None and (Path(directory).expanduser() / "config.json").is_file()


def _strategies(given: list[str]) -> tuple[str, ...]:
    names = tuple(name for names in given for name in names.split(",") if name)
    if unknown := [name for name in names if name not in ALL_STRATEGIES]:
        raise ConfigError(f"--strategy: expected names out of {', '.join(ALL_STRATEGIES)}; got {unknown[0]!r}")
    return names or ALL_STRATEGIES


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def _shots(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _count_or_all(text: str) -> int:
    """0 stands for all, so that None can stand for the default."""
    return 0 if text == "all" else _count(text)


_OPTIONS: dict[str, dict[str, Any]] = {
    "--model": {
        "default": _DEFAULTS.model,
        "metavar": "MODEL",
        "help": "nano (the embedded model, default), a hub name, a local directory, or shape:qwen3-4b (0.6b, 1.7b, 4b, "
        "8b, 14b, 32b): that architecture with random weights, for speed on your hardware without a download",
    },
    "--checkpoint": {
        "metavar": "DIR",
        "help": "directory whose weights replace the model's; its tokenizer too if it holds one",
    },
    "--dtype": {
        "default": _DEFAULTS.dtype,
        "choices": DTYPES,
        "help": "default: %(default)s. A dtype, attention, compilation or device that cannot be had is a step down, "
        "logged and reported; with --strict-config it is an error",
    },
    "--attention": {
        "default": _DEFAULTS.attention,
        "choices": ATTENTIONS,
        "help": "attention implementation; auto (default) takes the best that this machine can really run, "
        "but flex_attention, which compiles for every new shape of padded batch: ask for it by name",
    },
    "--compile": {"action": "store_true", "default": False, "help": "run the model's forward through torch.compile"},
    "--device": {
        "default": _DEFAULTS.device,
        "help": "auto (default: cuda, then mps, then cpu) or a torch device such as cuda:1",
    },
    "--strategy": {
        "action": "append",
        "default": [],
        "metavar": "NAMES",
        "help": f"run only cases of these strategies, out of {', '.join(ALL_STRATEGIES)}; comma-separated or repeated",
    },
    "--batch-size": {
        "type": _count,
        "metavar": "ROWS",
        "help": "most rows in one forward (default: what --token-budget allows; continuous: 1024, on the CPU 128)",
    },
    "--token-budget": {
        "type": _count,
        "default": _EXECUTION.token_budget,
        "metavar": "TOKENS",
        "help": "most tokens in one forward, padding included (default: %(default)s)",
    },
    "--no-kv-cache": {
        "action": "store_true",
        "default": False,
        "help": "generate without the key-value cache: recompute the sequence for each new token",
    },
    "--deterministic": {
        "action": "store_true",
        "default": False,
        "help": "answers that are bitwise the same whatever they are computed beside: skips the strategies that cannot "
        "promise it, and makes an error of each step down that would break it (packed: on CUDA)",
    },
    "--temperature": {
        "type": float,
        "default": _EXECUTION.temperature,
        "metavar": "T",
        "help": "draw tokens at this temperature; 0 (default) takes the likeliest. A question's draws depend on its id "
        "and --sampling-seed alone, so every strategy draws alike",
    },
    "--top-p": {
        "type": float,
        "default": _EXECUTION.top_p,
        "metavar": "SHARE",
        "help": "draw from the likeliest tokens that together reach this share (default: %(default)s, from all)",
    },
    "--top-k": {"type": _count, "metavar": "N", "help": "draw from the N likeliest tokens (default: from all)"},
    "--sampling-seed": {
        "type": int,
        "default": _EXECUTION.sampling_seed,
        "metavar": "N",
        "help": "another seed draws other tokens (default: %(default)s)",
    },
    "--ignore-eos": {
        "action": "store_true",
        "default": False,
        "help": "generate past the end of sequence, to the last token allowed or a stop string: work of one size, to "
        "measure speed",
    },
    "--memory-fraction": {
        "type": float,
        "default": _EXECUTION.memory_fraction,
        "metavar": "SHARE",
        "help": "of a GPU's memory, what weights, activations and the keys and values of continuous may take together "
        "(default: %(default)s)",
    },
    "--kv-cache-dtype": {
        "default": _EXECUTION.kv_cache_dtype,
        "choices": KV_CACHE_DTYPES,
        "help": "of the keys and values that continuous keeps (default: %(default)s, the model's); skips the other "
        "generation strategies, but for the reference that answers are compared with",
    },
    "--shots": {"type": _shots, "default": 0, "metavar": "N", "help": "solved examples in each prompt (default: 0)"},
    "--chat-template": {
        "default": "auto",
        "choices": ("auto", "on", "off"),
        "help": "auto (default): on where the tokenizer has a chat template and the model's name does not say base",
    },
    "--limit": {
        "type": _count,
        "metavar": "N",
        "help": "at most N questions of each task, drawn from every subject in proportion, the same ones each time",
    },
    "--reference-limit": {
        "type": _count_or_all,
        "metavar": "N|all",
        "help": "at most N questions for the slow strategies (unbatched, per_question) and for the verdict "
        f"(default: {REFERENCE_LIMIT}, all for nano on its sample)",
    },
    "--data": {
        "metavar": "WHERE",
        "help": "a directory of released files (DIR/mmlu, DIR/vmlu, ...), sample (the embedded data; default for nano "
        "and shape: models) or hub (default for all other models)",
    },
    "--split": {"metavar": "NAME", "help": "split to score (default: each task's own)"},
    "--results": {
        "default": DEFAULT_FOLDER,
        "metavar": "DIR",
        "help": "where runs leave one JSON line per question and a summary (default: %(default)s)",
    },
    "--resume": {
        "nargs": "?",
        "const": LATEST,
        "metavar": "RUN",
        "help": "go on with a run that was killed: nothing that it has computed is computed again. RUN is its folder; "
        "without it, the latest unfinished run that was asked for the same and by the same code, if there is one",
    },
    "--require": {
        "action": "append",
        "default": [],
        "metavar": "NAMES",
        "help": "fail instead of skipping where this machine lacks one of: cuda, bf16, flash_attn, flash_attn_3, flex, "
        "compile, ... (comma-separated or repeated)",
    },
}
