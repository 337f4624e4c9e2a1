from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.artifacts import (
    StageKey,
    atomic_path,
    code_version,
    hash_file,
    hash_listing,
    marker_path,
    read_marker,
    read_npz,
    run_stage,
    why_not_done,
    write_json,
    write_marker,
    write_npz,
    write_text,
)
from pipelines.errors import DataInvalid

KEY = StageKey("fit", "settings-1", {"depth": "d1", "scene": "s1"}, "code-1")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_under_its_name(tmp_path):
    with atomic_path(tmp_path / "deep" / "out.txt") as temporary:
        temporary.write_text("half")
        assert names_in(tmp_path / "deep") == [temporary.name]
    assert names_in(tmp_path / "deep") == ["out.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "out.txt"
    write_text(path, "old")

    def write_half(disk_full: bool) -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("new, but")
            if disk_full:
                raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        write_half(disk_full=True)
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["out.txt"]


def test_a_kill_during_the_write_leaves_the_old_file_and_the_next_writer_clears_up(tmp_path):
    path = tmp_path / "out.txt"
    write_text(path, "old")
    program = (
        "import os, signal, sys; from pathlib import Path; from pipelines.artifacts import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=Path.cwd(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (leftover,) = set(names_in(tmp_path)) - {"out.txt"}
    of_a_running_process = leftover.replace(f"-{leftover.split('-')[1]}-", f"-{os.getpid()}-")
    (tmp_path / of_a_running_process).write_text("being written")
    again = "import sys; from pathlib import Path; from pipelines.artifacts import write_text\n"
    again += "write_text(Path(sys.argv[1]), 'new')\n"
    subprocess.run([sys.executable, "-c", again, str(path)], cwd=Path.cwd(), check=True)
    assert path.read_text() == "new"
    assert names_in(tmp_path) == sorted([of_a_running_process, "out.txt"])


def test_equal_arrays_give_equal_bytes(tmp_path):
    arrays = {"a": np.arange(5.0), "name": np.array("x")}
    write_npz(tmp_path / "one.npz", arrays)
    os.utime(tmp_path / "one.npz", (0, 0))
    write_npz(tmp_path / "two.npz", {key: value.copy() for key, value in arrays.items()})
    assert hash_file(tmp_path / "one.npz") == hash_file(tmp_path / "two.npz")


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {"f": np.eye(3, dtype=np.float32), "u": np.array(["ü", "b"]), "empty": np.zeros((0, 3))}
    write_npz(tmp_path / "x.npz", arrays)
    back = read_npz(tmp_path / "x.npz")
    assert back.keys() == arrays.keys()
    for key, value in arrays.items():
        assert back[key].dtype == value.dtype
        np.testing.assert_array_equal(back[key], value)


def test_objects_are_neither_written_nor_read(tmp_path):
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        write_npz(tmp_path / "x.npz", {"o": np.array([{}], dtype=object)})
    assert not (tmp_path / "x.npz").exists()
    np.savez(tmp_path / "y.npz", o=np.array([{}], dtype=object))
    with pytest.raises(DataInvalid, match=r"y\.npz"):
        read_npz(tmp_path / "y.npz")


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_truncated_npz_is_refused_by_name(tmp_path, keep):
    path = tmp_path / "x.npz"
    write_npz(path, {"a": np.arange(100.0)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataInvalid, match=r"x\.npz"):
        read_npz(path)


def test_json_is_sorted_and_knows_no_nan(tmp_path):
    content = {"b": np.float32(1.5), "a": [float("nan"), np.inf, np.arange(2)], "c": (True, None)}
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"a": [None, None, [0, 1]], "b": 1.5, "c": [True, None]}
    assert text.index('"a"') < text.index('"b"')


def test_listing_sees_names_sizes_and_times(tmp_path):
    write_text(tmp_path / "in" / "a.txt", "one")
    os.utime(tmp_path / "in" / "a.txt", ns=(10**9, 10**9))
    first = hash_listing(tmp_path / "in")
    assert hash_listing(tmp_path / "in") == first
    os.utime(tmp_path / "in" / "a.txt", ns=(10**9, 2 * 10**9))
    second = hash_listing(tmp_path / "in")
    write_text(tmp_path / "in" / "b.png", "")
    assert len({first, second, hash_listing(tmp_path / "in")}) == 3
    assert hash_listing(tmp_path / "in", ["*.txt"]) == second


def test_listing_does_not_depend_on_where_the_folder_is(tmp_path):
    for name in ("here", "there"):
        write_text(tmp_path / name / "a.txt", "one")
        os.utime(tmp_path / name / "a.txt", ns=(10**9, 10**9))
    assert hash_listing(tmp_path / "here") == hash_listing(tmp_path / "there")


def test_code_version_is_of_the_named_rooms():
    assert code_version("pipelines/geometry") == code_version("pipelines/geometry")
    assert code_version("pipelines/geometry") != code_version("pipelines/bodies")
    both = code_version("pipelines/geometry", "pipelines/errors")
    assert both == code_version("pipelines/errors", "pipelines/geometry")
    assert both != code_version("pipelines/geometry")


@pytest.fixture
def done(tmp_path: Path) -> Path:
    write_text(tmp_path / "fits" / "a.txt", "result")
    write_marker(tmp_path, KEY, [tmp_path / "fits" / "a.txt"], {"frames": 3})
    return tmp_path


def test_a_stage_is_done_for_the_key_it_was_made_from(done):
    assert why_not_done(done, KEY) is None
    marker = read_marker(done, "fit")
    assert marker is not None
    assert marker.key == KEY
    assert marker.summary == {"frames": 3}


def test_a_marker_holds_no_absolute_path(done):
    assert str(done) not in marker_path(done, "fit").read_text()


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (StageKey("fit", "settings-2", KEY.inputs, "code-1"), "settings changed"),
        (StageKey("fit", "settings-1", KEY.inputs, "code-2"), "code changed"),
        (StageKey("fit", "settings-1", {"depth": "d1", "scene": "s2"}, "code-1"), "input scene changed"),
        (StageKey("fit", "settings-1", {"depth": "d1"}, "code-1"), "input scene changed"),
        (StageKey("other", "settings-1", KEY.inputs, "code-1"), "no result yet"),
    ],
)
def test_whatever_changed_is_named(done, key, reason):
    assert why_not_done(done, key) == reason


