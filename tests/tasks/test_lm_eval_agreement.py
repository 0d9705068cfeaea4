"""MMLU's prompts are lm-evaluation-harness's, character for character: plain and chat, zero and five shots.

The harness's own task files are loaded and pointed at a local dataset in the hub's schema; no network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalsuite.tasks import DataSource, Prompting, get_task
from evalsuite.types import ChoiceRequest
from tests.tasks.samples import write_hub

SUBJECTS = ("abstract_algebra", "high_school_us_history", "us_foreign_policy")
ODD_QUESTIONS = (
    "  Leading and trailing blanks.\n",
    'Lines\nand "quotes" and {{ braces }}\\n\tand a tab',
    "",
    "U+0085\u0085inside, Vietnamese: nước",
)


def rows(subject: str, split: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "question": f"\n {split} {n} {ODD_QUESTIONS[n % len(ODD_QUESTIONS)]}",
            "subject": subject,
            "choices": [" spaced ", "None", "4", f"last {n}"],
            "answer": n % 4,
        }
        for n in range(count)
    ]


@pytest.fixture
def hub(tmp_path: Path, datasets_cache: Path) -> Path:
    by_subject = {s: {"test": rows(s, "test", 5), "dev": rows(s, "dev", 5)} for s in SUBJECTS}
    everything = {split: [row for s in SUBJECTS for row in by_subject[s][split]] for split in ("test", "dev")}
    write_hub(tmp_path / "hub", "cais/mmlu", {**by_subject, "all": everything})
    return tmp_path / "hub"


def harness_task(hub: Path, subject: str) -> Any:
    import lm_eval
    from lm_eval.api.task import ConfigurableTask

    folder = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    config = yaml.safe_load((folder / "_default_template_yaml").read_text())
    config |= yaml.safe_load((folder / f"mmlu_{subject}.yaml").read_text())
    del config["include"]
    config["dataset_path"] = str(hub / "cais" / "mmlu")
    return ConfigurableTask(config=config)


def harness_requests(hub: Path, subject: str, shots: int, template: Callable[..., str] | None) -> list[Any]:
    """(context, continuations) of each test question, as the harness would send them."""
    task = harness_task(hub, subject)
    task.set_config("num_fewshot", shots)
    chat = template is not None
    task.build_all_requests(
        limit=None,
        rank=0,
        world_size=1,
        fewshot_as_multiturn=chat,
        apply_chat_template=chat,
        chat_template=template,
    )
    by_question: dict[int, list[tuple[str, str]]] = {}
    for instance in task.instances:
        by_question.setdefault(instance.doc_id, []).append(instance.args)
    return [(pairs[0][0], tuple(continuation for _, continuation in pairs)) for _, pairs in sorted(by_question.items())]


def our_requests(hub: Path, prompting: Prompting) -> list[ChoiceRequest]:
    task = get_task("mmlu")
    data = task.read(DataSource(kind="hub", path=str(hub)), shots=prompting.shots)
    return [request for request in task.requests(data, prompting) if isinstance(request, ChoiceRequest)]


@pytest.mark.filterwarnings("default")  # lm_eval's own
@pytest.mark.parametrize("shots", [0, 5])
@pytest.mark.parametrize("chat", [False, True], ids=["plain", "chat"])
def test_prompts_agree_text_for_text(hub: Path, chat_tokenizer: Any, shots: int, chat: bool) -> None:
    def template(history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        # As HFLM.apply_chat_template with enable_thinking=False.
        return chat_tokenizer.apply_chat_template(
            history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            enable_thinking=False,
        )

    theirs = [r for s in SUBJECTS for r in harness_requests(hub, s, shots, template if chat else None)]
    prompting = Prompting(shots=shots, chat="on" if chat else "off", tokenizer=chat_tokenizer)
    ours = [(request.context, request.continuations) for request in our_requests(hub, prompting)]
    assert len(ours) == 15
    assert ours == theirs


@pytest.mark.filterwarnings("default")
def test_golds_agree(hub: Path) -> None:
    theirs = [doc["answer"] for s in SUBJECTS for doc in harness_task(hub, s).test_docs()]
    data = get_task("mmlu").read(DataSource(kind="hub", path=str(hub)))
    assert [e.choices.index(e.gold[0]) for e in data.examples if e.gold] == theirs


@pytest.mark.filterwarnings("default")
def test_the_opening_line_agrees_for_every_subject_of_the_harness() -> None:
    import lm_eval

    from evalsuite.tasks.mmlu import describe

    folder = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    configs = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("mmlu_*.yaml"))]
    assert len(configs) == 57
    for config in configs:
        assert describe(config["dataset_name"]) == config["description"]
