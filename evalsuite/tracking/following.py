"""One look at a folder of checkpoints: evaluate those not yet done, in step order, and draw what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalsuite.errors import ConfigError, EvalsuiteError, some
from evalsuite.resume.lock import RunLock
from evalsuite.tracking import scores as scoring
from evalsuite.tracking.checkpoints import LOOKED_FOR, NO_CHECKPOINT, Checkpoint, Skipped, find_checkpoints
from evalsuite.tracking.evaluating import Evaluated, evaluate, pytest_arguments
from evalsuite.tracking.state import Done, add_done, current, options_key, read_done

CSV = "track.csv"
STATE_FOLDER = "state"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What was asked for."""

    folder: Path
    """Of the checkpoints."""
    out: Path
    """For runs, logs, plots, and what is remembered."""
    model: str | None
    """What the checkpoints are checkpoints of; None where each holds its own config and tokenizer."""
    paths: tuple[str, ...]
    """Benchmarks; the five evaluations where there is none."""
    options: tuple[str, ...]
    """pytest's, as given."""
    watched: bool = False
    """Whether it is looked again and again, so that a first checkpoint may be yet to come."""


def follow(plan: Plan, say: Say, *, given_up: frozenset[str] = frozenset(), again: bool = False) -> frozenset[str]:
    """Evaluate what is new, then write and show scores. An interrupt leaves what is done on disk, and shows it.

    Args:
        given_up: fingerprints of checkpoints that are left alone.
        again: say nothing where nothing is new.

    Returns:
        What is not well: the fingerprints of checkpoints, or the names of those whose files cannot be read.

    Raises:
        ConfigError: no checkpoint could be evaluated with these options; or there is none, none was evaluated before
            with them, and the folder is not watched.
        ResultsError: another process works in `plan.out`.
    """
    arguments = pytest_arguments(plan.paths, plan.options)
    key = options_key([f"--model={plan.model}", *arguments])
    _refuse_nothing(plan, key)
    lock = RunLock(plan.out / STATE_FOLDER)
    try:
        found = _look(plan, key, given_up)
        if again and not found.new:
            return frozenset()
        for line in found.said:
            say(line)
        try:
            return found.unreadable | _evaluate(plan, arguments, key, found.new, say)
        finally:
            show(plan, current(_done(plan), found.known, key, plan.out), say)
    finally:
        lock.release()


