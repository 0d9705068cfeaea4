"""The claims table as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.claims.catalogue import CATALOGUE, Claim, Part
from benchmarks.claims.records import Record, RecordError
from benchmarks.claims.verdicts import Figure, Verdict, together

MACHINES = {"h200": "the H200", "cpu": "the CPU"}
MARKER = "claims"
"""Of the table's place in README.md (`benchmarks.marked`)."""


def claims_table(records: Sequence[Record], claims: Sequence[Claim] = CATALOGUE) -> str:
    """One row a claim, then the reasons of those that were not kept.

    Raises:
        RecordError: a record for a machine is missing, lacks a benchmark that a claim rests on, or refutes a claim
            for which the catalogue gives no reason.
    """
    by_machine = {record.machine: record for record in records}
    if set(by_machine) != set(MACHINES) or len(records) != len(MACHINES):
        raise RecordError(f"expected one record each of {', '.join(MACHINES)}; got {[r.machine for r in records]}")
    rows = [
        ("claim", *(f"measured on {name}" for name in MACHINES.values()), "command: `pytest ...`"),
        ("---",) * (len(MACHINES) + 2),
        *(
            (claim.words, *(_cell(claim, by_machine[name]) for name in MACHINES), f"`{claim.tests}`")
            for claim in claims
        ),
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    reasons = [line for claim in claims for line in _reasons(claim, by_machine)]
    return "\n".join([*lines, "", "Why a claim was not kept, or not wholly:", *reasons] if reasons else lines) + "\n"


def verdict_on(claim: Claim, record: Record) -> Verdict:
    return together(part.bounds.judge(part.measure(record)) for part in claim.parts if part.bounds is not None)


def _cell(claim: Claim, record: Record) -> str:
    if record.machine in claim.not_on:
        return claim.not_on[record.machine]
    shown = "; ".join(_shown(part, part.measure(record)) + part.note(record) for part in claim.parts)
    return f"**{verdict_on(claim, record)}**: {shown}"


def _shown(part: Part, figure: Figure) -> str:
    more = ", more than promised" if part.bounds is not None and part.bounds.exceeded_by(figure) else ""
    return f"{part.what} {figure}{more}".strip()


def _reasons(claim: Claim, records: dict[str, Record]) -> Iterator[str]:
    """A line for each reason and the machines that it holds for."""
    holds: dict[str, list[str]] = {}
    for machine, record in records.items():
        if machine in claim.not_on or verdict_on(claim, record) in ("kept", "open"):
            continue
        if machine not in claim.reasons:
            raise RecordError(f"{claim.words!r} is {verdict_on(claim, record)} on {MACHINES[machine]}; give its reason")
        holds.setdefault(claim.reasons[machine], []).append(MACHINES[machine])
    for reason, names in holds.items():
        yield f"- {claim.words} ({' and '.join(names)}): {reason}."
