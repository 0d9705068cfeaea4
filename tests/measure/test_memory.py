import sys

import pytest

from evalsuite.measure import memory
from evalsuite.measure.memory import MemoryMeter

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset its high-water mark")
def test_the_peak_includes_what_was_given_back_and_a_reset_forgets_it():
    meter = MemoryMeter("cpu")
    meter.reset()
    if not meter._mark_was_reset:
        pytest.skip("this kernel does not let a process reset its high-water mark")
    before = meter.peak()
    assert before.kind == "resident"
    block = bytearray(b"x") * (64 * MIB)
    del block
    assert meter.peak().bytes - before.bytes > 48 * MIB
    meter.reset()
    assert meter.peak().bytes - before.bytes < 48 * MIB


def test_without_a_resettable_mark_the_peak_says_that_it_is_the_process_s(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    meter = MemoryMeter("cpu")
    meter.reset()
    peak = meter.peak()
    assert peak.kind == "resident_since_start"
    assert peak.bytes > MIB
