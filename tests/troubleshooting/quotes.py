"""The messages that the README quotes under "Troubleshooting", and how one is compared with what comes out.

In a block of code each line is a message; a line that is indented goes on with the one before. `...` stands for
anything within a line.
"""

from __future__ import annotations

import re

from tests.plugin.conftest import ROOT

_SECTION = re.compile(r"^## Troubleshooting\n(.*?)^## ", re.DOTALL | re.MULTILINE)
_SYMPTOM = re.compile(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def quoted() -> dict[str, list[str]]:
    """Symptom to its messages, in the README's order."""
    section = _SECTION.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert section, "README.md has no section Troubleshooting"
    return {title: _messages("".join(_BLOCK.findall(text))) for title, text in _SYMPTOM.findall(section.group(1))}


def says(printed: str, message: str) -> bool:
    """Whether a whole line of `printed` is `message`."""
    pattern = ".*".join(re.escape(part) for part in message.split("..."))
    return any(re.fullmatch(pattern, line.strip()) for line in printed.splitlines())


def _messages(blocks: str) -> list[str]:
    return re.sub(r"\n +", " ", blocks).splitlines()
