"""What is on disk stays there: torn lines, full disks, folders that cannot be written to, and two runs at once."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import ResultsError
from evalsuite.results import ResultsRun
from evalsuite.resume import storage
from evalsuite.resume.lock import RunLock
from evalsuite.resume.storage import LineFile, replace_file


@given(lines=st.lists(st.text(st.characters(exclude_characters="\n")), max_size=5), cut=st.integers(0, 40))
def test_a_torn_last_line_is_cut_off_and_whole_ones_stay(tmp_path_factory, lines, cut):
    path = tmp_path_factory.mktemp("torn") / "lines"
    whole = "".join(line + "\n" for line in lines).encode("utf-8", "surrogatepass")
    path.write_bytes(whole[: max(len(whole) - cut, 0)])
    kept = path.read_bytes().rpartition(b"\n")
    file = LineFile(path)
    file.append("new")
    file.close()
    assert path.read_bytes() == kept[0] + kept[1] + b"new\n"


def test_a_line_longer_than_a_block_is_found_whole(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"first\n" + b"x" * 200_000)
    LineFile(path).close()
    assert path.read_bytes() == b"first\n"


def full_after(monkeypatch, room):
    """os.write that takes `room` bytes, and then finds the disk full."""
    write, left = os.write, [room]

    def writing(descriptor, content):
        if left[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = write(descriptor, content[: left[0]])
        left[0] -= taken
        return taken

    monkeypatch.setattr(storage.os, "write", writing)


def test_a_full_disk_takes_no_line_that_was_there_and_says_how_to_go_on(tmp_path, monkeypatch):
    file = LineFile(tmp_path / "lines")
    file.append("first")
    full_after(monkeypatch, 3)
    with pytest.raises(ResultsError, match=r"lines: could not be written: No space left .*--resume"):
        file.append("second")
    assert (tmp_path / "lines").read_bytes() == b"first\n"
    monkeypatch.undo()
    file.append("third")  # room was made
    assert (tmp_path / "lines").read_bytes() == b"first\nthird\n"


def test_a_summary_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    path = tmp_path / "summary.json"
    replace_file(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(ResultsError, match="No space left"):
        replace_file(path, "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("summary.json", "old")]


def test_a_read_only_folder_is_refused_and_nothing_in_it_changes(tmp_path, monkeypatch):
    run = ResultsRun(tmp_path, label="nano")
    run.close(finished=False)
    before = (run.path / "summary.json").read_bytes()

    def read_only(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("evalsuite.resume.lock.os.open", read_only)
    with pytest.raises(ResultsError, match="Read-only file system"):
        ResultsRun(tmp_path, label="nano", resume=run.path)
    assert (run.path / "summary.json").read_bytes() == before


HOLD = "import sys, time; from pathlib import Path; from evalsuite.resume.lock import RunLock\n"
HOLD += "RunLock(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def test_a_second_process_is_refused_by_name_until_the_first_has_died(tmp_path):
    folder = tmp_path / "run" / "journal"
    process = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ResultsError, match=rf"another process works on this run: process {process.pid} on"):
            RunLock(folder)
    finally:
        process.kill()
        process.communicate()
    RunLock(folder).release()  # a dead process's lock is stale


def test_where_a_file_system_has_no_locks_the_holder_is_looked_for(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("evalsuite.resume.lock.fcntl.flock", no_locks)
    lock = RunLock(tmp_path)
    with pytest.raises(ResultsError, match=f"process {os.getpid()}"):
        RunLock(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    holder = json.loads(lock.path.read_text())
    lock.path.write_text(json.dumps(holder | {"pid": dead.pid}))
    RunLock(tmp_path).release()
    lock.path.write_text(json.dumps({"pid": dead.pid, "host": "another"}))
    with pytest.raises(ResultsError, match=r"on another.*delete"):
        RunLock(tmp_path)


def test_answers_of_an_earlier_process_stay_until_as_many_are_recalled(tmp_path):
    run = ResultsRun(tmp_path, label="nano")
    run.close(finished=False)
    (run.path / "test_x.jsonl").write_text("old\n")
    again = ResultsRun(tmp_path, label="nano", resume=Path(run.path))
    with pytest.raises(KeyboardInterrupt), again.open_case("test_x"):
        raise KeyboardInterrupt
    assert (run.path / "test_x.jsonl").read_text() == "old\n"
    with again.open_case("test_x") as log:
        log.settle()
    assert (run.path / "test_x.jsonl").read_text() == ""
    assert not list(run.path.glob("*.part"))
