"""What was read is named by the hub's commit, so that a run says which revision of the data it saw."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from evalsuite.tasks.reading import hub_revision

COMMIT = "c30699e8356da336a370243923dbaf21066bb9fe"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([f"/home/x/.cache/huggingface/datasets/cais___mmlu/all/0.0.0/{COMMIT}/mmlu-test.arrow"], f"@{COMMIT}"),
        (["/home/x/.cache/huggingface/datasets/json/default-1a2b3c4d5e6f7a8b/0.0.0/json-train.arrow"], ""),
        ([], ""),
    ],
)
def test_a_table_s_revision_is_the_commit_that_datasets_kept_it_under(files: list[str], expected: str) -> None:
    assert hub_revision(SimpleNamespace(cache_files=[{"filename": file} for file in files])) == expected


def test_a_table_without_files_has_none() -> None:
    assert hub_revision([{"row": 1}]) == ""
