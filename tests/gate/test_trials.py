"""The trials' own book-keeping: what is planted is Python, is taken out again, and is counted by tier."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import gate_trials as trials
from evalsuite.gate.trees import Tree


def test_the_table_counts_red_runs_by_fault_and_tier() -> None:
    ran = [
        {"tier": trials.FIRST, "fault": "2x slower", "exit": 1, "load": 3.0},
        {"tier": trials.FIRST, "fault": trials.UNCHANGED, "exit": 0, "load": 1.0},
        {"tier": trials.FIRST, "fault": trials.UNCHANGED, "exit": 0, "load": 2.0},
        {"tier": trials.SECOND, "fault": "2x slower", "exit": 0, "load": 1.0},
    ]
    head, _, unchanged, slower, _, load = trials.table_lines(ran)
    assert head == "| | first tier: red | second tier: red |"
    assert unchanged == "| unchanged | 0 of 2 | not tried |"
    assert slower == "| 2x slower | 1 of 1 | 0 of 1 |"
    assert load.startswith("Load average from 1.0 to 3.0, median 2.0, ")


@pytest.mark.parametrize("fault", [*trials.SLOW_DOWNS.values(), trials._EXTRA_FORWARD, trials._MORE_PADDING])
def test_a_fault_is_valid_and_is_taken_out_again_whatever_happens(tmp_path: Path, fault: str) -> None:
    conftest = tmp_path / "conftest.py"
    conftest.write_text("honest = True")
    with pytest.raises(KeyboardInterrupt), trials.planted(Tree(name="base", path=tmp_path), fault):
        compile(conftest.read_text(), "conftest.py", "exec")
        assert fault in conftest.read_text()
        raise KeyboardInterrupt
    assert conftest.read_text() == "honest = True"