def _refuse_nothing(plan: Plan, key: str) -> None:
    """Before anything is made on disk or loaded: a folder that was meant otherwise is known at once."""
    if plan.watched:
        return
    checkpoints, skipped = find_checkpoints(plan.folder)
    if not checkpoints and not current(_done(plan), [], key, plan.out):
        instead = "; ".join(_left_aside(skipped)) or "nothing that looks like one"
        raise ConfigError(
            f"{plan.folder}: expected checkpoints to evaluate, found none ({instead}). A checkpoint is {LOOKED_FOR}. "
            "Give the folder that holds them, before other options, or wait for the first one by --watch SECONDS"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """What one look at the folder came to; checkpoints with their fingerprints."""

    known: list[tuple[Checkpoint, str]]
    new: list[tuple[Checkpoint, str]]
    unreadable: frozenset[str]
    said: list[str]


def _look(plan: Plan, key: str, given_up: frozenset[str]) -> _Found:
    checkpoints, skipped = find_checkpoints(plan.folder)
    said = list(_left_aside(skipped))
    known, unreadable = [], set()
    for checkpoint in checkpoints:
        try:
            known.append((checkpoint, _fingerprint(checkpoint, plan.model)))
        except EvalsuiteError as error:
            unreadable.add(checkpoint.name)
            said.append(f"{checkpoint.name}: FAILED: {error}")
    seen = {done.fingerprint for done in _done(plan) if done.options == key and (plan.out / done.run).is_dir()}
    new: dict[str, Checkpoint] = {}  # by fingerprint: a copy under another name is evaluated once
    for checkpoint, fingerprint in known:
        if fingerprint not in seen | given_up:
            new.setdefault(fingerprint, checkpoint)
    said.append(f"{len(known):,} checkpoints in {plan.folder}, {len(new):,} to evaluate")
    if not checkpoints:
        said.append(f"a checkpoint is {LOOKED_FOR}")
        if plan.watched:
            said.append("waiting for the first one, until Ctrl-C")
    return _Found(
        known=known,
        new=[(checkpoint, fingerprint) for fingerprint, checkpoint in new.items()],
        unreadable=frozenset(unreadable),
        said=said,
    )


def _left_aside(skipped: Sequence[Skipped]) -> Iterator[str]:
    """Folders that do not look like checkpoints share a line: a training run leaves many."""
    if others := [left.name for left in skipped if left.reason == NO_CHECKPOINT]:
        yield f"passed over, {NO_CHECKPOINT}: {some(others)}"
    yield from (f"{left.name}: skipped: {left.reason}" for left in skipped if left.reason != NO_CHECKPOINT)


def _evaluate(
    plan: Plan, arguments: Sequence[str], key: str, new: Sequence[tuple[Checkpoint, str]], say: Say
) -> frozenset[str]:
    """The fingerprints of those that failed; the rest went on."""
    failed = set()
    for number, (checkpoint, fingerprint) in enumerate(new, 1):
        say(f"{checkpoint.name} ({number} of {len(new)}) ...")
        result = evaluate(checkpoint.name, [*_which(checkpoint, plan.model), *arguments], plan.out)
        if not _noted(result, plan, checkpoint, fingerprint, key, say):
            failed.add(fingerprint)
    return frozenset(failed)


def _noted(result: Evaluated, plan: Plan, checkpoint: Checkpoint, fingerprint: str, key: str, say: Say) -> bool:
    """Remember a checkpoint unless it failed, so that the next call tries it again. Whether all is well."""
    if result.run is None:
        say(f"{checkpoint.name}: FAILED: {result.problem}")
        return False
    if _fingerprint(checkpoint, plan.model) != fingerprint:
        say(f"{checkpoint.name}: FAILED: its files changed while it was evaluated; the next call evaluates it again")
        return False
    done = Done(
        name=checkpoint.name,
        step=checkpoint.step,
        unit=checkpoint.unit,
        fingerprint=fingerprint,
        options=key,
        run=str(result.run.relative_to(plan.out)),
        seconds=round(result.seconds, 3),
    )
    add_done(plan.out / STATE_FOLDER, done)
    say(f"{checkpoint.name}: done in {result.seconds:.0f} s" + (f", but {result.problem}" if result.problem else ""))
    return not result.problem


def show(plan: Plan, done: Sequence[Done], say: Say) -> None:
    """Write CSV and plots, and print the table."""
    scores = scoring.read_scores(plan.out, done)
    if not scores:
        return
    (plan.out / CSV).write_text(scoring.csv_text(scores), encoding="utf-8")
    for name, svg in scoring.plots(scores):
        (plan.out / name).write_bytes(svg)
    say("\n" + "\n".join([*scoring.table_lines(scores), *scoring.warnings(scores)]))
    say(f"plots, {CSV} and runs: {plan.out}")


def _done(plan: Plan) -> list[Done]:
    return read_done(plan.out / STATE_FOLDER)


def _which(checkpoint: Checkpoint, model: str | None) -> list[str]:
    """The options that load it."""
    path = str(checkpoint.path)
    return ["--model", path] if model is None else ["--model", model, "--checkpoint", path]


def _fingerprint(checkpoint: Checkpoint, model: str | None) -> str:
    """Of what will be loaded, without loading it."""
    from evalsuite.config import InferenceConfig
    from evalsuite.loading import fingerprint
    from evalsuite.loading.sources import TOKENIZER_FILES, find_source, find_weights

    path = checkpoint.path
    if model is None:
        missing = [] if (path / "config.json").is_file() else ["no config.json"]
        if not any((path / name).is_file() for name in TOKENIZER_FILES):
            missing.append(f"no tokenizer ({' or '.join(TOKENIZER_FILES)})")
        if missing:
            raise ConfigError(f"{path}: found {' and '.join(missing)} beside the weights; name the model: --model")
    config = InferenceConfig(model=str(path)) if model is None else InferenceConfig(model=model, checkpoint=str(path))
    source = find_source(config)
    return fingerprint.of_files(
        source.config_dir / "config.json", find_weights(source.weights_dir).files, source.tokenizer_dir
    )
