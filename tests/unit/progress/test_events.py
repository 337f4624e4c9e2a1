from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.artifacts import StageKey, write_marker
from pipelines.errors import DataInvalid, OutputFailed
from pipelines.progress.events import EVENTS, append_event, read_events, watched


def test_events_come_back_in_order(tmp_path: Path) -> None:
    append_event(tmp_path / "run", "started", "fit", "Room_00001_01", pid=7)
    append_event(tmp_path / "run", "failed", "fit", "Room_00001_01", reason="line one\nline two")
    first, second = read_events(tmp_path / "run")
    assert (first.kind, first.what, first.unit, first.details) == (
        "started",
        "fit",
        "Room_00001_01",
        {"pid": 7},
    )
    assert second.details["reason"] == "line one\nline two"
    assert first.time <= second.time


def test_a_line_cut_by_a_crash_is_skipped(tmp_path: Path) -> None:
    append_event(tmp_path, "started", "run")
    with (tmp_path / EVENTS).open("a") as stream:
        stream.write('{"time": "2026')
    assert [event.what for event in read_events(tmp_path)] == ["run"]


def test_many_writers_lose_no_line(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append_event(tmp_path, "finished", "fit", f"R{n}", n=n), range(200)))
    assert {event.details["n"] for event in read_events(tmp_path)} == set(range(200))


def test_a_folder_without_a_log_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path) == []


def test_work_is_watched_to_its_end(tmp_path: Path) -> None:
    results = tmp_path / "recordings" / "R"
    key = StageKey("humor", "s", {}, "c")
    write_marker(results, StageKey("old", "s", {}, "c"), [])
    with watched(tmp_path, "fit", "R", results):
        write_marker(results, key, [])
    started, finished = read_events(tmp_path)
    assert (started.kind, finished.kind) == ("started", "finished")
    assert finished.details["stages"] == ["humor"]
    assert finished.details["wall_s"] >= 0


def test_a_failure_is_logged_with_its_reason_and_raised(tmp_path: Path) -> None:
    with pytest.raises(DataInvalid), watched(tmp_path, "fit", "R"):
        raise DataInvalid("keypoints are mirrored")
    assert read_events(tmp_path)[-1].details == {"reason": "DataInvalid: keypoints are mirrored"}


def test_a_log_that_cannot_be_written_stops_no_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with watched(tmp_path / "file", "fit"):
        done = True
    assert done


def test_a_folder_that_goes_away_and_comes_back_empty_is_noticed(tmp_path: Path) -> None:
    run = tmp_path / "share" / "run"

    def work() -> None:
        with watched(run, "run"):
            run.parent.rename(tmp_path / "disconnected")
            with watched(run, "fit", "R"):  # makes the folder again, on the wrong disk
                pass

    with pytest.raises(OutputFailed, match="went away"):
        work()
    there = tmp_path / "disconnected" / "run"
    assert [event.kind for event in read_events(there)] == ["started"]
    run.parent.rename(tmp_path / "wrong")
    there.parent.rename(run.parent)
    with watched(run, "run"):
        pass
    assert [event.kind for event in read_events(run)] == ["started", "started", "finished"]


def test_logs_of_the_first_version_are_read(tmp_path: Path) -> None:
    line = '{"time": "2026", "kind": "finished", "what": "fit", "recording": "R", "cpu_s": 1.0}\n'
    (tmp_path / EVENTS).write_text(line)
    (event,) = read_events(tmp_path)
    assert (event.unit, event.details) == ("R", {"cpu_s": 1.0})
