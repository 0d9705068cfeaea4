"""What a gate found, and whether that makes it red."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One difference between what was expected and what came: it makes the gate red."""

    case: str
    """The case's node id; empty for the run as a whole."""
    what: str
    """`tokens_computed`, `answers`, `speed-up`, `missing`, ..."""
    expected: str
    got: str
    note: str = ""
    """What it means, or what to do."""
    details: tuple[str, ...] = ()
    """Lines to show below the table, such as the questions that are answered otherwise."""


@dataclass(kw_only=True, slots=True)
class GateResult:
    """All that a gate has to say."""

    against: str
    """What the run was compared with."""
    findings: list[Finding] = field(default_factory=list)
    compared: list[str] = field(default_factory=list)
    """Cases of which at least one fact was compared."""
    facts: int = 0
    """How many facts were compared."""
    not_compared: dict[str, str] = field(default_factory=dict)
    """Case to the reason: skipped on this machine, outside of what was selected."""
    notes: list[str] = field(default_factory=list)

    @property
    def red(self) -> bool:
        return bool(self.findings)

    def cases(self) -> list[str]:
        """Every case that has anything to say, sorted."""
        found = {finding.case for finding in self.findings if finding.case}
        return sorted({*self.compared, *self.not_compared, *found})

    def of_case(self, case: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.case == case]


def short_names(cases: Iterable[str]) -> dict[str, str]:
    """Node id to the test's own name, or to the node id itself where two share a name."""
    names = {case: case.rsplit("::", 1)[-1] for case in cases}
    shared = [name for name in names.values()]
    return {case: name if shared.count(name) == 1 else case for case, name in names.items()}
