"""How each symptom that the README names is brought about: its title to one function a message, in the same order."""

from __future__ import annotations

import functools
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch

from evalsuite import capability, faithful, scoring
from evalsuite.harness import running, session
from evalsuite.judge.types import JudgeGrade, JudgeQuestion
from evalsuite.loading import memory
from evalsuite.tasks import reading
from evalsuite.types import ChoiceScores
from tests.tasks.samples import write_json, write_jsonl, write_mmlu
from tests.troubleshooting.conftest import Lab

Provocation = Callable[[Lab], str]

TURING, HOPPER = (7, 5), (9, 0)


def _pretend_gpu(lab: Lab, compute_capability: tuple[int, int]) -> None:
    """The model runs on the CPU, while the loader is told what a GPU of this kind could do."""
    dtype_reason, attention_reason = capability.dtype_reason, capability.attention_reason
    lab.patch.setattr(torch.cuda, "get_device_capability", lambda device: compute_capability)
    lab.patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: compute_capability >= (8, 0))
    lab.patch.setattr(torch.cuda, "device", lambda device: torch.device("cpu"))
    lab.patch.setattr(capability, "_importable", lambda name: False)
    capability._flash_reason.cache_clear()
    lab.patch.setattr(capability, "dtype_reason", lambda dtype, device: dtype_reason(dtype, "cuda:0"))
    lab.patch.setattr(
        capability,
        "attention_reason",
        lambda name, device, dtype, *, head_dim: attention_reason(name, "cuda:0", "float16", head_dim=head_dim),
    )


def flash_is_not_installed(lab: Lab) -> str:
    _pretend_gpu(lab, HOPPER)
    return lab.run("--attention=flash_attention_2", "--strategy=padded")


def flash_needs_a_newer_gpu(lab: Lab) -> str:
    _pretend_gpu(lab, TURING)
    return lab.run("--attention=flash_attention_2", "--strategy=padded")


def flash_is_refused_where_strict(lab: Lab) -> str:
    _pretend_gpu(lab, HOPPER)
    return lab.run("--attention=flash_attention_2", "--strategy=padded", "--strict-config")


def out_of_memory_above(lab: Lab, tokens: int) -> None:
    """The model's forward fails like a full device on inputs of more than `tokens`."""
    from transformers import Qwen3ForCausalLM

    real = Qwen3ForCausalLM.forward

    @functools.wraps(real)  # the runner reads its signature
    def forward(self: Any, input_ids: torch.Tensor, **inputs: Any) -> Any:
        if input_ids.numel() > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(self, input_ids=input_ids, **inputs)

    lab.patch.setattr(Qwen3ForCausalLM, "forward", forward)


def a_batch_is_too_large(lab: Lab) -> str:
    out_of_memory_above(lab, 200)
    return lab.run("--strategy=padded")


def a_question_is_too_large(lab: Lab) -> str:
    out_of_memory_above(lab, 20)  # the loader's trial takes 8
    return lab.run("--strategy=padded")


def a_model_is_too_large(lab: Lab) -> str:
    lab.patch.setattr(memory, "free_bytes", lambda device: 1000)
    return lab.run("--strategy=padded")


def the_compiler_fails(lab: Lab) -> str:
    def fail(*_: object, **__: object) -> None:
        raise torch._dynamo.exc.TorchDynamoException("InductorError: no kernel for aten.oddity\nand a long trace")

    lab.patch.setattr(capability, "compile_reason", lambda device: None)
    lab.patch.setattr(torch, "compile", lambda forward, **settings: fail)  # it fails when it is first called
    return lab.run("--compile", "--strategy=padded")


def no_compiler_is_installed(lab: Lab) -> str:
    lab.patch.setattr(shutil, "which", lambda name: None)
    return lab.run("--compile", "--strategy=padded")


def the_first_run_is_slow(lab: Lab) -> str:
    real, runs = running._seconds, []

    def seconds(*arguments: Any) -> float:
        runs.append(real(*arguments))
        return runs[-1] + (42.0 if len(runs) == 1 else 0.0)

    lab.patch.setattr(running, "_seconds", seconds)
    return lab.run("--strategy=padded", timed=True)


def _answers(lab: Lab, strategy: str, logprobs: Sequence[float]) -> None:
    """Every question is answered with these log-probabilities, after the model has run."""
    real = scoring.STRATEGIES[strategy]

    def score(*arguments: Any) -> Iterator[ChoiceScores]:
        for outcome in real(*arguments):
            yield ChoiceScores(id=outcome.id, logprobs=tuple(logprobs))

    lab.patch.setitem(scoring.STRATEGIES, strategy, score)  # type: ignore[arg-type]


def rounding_decides(lab: Lab) -> str:
    lab.patch.setattr(faithful, "reference_noise", lambda differences: 0.03)
    _answers(lab, "unbatched", (-1.0, -1.01, -5.0, -5.0))
    _answers(lab, "padded", (-1.01, -1.0, -5.0, -5.0))
    return lab.run("--strategy=padded")


def a_path_computes_something_else(lab: Lab) -> str:
    _answers(lab, "unbatched", (-1.0, -2.0, -5.0, -5.0))
    _answers(lab, "padded", (-2.0, -1.0, -5.0, -5.0))
    return lab.run("--strategy=padded")