def test_an_existing_file_is_not_enough(done):
    write_text(done / "fits" / "a.txt", "altered")
    assert why_not_done(done, KEY) == "fits/a.txt was altered"
    (done / "fits" / "a.txt").unlink()
    assert why_not_done(done, KEY) == "fits/a.txt is missing"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"key": {}, "files": {}, "summary": {}}'])
def test_a_broken_marker_is_no_marker(done, content):
    marker_path(done, "fit").write_text(content)
    assert why_not_done(done, KEY) == "no result yet"


def test_work_runs_only_when_needed(tmp_path):
    runs = []

    def work() -> tuple[list[Path], dict[str, int]]:
        runs.append(1)
        write_text(tmp_path / "a.txt", "result")
        return [tmp_path / "a.txt"], {}

    assert run_stage(tmp_path, KEY, work)
    assert not run_stage(tmp_path, KEY, work)
    (tmp_path / "a.txt").unlink()
    assert run_stage(tmp_path, KEY, work)
    assert len(runs) == 2


def test_failed_work_is_not_done_even_if_it_was_before(done):
    other = StageKey("fit", "settings-2", KEY.inputs, "code-1")

    def work() -> tuple[list[Path], dict[str, int]]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        run_stage(done, other, work)
    assert why_not_done(done, other) == "no result yet"
    assert why_not_done(done, KEY) == "no result yet"


def test_keys_that_differ_anywhere_have_different_hashes():
    others = [
        StageKey("fit2", "settings-1", KEY.inputs, "code-1"),
        StageKey("fit", "settings-2", KEY.inputs, "code-1"),
        StageKey("fit", "settings-1", {}, "code-1"),
        StageKey("fit", "settings-1", KEY.inputs, "code-2"),
    ]
    assert len({key.content_hash() for key in (KEY, *others)}) == 5
