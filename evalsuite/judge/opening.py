"""From where a judge is to a judge that can be asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.errors import ConfigError
from evalsuite.judge.endpoint import Endpoint, served_models
from evalsuite.judge.grading import AskingJudge
from evalsuite.judge.secret import Secret
from evalsuite.judge.types import Judge

if TYPE_CHECKING:
    from evalsuite.pool import ModelPool

LOCAL_PREFIX = "local:"
MODEL_VARIABLE = "EVALSUITE_JUDGE_MODEL"
KEY_VARIABLES = ("EVALSUITE_JUDGE_API_KEY", "OPENAI_API_KEY")
TIMEOUT_S = 60.0
CONCURRENCY = 16
RETRIES = 4


def open_judge(
    where: str,
    *,
    model: str | None = None,
    api_key: str | Secret | None = None,
    grades: Path | None = None,
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
        api_key: default EVALSUITE_JUDGE_API_KEY, then OPENAI_API_KEY; without any, the server must ask for none.
        grades: folder where grades are kept and reused; None keeps them in memory, for this judge alone.
        timeout_s: how long a server may be silent in one try.
        concurrency: requests at once.
        retries: tries after the first.
        pool: where a local judge's model is loaded; None for a pool of its own.
        config: how a local judge is loaded; its `model` is replaced by the one of `where`.
        execution: how a local judge's batches are cut.

    Raises:
        ConfigError: an address or a setting that cannot be meant; a server of several models, none of them named.
        JudgeError: no server at the address, or it refuses the key.
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
    base_url, key = where.rstrip("/"), _key(api_key)
    served = served_models(base_url, key, timeout_s=timeout_s)
    asker = Endpoint(
        base_url=base_url,
        model=model or os.environ.get(MODEL_VARIABLE) or _only(served, base_url),
        key=key,
        timeout_s=timeout_s,
        retries=retries,
        concurrency=concurrency,
    )
    return AskingJudge(asker, grades)


def check_where(where: str) -> None:
    """Raises `ConfigError` for what is no place of a judge. The message does not repeat a password."""
    if where.startswith(LOCAL_PREFIX) and where != LOCAL_PREFIX:
        return
    url = urlsplit(where)
    if "@" in url.netloc:
        raise ConfigError(f"judge: expected an address without a user; give the key by {KEY_VARIABLES[0]}")
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ConfigError(f"judge: expected http://host:port/v1 or local:MODEL, got {where!r}")


def _open_local(
    model: str,
    grades: Path | None,
    pool: ModelPool | None,
    config: InferenceConfig | None,
    execution: ExecutionOptions | None,
) -> Judge:
    from evalsuite.judge.local import LocalModel
    from evalsuite.pool import ModelPool

    how = (config or InferenceConfig()).replace(model=model, checkpoint=None)
    return AskingJudge(LocalModel(how, pool or ModelPool(), execution or ExecutionOptions()), grades)


def _key(given: str | Secret | None) -> Secret:
    if isinstance(given, Secret):
        return given
    found = given or next((value for name in KEY_VARIABLES if (value := os.environ.get(name))), "")
    return Secret(found)


def _only(served: list[str] | None, base_url: str) -> str:
    if served is not None and len(served) == 1:
        return served[0]
    what = "gives no list of its models" if not served else f"serves {len(served)} models ({', '.join(served[:5])})"
    raise ConfigError(f"judge: {base_url} {what}; name one with --judge-model or {MODEL_VARIABLE}")
