"""From where a judge is to a judge that can be asked."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.errors import ConfigError, JudgeError
from evalsuite.judge.address import KEY_VARIABLE, LOCAL_PREFIX, check_where, is_private
from evalsuite.judge.endpoint import Endpoint, Served, served_models
from evalsuite.judge.grading import AskingJudge
from evalsuite.judge.secret import Secret
from evalsuite.judge.types import Judge

if TYPE_CHECKING:
    from evalsuite.pool import ModelPool

MODEL_VARIABLE = "EVALSUITE_JUDGE_MODEL"
OPENAI_KEY_VARIABLE = "OPENAI_API_KEY"
KEY_VARIABLES = (KEY_VARIABLE, OPENAI_KEY_VARIABLE)
TIMEOUT_S = 60.0
CONCURRENCY = 16
RETRIES = 4
SHOWN_MODELS = 10

logger = logging.getLogger("evalsuite")


def open_judge(
    where: str,
    *,
    model: str | None = None,
    api_key: str | Secret | None = None,
    grades: str | os.PathLike[str] | None = None,
    timeout_s: float = TIMEOUT_S,
    concurrency: int = CONCURRENCY,
    retries: int = RETRIES,
    pool: ModelPool | None = None,
    config: InferenceConfig | None = None,
    execution: ExecutionOptions | None = None,
) -> Judge:
    """A judge that has been found to be there.

    Args:
        where: `http(s)://host:port/v1`, an OpenAI-compatible server, or `local:MODEL`, any model that the loader takes.
        model: which of the server's models; default EVALSUITE_JUDGE_MODEL, else the only one that it serves.
        api_key: None for EVALSUITE_JUDGE_API_KEY, else OPENAI_API_KEY, which was set for another server: it is sent
            over https or to this machine alone. "" sends none.
        grades: folder where grades are kept and reused; None keeps them in memory, for this judge alone.
        timeout_s: how long a server may be silent in one try.
        concurrency: requests at once.
        retries: tries after the first.
        pool: where a local judge's model is loaded; None for a pool of its own.
        config: how a local judge is loaded; its `model` is replaced by the one of `where`.
        execution: how a local judge's batches are cut.

    Raises:
        ConfigError: an address, a key or a setting that cannot be meant; a server of several models, none of them
            named, or of other models than the one named; grades that cannot be kept where they should.
        JudgeError: no server at the address, it refuses the key, or it is not ready to say which models it has.
        ModelLoadError: no such local model.
    """
    check_where(where)
    if where.startswith(LOCAL_PREFIX):
        if model:
            raise ConfigError(f"judge: {where} names its model already; leave out {model!r}")
        return _open_local(where.removeprefix(LOCAL_PREFIX), grades, pool, config, execution)
    if timeout_s <= 0 or concurrency < 1 or retries < 0:
        raise ConfigError(
            "judge: expected a timeout above 0, at least 1 request at once and 0 or more retries; "
            f"got {timeout_s:g}, {concurrency}, {retries}"
        )
    base_url = where.rstrip("/")
    key = _key(api_key, base_url)
    served = served_models(base_url, key, timeout_s=timeout_s)
    asker = Endpoint(
        base_url=base_url,
        model=_model(model or os.environ.get(MODEL_VARIABLE), served, base_url),
        key=key,
        timeout_s=timeout_s,
        retries=retries,
        concurrency=concurrency,
    )
    return AskingJudge(asker, _folder(grades)).ready()


def _open_local(
    model: str,
    grades: str | os.PathLike[str] | None,
    pool: ModelPool | None,
    config: InferenceConfig | None,
    execution: ExecutionOptions | None,
) -> Judge:
    from evalsuite.judge.local import LocalModel
    from evalsuite.pool import ModelPool

    how = (config or InferenceConfig()).replace(model=model, checkpoint=None)
    asker = LocalModel(how, pool or ModelPool(), execution or ExecutionOptions())
    return AskingJudge(asker, _folder(grades)).ready()


def _folder(grades: str | os.PathLike[str] | None) -> Path | None:
    return None if grades is None else Path(grades)


def _key(given: str | Secret | None, base_url: str) -> Secret:
    """The key for this server. Raises `ConfigError` for one that no header can carry."""
    if given is not None:
        return (given if isinstance(given, Secret) else Secret(given)).check("--judge-api-key (api_key)")
    if own := Secret(os.environ.get(KEY_VARIABLE, "")):
        return own.check(KEY_VARIABLE)
    if not (openai := Secret(os.environ.get(OPENAI_KEY_VARIABLE, ""))):
        return openai
    if is_private(base_url):
        return openai.check(OPENAI_KEY_VARIABLE)
    logger.info("judge: %s is not sent to %s, over plain http; %s is", OPENAI_KEY_VARIABLE, base_url, KEY_VARIABLE)
    return Secret("")


def _model(named: str | None, served: Served, base_url: str) -> str:
    """The model to ask: the one named, if the server has it as far as it says, or its only one."""
    how = f"--judge-model or {MODEL_VARIABLE}"
    count, names = len(served.models), _listed(served.models)
    if named:
        # Ollama lists `qwen3:latest` and takes `qwen3` for it.
        if served.models and not {named, f"{named}:latest"} & set(served.models):
            raise ConfigError(f"judge: {base_url} serves no model {named!r}, but {names}; correct {how}")
        return named
    if count == 1:
        return served.models[0]
    if served.not_ready:
        raise JudgeError(
            f"judge: {base_url} was asked for its models and answered {served.not_ready}. "
            f"It may be starting or busy: wait and try again, or name the model with {how}"
        )
    what = f"serves {count} models ({names})" if count else "gives no list of its models"
    raise ConfigError(f"judge: {base_url} {what}; name one with {how}")


def _listed(models: tuple[str, ...]) -> str:
    more = len(models) - SHOWN_MODELS
    return ", ".join(models[:SHOWN_MODELS]) + (f" and {more} more" if more > 0 else "")