def _no_gpu(lab: Lab, *, built_for: str | None) -> None:
    lab.patch.setattr(torch.cuda, "is_available", lambda: False)
    lab.patch.setattr(torch.backends.mps, "is_available", lambda: False)
    lab.patch.setattr(torch.version, "cuda", built_for)


def a_driver_is_missing(lab: Lab) -> str:
    _no_gpu(lab, built_for="13.0")
    return lab.run("--device=cuda", "--strategy=padded")


def torch_is_built_without_cuda(lab: Lab) -> str:
    _no_gpu(lab, built_for=None)
    return lab.run("--device=cuda", "--strategy=padded")


def a_gpu_is_required(lab: Lab) -> str:
    _no_gpu(lab, built_for="13.0")
    return lab.run("--require=cuda")


def bfloat16_needs_a_newer_gpu(lab: Lab) -> str:
    _pretend_gpu(lab, TURING)
    return lab.run("--dtype=bfloat16", "--strategy=padded")


def compiling_needs_a_newer_gpu(lab: Lab) -> str:
    lab.patch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    lab.patch.setattr(capability, "_importable", lambda name: True)
    lab.patch.setattr(shutil, "which", lambda name: name)
    real = capability.compile_reason
    lab.patch.setattr(capability, "compile_reason", lambda device: real("cuda:0"))
    return lab.run("--compile", "--strategy=padded")


def a_folder_is_missing(lab: Lab) -> str:
    return lab.run("--data=gone", "--strategy=padded")


def a_file_is_missing(lab: Lab) -> str:
    lab.benchmark('def test_vmlu(evaluate_case): evaluate_case("vmlu", "padded")')
    lab.path.joinpath("data", "vmlu").mkdir()
    lab.path.joinpath("data", "vmlu", "dev.json").write_text("[]")
    return lab.run()


def a_column_is_missing(lab: Lab) -> str:
    write_mmlu(lab.path / "data", "test", "law", [("one?", "a", "b", "c", "d", "A"), ("two?", "a", "b", "c", "A")])
    return lab.run("--strategy=padded")


def a_field_is_missing(lab: Lab) -> str:
    lab.benchmark('def test_vmlu(evaluate_case): evaluate_case("vmlu", "padded")')
    write_jsonl(lab.path / "data" / "vmlu" / "dev.jsonl", [{"id": "01-0001", "question": "?", "answer": "A"}])
    return lab.run()


def the_hub_cannot_be_reached(lab: Lab) -> str:
    import datasets

    def load_dataset(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach 'cais/mmlu' on the Hub")

    lab.patch.setattr(reading, "why_unreached", lambda: "Name or service not known")
    lab.patch.setattr(datasets, "load_dataset", load_dataset)
    return lab.run("--data=hub", "--strategy=padded")


def _something_to_judge(lab: Lab) -> None:
    lab.benchmark('def test_viquad(evaluate_case): evaluate_case("viquad", "padded")')
    questions = [{"id": "q1", "question": "Ai?", "answers": [{"text": "An", "answer_start": 0}]}]
    document = {"data": [{"title": "", "paragraphs": [{"context": "An đi học.", "qas": questions}]}]}
    write_json(lab.path / "data" / "viquad" / "dev.json", document)


def the_judge_is_not_there(lab: Lab) -> str:
    _something_to_judge(lab)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        return lab.run("--judge", f"http://127.0.0.1:{unused.getsockname()[1]}/v1")


class Dying:
    """A judge that answers nothing."""

    name = "dying"

    def grade(self, questions: Iterable[JudgeQuestion], on_grade: Any = None) -> dict[str, JudgeGrade]:
        problem = "no connection: All connection attempts failed"
        return {question.id: JudgeGrade(id=question.id, value=None, problem=problem) for question in questions}


def the_judge_dies(lab: Lab) -> str:
    lab.patch.setattr(session, "open_judge", lambda *_, **__: Dying())
    _something_to_judge(lab)
    return lab.run("--judge=http://127.0.0.1:1/v1")


PROVOCATIONS: Mapping[str, Sequence[Provocation]] = {
    "FlashAttention is not available": (flash_is_not_installed, flash_needs_a_newer_gpu, flash_is_refused_where_strict),
    "Out of memory": (a_batch_is_too_large, a_question_is_too_large, a_model_is_too_large),
    "torch.compile fails, or the first run is slow": (
        the_compiler_fails,
        no_compiler_is_installed,
        compiling_needs_a_newer_gpu,
        the_first_run_is_slow,
    ),
    "Batched and unbatched answers differ": (rounding_decides, a_path_computes_something_else),
    "No GPU, or one that is too old": (
        torch_is_built_without_cuda,
        a_driver_is_missing,
        a_gpu_is_required,
        bfloat16_needs_a_newer_gpu,
    ),
    "Data is missing, or in another format": (
        a_folder_is_missing,
        a_file_is_missing,
        a_column_is_missing,
        a_field_is_missing,
        the_hub_cannot_be_reached,
    ),
    "The judge cannot be reached": (the_judge_is_not_there, the_judge_dies),
}
