"""What the cases of one pytest session share: models, encoded questions, and the reference that all are judged by."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from evalsuite import faithful
from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.errors import ConfigError, EvalsuiteError, anew
from evalsuite.evaluation import Workload, answer, prepare
from evalsuite.harness.case import ExecutionPath
from evalsuite.harness.options import SEED, SuiteOptions
from evalsuite.harness.progress import Progress
from evalsuite.harness.recalling import answers_hash, answers_key
from evalsuite.harness.workers import Worker
from evalsuite.judge.opening import open_judge
from evalsuite.judge.types import Judge
from evalsuite.measure.ceiling import Ceiling, measure_ceiling
from evalsuite.measure.timing import CLOCK
from evalsuite.pool import ModelPool
from evalsuite.prompts import keep_prompts
from evalsuite.results import GRADES_FOLDER, ResultsRun
from evalsuite.tasks import get_task
from evalsuite.tasks.base import TaskData, limit_examples
from evalsuite.tasks.prompting import Prompting
from evalsuite.types import ChoiceScores, Generation, Outcome

if TYPE_CHECKING:
    from evalsuite.generation.teacher_forcing import TeacherForced
    from evalsuite.loading import LoadedModel

SMALL_MODEL = 20_000_000
"""Parameters. Below it, threads cost more than they gain."""
PLAIN_ATTENTIONS = ("sdpa", "eager")
SLOW_STRATEGIES = (REFERENCE_STRATEGY, "per_question")
"""They answer the sample of --reference-limit, not everything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What the reference answered, and how long it took."""

    outcomes: Mapping[str, Outcome]
    seconds: float


class EvaluationSession:
    """Loads, encodes and refers once for all cases. The references are kept, the models as long as they fit."""

    def __init__(
        self, options: SuiteOptions, results: ResultsRun, progress: Progress, worker: Worker | None = None
    ) -> None:
        self.options = options
        self.results = results
        self.progress = progress
        self.worker = worker
        self.pool = ModelPool()
        self._judge: Judge | EvalsuiteError | None = None
        self._data: dict[str, TaskData] = {}
        self._unreadable: dict[str, EvalsuiteError] = {}
        self._workloads: dict[tuple[str, str | None, str], Workload] = {}
        self._references: dict[tuple[InferenceConfig, str], Reference] = {}
        self._scored: dict[tuple[InferenceConfig, str], Mapping[str, ChoiceScores]] = {}
        self._forced: dict[tuple[InferenceConfig, str], Mapping[str, TeacherForced]] = {}
        self._ceilings: dict[tuple[str, torch.dtype], Ceiling] = {}

    def close(self) -> None:
        self.pool.clear()

    @contextmanager
    def engine(self, path: ExecutionPath) -> Iterator[TransformersEngine]:
        """An engine for `path`; while it is open, the clock waits for its device."""
        loaded = self.pool.get(path.config)
        _settle_threads(loaded)
        with (
            TransformersEngine(loaded, path.execution) as engine,
            CLOCK.following(engine.synchronize),
        ):
            yield engine

    def fit_together(self, one: InferenceConfig, other: InferenceConfig) -> bool:
        """Load both; whether memory held them at once."""
        self.pool.get(one)
        self.pool.get(other)
        return one in self.pool.resident

    def judge(self) -> Judge:
        """The judge of --judge, opened once: one that is not there is not asked for again for each case."""
        if self._judge is None:
            try:
                self._judge = self._open_judge()
            except EvalsuiteError as error:
                self._judge = error
        if isinstance(self._judge, EvalsuiteError):
            raise self._judge
        return self._judge

    def _open_judge(self) -> Judge:
        asked = self.options.judge
        if asked is None:
            raise ConfigError("judge: none was asked for; give --judge")
        return open_judge(
            asked.where,
            model=asked.model,
            api_key=asked.api_key,
            grades=self.options.results / GRADES_FOLDER,
            timeout_s=asked.timeout_s,
            concurrency=asked.concurrency,
            pool=self.pool,
            config=self.options.config.replace(torch_compile=False),
            execution=self.options.execution.greedy(),
        )

    def ceiling(self, loaded: LoadedModel) -> Ceiling:
        """The rate of matrix products on a model's device in its dtype, measured once a session."""
        key = str(loaded.device), loaded.model.dtype
        if key not in self._ceilings:
            self._ceilings[key] = measure_ceiling(loaded.device, loaded.model.dtype)
        return self._ceilings[key]

    def data(self, task: str) -> TaskData:
        """The questions of a task that --data, --split, --shots and --limit leave."""
        if task in self._unreadable:
            raise anew(self._unreadable[task])
        if task not in self._data:
            options = self.options
            try:
                data = get_task(task).read(options.data_source(), split=options.split, shots=options.shots)
            except EvalsuiteError as error:
                self._unreadable[task] = anew(error)  # a hub that does not answer is not asked for each strategy
                raise
            self._data[task] = limit_examples(data, options.limit, SEED)
        return self._data[task]

    def workload(self, engine: TransformersEngine, task: str) -> Workload:
        """Every question of a task, encoded once per tokenizer."""
        config = engine.loaded.config
        key = (config.model, config.checkpoint, task)
        if key not in self._workloads:
            prompting = Prompting(
                shots=self.options.shots,
                chat=self.options.chat_template,  # type: ignore[arg-type]  # argparse holds it to the choices
                tokenizer=engine.loaded.tokenizer,
                model_name=config.model,
            )
            keep = partial(keep_prompts, self.results.path, task)
            self._workloads[key] = prepare(get_task(task), self.data(task), engine, prompting, on_requests=keep)
        return self._workloads[key]

    def sample(self, workload: Workload) -> Workload:
        """The questions that slow strategies answer and verdicts compare."""
        sampled = limit_examples(workload.data, self.options.reference_limit, SEED)
        return workload.only({example.id for example in sampled.examples})

    def plain(self, config: InferenceConfig) -> InferenceConfig:
        """`config` by plain means, in the same dtype: what the reference runs on.

        A reference that shares a compiled graph or a flash kernel with the path would share its faults.
        """
        attention = config.attention
        if self.pool.get(config).report.got["attention"] not in PLAIN_ATTENTIONS:
            attention = "sdpa"
        return config.replace(attention=attention, torch_compile=False)

    def reference_path(self, config: InferenceConfig) -> ExecutionPath:
        """Unbatched, as the session's options say, but for a cache of another dtype: what that changes is judged."""
        execution = dataclasses.replace(self.options.execution, kv_cache_dtype=ExecutionOptions().kv_cache_dtype)
        return ExecutionPath(config=config, execution=execution, strategy=REFERENCE_STRATEGY)

    def reference(self, config: InferenceConfig, task: str) -> Reference:
        """The reference's answers to the sample, computed at most once per configuration and task."""
        if (config, task) not in self._references:
            path = self.reference_path(config)
            with self.engine(path) as engine:
                sample = self.sample(self.workload(engine, task))
                with (
                    self.progress.bar(f"{task} reference", len(sample)) as tick,
                    self._recalled(engine, path, sample),
                ):
                    start = CLOCK()
                    outcomes = answer(engine, sample, REFERENCE_STRATEGY, on_outcome=lambda _: tick())
                    self.keep_reference(config, task, Reference(outcomes=outcomes, seconds=CLOCK() - start))
        return self._references[config, task]

    def keep_reference(self, config: InferenceConfig, task: str, reference: Reference) -> None:
        self._references[config, task] = reference

    def verdict(self, config: InferenceConfig, task: str, outcomes: Mapping[str, Outcome]) -> faithful.Verdict:
        """Judge a path's outcomes against the reference of `config`."""
        reference = self.reference(config, task).outcomes
        examples = self.data(task).examples
        if get_task(task).kind == "choice":
            return faithful.compare_choices(
                reference=_choices(reference),
                path=_choices(outcomes),
                reference_fp32=self._scored_in_fp32(config, task),
                total=len(examples),
                labels={example.id: example.choices for example in examples},
            )
        return faithful.compare_generations(
            reference=_generations(reference),
            path=_generations(outcomes),
            reference_fp32=self._forced_in_fp32(config, task),
            total=len(examples),
        )

    def in_fp32(self, config: InferenceConfig, task: str) -> Mapping[str, ChoiceScores] | Mapping[str, TeacherForced]:
        """What the model in fp32 says to the questions that the reference answered: of its choices, or of its texts."""
        choice = get_task(task).kind == "choice"
        return self._scored_in_fp32(config, task) if choice else self._forced_in_fp32(config, task)

    def _scored_in_fp32(self, config: InferenceConfig, task: str) -> Mapping[str, ChoiceScores]:
        """The reference's choices scored once more in fp32."""
        if (config, task) not in self._scored:
            reference = self.reference(config, task).outcomes
            if self._runs_in_fp32(config):
                self._scored[config, task] = _choices(reference)
            else:
                with (
                    self._fp32_sample(config, task) as (engine, path, sample, tick),
                    self._recalled(engine, path, sample),
                ):
                    exact = answer(engine, sample, REFERENCE_STRATEGY, on_outcome=lambda _: tick())
                self._scored[config, task] = _choices(exact)
        return self._scored[config, task]

    def _forced_in_fp32(self, config: InferenceConfig, task: str) -> Mapping[str, TeacherForced]:
        """The reference's generated answers, teacher-forced through the fp32 model."""
        if (config, task) not in self._forced:
            answers = list(_generations(self.reference(config, task).outcomes).values())
            forced = {}
            with (
                self._fp32_sample(config, task) as (engine, path, sample, tick),
                self._recalled(engine, path, sample, along=answers_hash(answers)),
            ):
                for answered in engine.teacher_force(sample.prompts, answers):
                    forced[answered.id] = answered
                    tick()
            self._forced[config, task] = forced
        return self._forced[config, task]

    @contextmanager
    def _fp32_sample(
        self, config: InferenceConfig, task: str
    ) -> Iterator[tuple[TransformersEngine, ExecutionPath, Workload, Callable[[], object]]]:
        path = self.reference_path(config if self._runs_in_fp32(config) else fp32_config(config))
        with self.engine(path) as engine:
            sample = self.sample(self.workload(engine, task))
            with self.progress.bar(f"{task} reference in float32", len(sample)) as tick:
                yield engine, path, sample, tick

    @contextmanager
    def _recalled(
        self, engine: TransformersEngine, path: ExecutionPath, sample: Workload, **more: object
    ) -> Iterator[None]:
        """Within, what an earlier process answered as a reference, or as a case of the reference, is recalled."""
        key = answers_key(engine, path, sample, **more)
        journal = self.results.journals.open(f"reference-{sample.task.name}", key, shared=True)
        with closing(journal), engine.keeping(journal):
            yield

    def _runs_in_fp32(self, config: InferenceConfig) -> bool:
        return bool(self.pool.get(config).report.got["dtype"] == "float32")


def _settle_threads(loaded: LoadedModel) -> None:
    """One thread for a small model on the CPU, unless OMP_NUM_THREADS says otherwise.

    Its operations take microseconds: more threads gain nothing, and on a machine where a core is taken each
    operation waits for a thread that is not running (nano, 2 threads, 2 cores, one of them busy: 40 times slower).
    """
    if loaded.device.type == "cpu" and loaded.report.parameters < SMALL_MODEL and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def _choices(outcomes: Mapping[str, Outcome]) -> dict[str, ChoiceScores]:
    return {id_: outcome for id_, outcome in outcomes.items() if isinstance(outcome, ChoiceScores)}


def _generations(outcomes: Mapping[str, Outcome]) -> dict[str, Generation]:
    return {id_: outcome for id_, outcome in outcomes.items() if isinstance(outcome, Generation)}


def fp32_config(config: InferenceConfig) -> InferenceConfig:
    """The same model in fp32, by plain kernels: flash attention has no fp32, and a compiled graph adds nothing."""
    attention = config.attention if config.attention in PLAIN_ATTENTIONS else "sdpa"
    return config.replace(dtype="float32", attention=attention, torch_compile=False, strict_config=False)
