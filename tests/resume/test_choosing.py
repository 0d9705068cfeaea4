"""Which run is gone on with where a summary cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalsuite.errors import ConfigError
from evalsuite.results import SUMMARY
from evalsuite.resume.choosing import LATEST, choose
from evalsuite.resume.folder import FOLDER

PROVENANCE = {"options": {"limit": 3}, "code": "abc"}


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    (run / FOLDER).mkdir(parents=True)
    (run / SUMMARY).write_text('{"cases": {', encoding="utf-8")
    return run


def test_a_run_whose_summary_is_damaged_goes_on_by_its_journal(damaged: Path) -> None:
    (damaged / FOLDER / "test_mmlu-packed.0123.jsonl").touch()
    run, said = choose(damaged.parent, str(damaged), PROVENANCE)
    assert run == damaged
    assert f"its damaged {SUMMARY} is made anew" in said


def test_without_a_journal_it_is_refused_and_so_is_a_folder_that_is_no_run(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is there, but damaged, and the run has no journal"):
        choose(damaged.parent, str(damaged), PROVENANCE)
    with pytest.raises(ConfigError, match=r"expected a run's folder, one with summary\.json in it"):
        choose(tmp_path, str(tmp_path / "other"), PROVENANCE)


def test_the_latest_run_is_none_whose_summary_is_damaged(damaged: Path) -> None:
    (damaged / FOLDER / "test_mmlu-packed.0123.jsonl").touch()
    assert choose(damaged.parent, LATEST, PROVENANCE)[0] is None
