"""vLLM in a process of its own: `python -m benchmarks.peers.vllm_process IN.json OUT.json`.

IN: {"model": directory with a config.json, "load_format": "dummy" or "auto", "max_model_len": n, "sets": [[QUESTION or
PROMPT, ...], ...]}. OUT: the seconds of each set, after a warm-up, the labels of questions, and how vLLM was set; an
environment variable that the caller has set stays as it is.

QUESTION: {"context": [ids], "letters": [ids]}. One request a question, prefix caching, one new token among the letters:
it gives labels and no log-probabilities that could be compared. PROMPT: {"context": [ids], "new_tokens": n}, greedy,
and not ended by the end of sequence.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "WARNING",
    # The engine in this process: what it asks of the host is then done in turns with the caller's own work.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "HF_HUB_OFFLINE": "1",
}
for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
MEMORY_SHARE = 0.85
WARM_UP_PROMPTS, WARM_UP_TOKENS = 64, 300


def main(asked: Path, answered: Path) -> None:
    given = json.loads(asked.read_text())
    start = time.perf_counter()
    from vllm import LLM, SamplingParams, __version__  # type: ignore[import-not-found,unused-ignore]

    engine = LLM(
        model=given["model"],
        load_format=given["load_format"],
        skip_tokenizer_init=True,
        enable_prefix_caching=True,
        max_model_len=given["max_model_len"],
        gpu_memory_utilization=MEMORY_SHARE,
        dtype="bfloat16",
    )
    rng = random.Random(0)
    some = [[rng.randrange(10, 10_000) for _ in range(WARM_UP_TOKENS)] for _ in range(WARM_UP_PROMPTS)]
    engine.generate(
        [{"prompt_token_ids": prompt} for prompt in some],
        SamplingParams(temperature=0, max_tokens=4, ignore_eos=True, detokenize=False),
        use_tqdm=False,
    )
    ready = time.perf_counter() - start
    sets = [
        (_generate if "new_tokens" in requests[0] else _answer)(engine, SamplingParams, requests)
        for requests in given["sets"]
    ]
    settings = {
        **{name: os.environ[name] for name in ENVIRONMENT},
        "gpu_memory_utilization": MEMORY_SHARE,
        "max_model_len": given["max_model_len"],
        "enable_prefix_caching": True,
    }
    answered.write_text(
        json.dumps({"version": __version__, "ready_seconds": ready, "settings": settings, "sets": sets})
    )


def _answer(engine: Any, sampling: Any, questions: list[dict[str, list[int]]]) -> dict[str, Any]:
    engine.reset_prefix_cache()
    parameters = [
        sampling(
            temperature=0,
            max_tokens=1,
            logprobs=len(question["letters"]),
            allowed_token_ids=question["letters"],
            detokenize=False,
        )
        for question in questions
    ]
    start = time.perf_counter()
    outputs = engine.generate(
        [{"prompt_token_ids": question["context"]} for question in questions], parameters, use_tqdm=False
    )
    seconds = time.perf_counter() - start
    said = [output.outputs[0].token_ids[0] for output in outputs]
    labels = [question["letters"].index(token) for question, token in zip(questions, said, strict=True)]
    return {"seconds": seconds, "labels": labels}


def _generate(engine: Any, sampling: Any, prompts: list[dict[str, Any]]) -> dict[str, Any]:
    engine.reset_prefix_cache()
    parameters = [
        sampling(temperature=0, max_tokens=prompt["new_tokens"], ignore_eos=True, detokenize=False)
        for prompt in prompts
    ]
    start = time.perf_counter()
    engine.generate([{"prompt_token_ids": prompt["context"]} for prompt in prompts], parameters, use_tqdm=False)
    return {"seconds": time.perf_counter() - start, "labels": []}


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
