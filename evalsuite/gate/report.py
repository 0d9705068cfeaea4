"""A gate's result for the terminal, as Markdown for a pull request, and as JUnit XML for a CI server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from evalsuite.errors import ConfigError
from evalsuite.gate.findings import Finding, GateResult, short_names
from evalsuite.harness.table import aligned

HEADERS = ("case", "what", "expected", "got", "")
THE_RUN = "(the run)"
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold in any form: https://www.w3.org/TR/xml/#charsets"""


def result_lines(result: GateResult) -> list[str]:
    """One table of what makes it red, the questions whose answers changed, and what was not compared."""
    names = short_names(result.cases())
    lines = [headline(result)]
    if result.findings:
        lines += ["", *aligned([HEADERS, *(_row(finding, names) for finding in _sorted(result.findings))])]
    for finding in result.findings:
        if finding.details:
            lines += ["", f"{names.get(finding.case, finding.case)}: {finding.note}", *finding.details]
    return [*lines, *([""] if result.findings else []), *_notes(result, names)]


def headline(result: GateResult) -> str:
    """`RED: 3 differences; 23 cases, 391 facts compared with benchmarks/expected.json, nano on sample, ...`."""
    count = len(result.findings)
    colour = f"RED: {count} difference{'s' * (count != 1)}; " if result.red else "green: "
    cases = f"{len(result.compared)} case{'s' * (len(result.compared) != 1)}"
    return f"{colour}{cases}, {result.facts:,} facts compared with {result.against}"


def markdown(result: GateResult) -> str:
    """For a step summary or a comment."""
    names = short_names(result.cases())
    lines = ["## evalsuite gate", "", _escaped(headline(result)), ""]
    if result.findings:
        rows = [_row(finding, names) for finding in _sorted(result.findings)]
        lines += [
            _markdown_row(HEADERS),
            _markdown_row(["---"] * len(HEADERS)),
            *map(_markdown_row, map(_cells, rows)),
            "",
        ]
    for finding in result.findings:
        if finding.details:
            lines += [f"**{_escaped(names.get(finding.case, finding.case))}**: {_escaped(finding.note)}", ""]
            lines += [*(f"    {line}" for line in _one_line_each(finding.details)), ""]
    lines += [f"- {_escaped(note)}" for note in _notes(result, names)]
    return "\n".join(lines).rstrip() + "\n"


def junit(result: GateResult) -> str:
    """One test case a case, and one for the run as a whole, in the form that CI servers read (the Ant schema)."""
    cases = result.cases()
    suites = ElementTree.Element("testsuites")
    failed = sum(bool(result.of_case(case)) for case in ("", *cases))
    skipped = [case for case in cases if case in result.not_compared and not result.of_case(case)]
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name="evalsuite gate",
        tests=str(len(cases) + 1),
        failures=str(failed),
        errors="0",
        skipped=str(len(skipped)),
        time="0",
    )
    for case in ("", *cases):
        file, _, name = case.rpartition("::")
        element = ElementTree.SubElement(
            suite, "testcase", classname=_xml(file or "gate"), name=_xml(name or "the run"), time="0"
        )
        for finding in result.of_case(case):
            failure = ElementTree.SubElement(
                element, "failure", type=_xml(finding.what), message=_xml(sentence(finding))
            )
            failure.text = _xml("\n".join([sentence(finding), *finding.details]))
        if case in skipped:
            ElementTree.SubElement(element, "skipped", message=_xml(result.not_compared[case]))
    out = ElementTree.SubElement(suite, "system-out")
    out.text = _xml("\n".join(result_lines(result)))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def sentence(finding: Finding) -> str:
    note = f" ({finding.note})" if finding.note else ""
    return f"{finding.what}: expected {finding.expected}, got {finding.got}{note}"


def write_report(path: Path, result: GateResult) -> None:
    """By the file's suffix. Raises `ConfigError` where it cannot be written."""
    text = junit(result) if path.suffix == ".xml" else markdown(result)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"--gate-report {path}: expected to write it; {error.strerror or error}") from error


def _notes(result: GateResult, names: dict[str, str]) -> list[str]:
    skipped = [f"{names[case]}: not compared: {why}" for case, why in sorted(result.not_compared.items())]
    notes = list(result.notes)
    for case, name in names.items():  # a note begins with its case
        notes = [name + note.removeprefix(case) if note.startswith(case) else note for note in notes]
    return [*notes, *skipped]


def _sorted(findings: Sequence[Finding]) -> list[Finding]:
    """The run's own first, then by case, in the order found."""
    return sorted(findings, key=lambda finding: finding.case)


def _row(finding: Finding, names: dict[str, str]) -> tuple[str, ...]:
    return names.get(finding.case, THE_RUN), finding.what, finding.expected, finding.got, finding.note


def _cells(row: Sequence[str]) -> list[str]:
    return [_escaped(cell) for cell in row]


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Neither Markdown nor HTML, and on one line: names and reasons may hold anything."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>|#~!])", r"\\\1", flat.replace("&", "&amp;"))


def _one_line_each(lines: Sequence[str]) -> list[str]:
    return [line.replace("\n", " ").replace("\r", " ") for line in lines]


def _xml(text: str) -> str:
    return _NO_XML.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
