"""Errors of the file system become one sentence with the next step; other errors stay what they are."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from pipelines import artifacts
from pipelines.artifacts import StageKey, atomic_path, require_writable, run_stage, write_text
from pipelines.disk import disk_failure, told_plainly
from pipelines.errors import DataInvalid, OutputFailed


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no room left on the disk"),
        (errno.EDQUOT, "no room left on the disk"),
        (errno.EROFS, "may not be written to"),
        (errno.EACCES, "may not be written to"),
        (errno.ESTALE, "cannot be reached any more"),
        (errno.EIO, "cannot be reached any more"),
    ],
)
def test_a_number_of_the_system_becomes_a_sentence(number: int, words: str) -> None:
    told = disk_failure(OSError(number, os.strerror(number), "/mnt/share/x"))
    assert told is not None
    assert words in told.what
    assert "/mnt/share/x" in str(told)
    assert os.strerror(number) in str(told)
    assert "run the same command again; what was finished is kept" in str(told)


def test_libraries_that_write_by_themselves_are_understood() -> None:
    safetensors = Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    torch_save = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
    for error in (safetensors, torch_save):
        told = disk_failure(error)
        assert told is not None
        assert told.what == "no room left on the disk"


def test_other_errors_are_no_matter_of_the_disk(tmp_path: Path) -> None:
    assert disk_failure(ValueError("shape mismatch")) is None
    assert disk_failure(OSError(errno.EINTR, "interrupted")) is None
    with pytest.raises(ValueError, match="shape"), told_plainly(tmp_path / "x"):
        raise ValueError("shape mismatch")
    with pytest.raises(DataInvalid), told_plainly(tmp_path / "x"):
        raise DataInvalid("keypoints are mirrored")


def test_an_input_missing_while_writing_is_not_taken_for_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="image"), atomic_path(tmp_path / "shard.h5"):
        (tmp_path / "image.jpg").read_bytes()


def test_an_input_that_may_not_be_read_is_not_taken_for_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "in" / "image.jpg"
    image.parent.mkdir()
    image.touch()
    closed = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(image))
    with pytest.raises(PermissionError), atomic_path(tmp_path / "out" / "shard.h5"):
        raise closed
    above = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path))
    with pytest.raises(OutputFailed, match="may not be written to"), told_plainly(tmp_path / "a/b.h5"):
        raise above
    monkeypatch.setattr(os, "access", lambda *_: False)
    told = disk_failure(closed)
    assert told is not None
    assert (type(told), told.what) == (DataInvalid, "a file may not be read")


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.txt"
    write_text(path, "old")

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(artifacts, "_fsync", full)
    with pytest.raises(OutputFailed, match=r"no room left on the disk[\s\S]*result.txt"):
        write_text(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.txt"]
    assert path.read_text() == "old"


def test_a_folder_that_goes_away_while_it_is_written_to_is_told(tmp_path: Path) -> None:
    share = tmp_path / "share"

    def write() -> None:
        with atomic_path(share / "result.txt") as temporary:
            temporary.write_text("half")
            share.rename(tmp_path / "gone")

    with pytest.raises(OutputFailed, match=r"cannot be reached any more[\s\S]*connected"):
        write()


def _as_nobody(folder: Path, result: Path) -> None:
    """Root may write anywhere; nobody may not."""
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        require_writable(folder)
    except OutputFailed as error:
        os.seteuid(os.getuid())
        result.write_text(str(error))


def test_a_folder_without_the_right_to_write_is_told_before_any_work(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    for folder in (closed, tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o555 if folder == closed else 0o755)
    told = tmp_path / "told.txt"
    child = os.fork()
    if child == 0:
        _as_nobody(closed / "run", told)
        os._exit(0)
    os.waitpid(child, 0)
    closed.chmod(0o755)
    assert "may not be written to" in told.read_text()
    assert list(closed.iterdir()) == []


def test_a_writable_folder_stays_as_it_is(tmp_path: Path) -> None:
    require_writable(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_stage_that_met_a_full_disk_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = StageKey("fit", "s", {}, "c")

    def work() -> tuple[list[Path], dict[str, int]]:
        write_text(tmp_path / "a.txt", "a")
        write_text(tmp_path / "b.txt", "b")
        return [tmp_path / "a.txt", tmp_path / "b.txt"], {}

    calls = []

    def full_at_the_third(path: Path) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "_fsync", full_at_the_third)
        with pytest.raises(OutputFailed):
            run_stage(tmp_path, key, work)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.txt"]
    assert run_stage(tmp_path, key, work)
    assert not run_stage(tmp_path, key, work)


@pytest.mark.parametrize("name", ["state.pt", "weights.safetensors"])
def test_a_disk_that_is_really_full_is_told_for_tensors(tmp_path: Path, name: str) -> None:
    """No file of the child may grow beyond 100 KB; both libraries meet that in the middle."""
    import resource

    from safetensors.torch import save_file

    tensors = {"a": torch.zeros(100_000)}
    told = tmp_path / "told.txt"
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            with atomic_path(tmp_path / "out" / name) as temporary:
                if name.endswith(".pt"):
                    with temporary.open("wb") as stream:
                        torch.save(tensors, stream)
                else:
                    save_file(tensors, temporary)
        except OutputFailed as error:
            told.write_text(error.what)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert told.read_text() == "no room left on the disk"
    assert list((tmp_path / "out").iterdir()) == []
    shutil.rmtree(tmp_path / "out")
