"""Tables of the committed records, one a kind: of peers, growth, labels, attention, decoding, compilation and others.

python -m benchmarks.peers.tables            print them
python -m benchmarks.peers.tables --write    and put them into README.md and benchmarks/records/README.md

A record's table stands where a document has markers of its name (`benchmarks.marked`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import judging
from benchmarks.attention_record import attention_rows, missing
from benchmarks.compiled_record import compiled_rows
from benchmarks.decoding.table import decoding_notes, decoding_rows
from benchmarks.labels_record import label_rows
from benchmarks.long_record import long_rows
from benchmarks.marked import names, placed
from benchmarks.peers import generation, growth
from benchmarks.peers.__main__ import rows as scoring_rows

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "records"
DOCUMENTS = (ROOT / "README.md", RECORDS / "README.md")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers.tables", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--write", action="store_true", help="put them into the documents")
    given = parser.parse_args(arguments)
    tables = all_tables()
    if given.write:
        for document in DOCUMENTS:
            document.write_text(with_tables(document.read_text(encoding="utf-8"), tables), encoding="utf-8")
    print("\n".join(tables.values()), end="")


def all_tables() -> dict[str, str]:
    """A record's name, without `.json`, to its table, for all records that have one."""
    return {
        file.stem: make(json.loads(file.read_text(encoding="utf-8")))
        for kind, make in KINDS.items()
        for file in sorted(RECORDS.glob(f"{kind}-*.json"))
    }


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """`text` with each table between the markers of its name, where it has such."""
    for name in names(text):
        if name in tables:
            text = placed(text, name, tables[name])
    return text


def generation_table(record: Mapping[str, Any]) -> str:
    """What was measured on what, and a row for each result, workload by workload."""
    first = record["first_token"]
    workloads = list(dict.fromkeys(entry["workload"] for entry in record["results"]))
    results = sorted(record["results"], key=lambda entry: workloads.index(entry["workload"]))
    lines = [
        f"{_measured_on(record)} First answer {first['first_seconds']:.0f} s after loading, compilation and capture "
        f"included, of a later call {first['later_seconds']:.2f} s. A workload is its prompts and "
        "the new tokens of each; x continuous is how many times as long a prompt takes as in continuous's first round.",
        "",
        *_markdown(generation.rows({**record, "results": results})),
        *(f"\n{failure}" for failure in generation.failures(record)),
    ]
    return "\n".join(lines) + "\n"


def scoring_table(record: Mapping[str, Any]) -> str:
    """The same of scoring, shots by shots, with the memory that each peer took."""
    results = sorted(record["results"], key=lambda entry: entry["shots"])
    header, *cells = scoring_rows({**record, "results": results})
    peaks = [(entry["details"] or {}).get("peak_bytes") for entry in results]
    table = [
        (*header, "peak GiB"),
        *((*row, _gib(peak)) for row, peak in zip(cells, peaks, strict=True)),
    ]
    packed = next(entry for entry in record["results"] if entry["peer"] == "packed")
    lines = [
        f"{_measured_on(record)} {record['arguments']['task'].upper()}; packed's first questions are answered "
        f"{packed['first_seconds']:.1f} s after loading, compilation included. x packed is how many times as long a "
        "question takes as in packed's first round of as many shots.",
        "",
        *_markdown(table),
    ]
    return "\n".join(lines) + "\n"


def attention_table(record: Mapping[str, Any]) -> str:
    """Each attention by length, as `benchmarks.attention_record` trimmed a run, and what has no row."""
    warm = all(case["one_off_seconds"] for case in record["cases"].values())
    lines = [
        f"{_setting(record['versions'], record['model'], record['dtype'])}, one document at a time, "
        f"{'after a warm-up' if warm else 'without a warm-up'}; verdicts beside sdpa, and of sdpa beside eager.",
        "",
        *_markdown(attention_rows(record)),
        *(f"\n{line}" for line in missing(record)),
    ]
    return "\n".join(lines) + "\n"


def long_table(record: Mapping[str, Any]) -> str:
    """Long contexts by cache format, as `benchmarks.long_record` trimmed runs."""
    setting = _setting(record["versions"], record["model"], record["dtype"])
    return "\n".join([f"{setting}, by `continuous`.", "", *_markdown(long_rows(record))]) + "\n"


def compiled_table(record: Mapping[str, Any]) -> str:
    """`--compile` for generation, as `benchmarks.compiled_record` trimmed a run."""
    setting = _setting(record["versions"], record["model"], record["dtype"])
    return "\n".join([f"{setting}, by `padded`.", "", *_markdown(compiled_rows(record))]) + "\n"


def decoding_table(record: Mapping[str, Any]) -> str:
    """Attention in a step of decoding by library, and what has no row."""
    arguments = record["arguments"]
    lines = [
        f"{_setting(record['versions'], arguments['model'], arguments['dtype'])}; one layer.",
        "",
        *_markdown(decoding_rows(record)),
        *(f"\n{note}" for note in decoding_notes(record)),
    ]
    return "\n".join(lines) + "\n"


def judging_table(record: Mapping[str, Any]) -> str:
    """What a local judge takes beside answering."""
    arguments = record["arguments"]
    setting = _setting(record["versions"], arguments["model"], arguments["dtype"])
    lines = [f"{setting}. {arguments['task']}, judged by {arguments['judge'] or 'the same model'}."]
    return "\n".join([*lines, "", *_markdown(judging.rows(record))]) + "\n"


def growth_table(record: Mapping[str, Any]) -> str:
    """A question's time, as the number of questions and of shots grows."""
    setting = _setting(record["versions"], record["model"], record["dtype"])
    return "\n".join([f"{setting}, by `packed`.", "", *_markdown(growth.rows(record["results"]))]) + "\n"


def labels_table(record: Mapping[str, Any]) -> str:
    """Labels beside the unbatched reference's, as `benchmarks.labels_record` trimmed runs."""
    setting = _setting(record["versions"], record["model"], record["dtype"])
    return "\n".join([f"{setting}. Margins and noise in nats.", "", *_markdown(label_rows(record))]) + "\n"


def _measured_on(record: Mapping[str, Any]) -> str:
    rates = sorted({f"{ceiling['flops_per_second'] / 1e12:.3g}" for ceiling in record["ceilings"]}, key=float)
    between = rates[0] if len(rates) == 1 else f"{rates[0]} to {rates[-1]}"
    arguments = record["arguments"]
    setting = _setting(record["versions"], arguments["model"], arguments["dtype"])
    return f"{setting}; matrix products at {between} TFLOP/s."


def _setting(versions: Mapping[str, str], model: str, dtype: str) -> str:
    return (
        f"{versions.get('device_name', versions['device'])}, `{model}` in {dtype}, torch {versions['torch']}, "
        f"transformers {versions['transformers']}"
    )


def _markdown(table: Sequence[Sequence[str]]) -> list[str]:
    header, *cells = table
    return [f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *cells)]


def _gib(size: int | None) -> str:
    return "-" if size is None else f"{size / 2**30:.1f}"


KINDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "generation": generation_table,
    "scoring": scoring_table,
    "attention": attention_table,
    "growth": growth_table,
    "judging": judging_table,
    "long": long_table,
    "compiled": compiled_table,
    "decoding": decoding_table,
    "labels": labels_table,
}
"""What the names of records begin with -> what makes their tables."""


if __name__ == "__main__":
    main()
