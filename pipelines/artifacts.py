"""Files that are whole or absent, and markers that say truthfully whether a stage is done.

Every output is written under a temporary name, fsynced and renamed. A stage is done when its marker
exists, was made from the same settings, inputs and code, and every file it lists still has its hash:
"the file exists" alone is never enough.
"""

from __future__ import annotations

import json
import os
import platform
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.disk import told_plainly
from pipelines.errors import DataInvalid

MARKER_SUFFIX = ".done.json"
_PROBE = ".may-be-written"
_PROBE_BYTES = 4096
_PACKAGE_ROOT = Path(__file__).resolve().parent.parent
HOST = sha256(platform.node().encode()).hexdigest()[:8]
"""This machine, without its name."""
_TEMPORARY = re.compile(rf"\..+\.{HOST}-(\d+)-[0-9a-f]{{8}}\.tmp")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling to write to; it is fsynced and renamed to `path` on success.

    Raises:
        OutputFailed: the disk is full, the folder is gone or may not be written to; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    with told_plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent.resolve(), os.getpid())
        try:
            yield temporary
            _fsync(temporary)
            temporary.replace(path)
            _fsync(path.parent)
        finally:
            with suppress(OSError):  # the error that led here says more
                temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Fail before any work is done where its results could not be written.

    Raises:
        OutputFailed: the disk is full, or the folder may not be written to.
    """
    with atomic_path(folder / _PROBE) as temporary:
        temporary.write_bytes(bytes(_PROBE_BYTES))
    (folder / _PROBE).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write sorted, indented JSON; NaN is written as null, since JSON knows no NaN."""
    text = json.dumps(_finite(content), indent=1, sort_keys=True, allow_nan=False)
    write_text(path, text + "\n")


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write an uncompressed npz; equal arrays give equal bytes (members carry no time)."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)


def read_npz(path: Path) -> dict[str, Any]:
    """Read every array of an npz; pickled objects are refused."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise DataInvalid(
            f"npz cannot be read: {error}", where=path, fix="delete the file and run again"
        ) from None


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hash_listing(root: Path, patterns: Sequence[str] = ("**/*",)) -> str:
    """Hash of names, sizes and modification times below a folder: a cheap identity of large inputs."""
    digest = sha256()
    for path in _matching_files(root, patterns):
        stat = path.stat()
        line = f"{path.relative_to(root).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
        digest.update(line.encode())
    return digest.hexdigest()


def hash_content(root: Path, patterns: Sequence[str] = ("**/*",)) -> str:
    """Hash of names and bytes of files below a folder."""
    digest = sha256()
    for path in _matching_files(root, patterns):
        digest.update(f"{path.relative_to(root).as_posix()}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()


@lru_cache
def code_version(*rooms: str) -> str:
    """Hash of the Python sources of the named rooms, e.g. `code_version("pipelines/fitting")`.

    A room is a folder or a file, relative to the folder that holds the packages.
    """
    digest = sha256()
    for room in sorted(rooms):
        base = _PACKAGE_ROOT / room
        files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
        for path in files:
            digest.update(path.relative_to(_PACKAGE_ROOT).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class StageKey:
    """What a result was made from; two equal keys promise equal results."""

    stage: str
    settings_hash: str
    inputs: Mapping[str, str]
    """Name of an input -> its hash."""
    code: str

    def content_hash(self) -> str:
        """SHA-256 over all fields."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class DoneMarker:
    """Written last; lists what the stage made. Holds no time and no absolute path."""

    key: StageKey
    files: Mapping[str, str]
    """Path relative to the marker's folder (may climb out of it) -> SHA-256."""
    summary: Mapping[str, Any] = field(default_factory=dict)


def marker_path(folder: Path, stage: str) -> Path:
    """Where the done-marker of a stage lies."""
    return folder / f"{stage}{MARKER_SUFFIX}"


def write_marker(
    folder: Path, key: StageKey, files: Sequence[Path], summary: Mapping[str, Any] | None = None
) -> None:
    """Hash the files a stage wrote and put its done-marker beside them."""
    hashes = {Path(os.path.relpath(path, folder)).as_posix(): hash_file(path) for path in files}
    marker = {"key": asdict(key), "files": hashes, "summary": dict(summary or {})}
    write_json(marker_path(folder, key.stage), marker)


def read_marker(folder: Path, stage: str) -> DoneMarker | None:
    """The stored marker, or None when there is none that can be read."""
    try:
        raw = json.loads(marker_path(folder, stage).read_text(encoding="utf-8"))
        return DoneMarker(StageKey(**raw["key"]), raw["files"], raw["summary"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def why_not_done(folder: Path, key: StageKey) -> str | None:
    """None when the stage is done for this key, else one sentence saying why not."""
    marker = read_marker(folder, key.stage)
    if marker is None:
        return "no result yet"
    if marker.key != key:
        return f"{_first_difference(marker.key, key)} changed"
    for name, expected in marker.files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if hash_file(path) != expected:
            return f"{name} was altered"
    return None


def run_stage(
    folder: Path, key: StageKey, work: Callable[[], tuple[Sequence[Path], Mapping[str, Any]]]
) -> bool:
    """Run `work` unless its result is already there; returns whether it ran.

    `work` writes its files and returns them with a small summary for the marker.
    """
    if why_not_done(folder, key) is None:
        return False
    with told_plainly(marker_path(folder, key.stage)):
        marker_path(folder, key.stage).unlink(missing_ok=True)
    files, summary = work()
    write_marker(folder, key, files, summary)
    return True


def _matching_files(root: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern) if path.is_file()})


def _first_difference(old: StageKey, new: StageKey) -> str:
    if old.settings_hash != new.settings_hash:
        return "settings"
    if old.code != new.code:
        return "code"
    names = set(old.inputs) | set(new.inputs)
    changed = sorted(name for name in names if old.inputs.get(name) != new.inputs.get(name))
    return f"input {changed[0]}" if changed else "stage"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(child) for child in value]
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, np.generic):
        return _finite(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


@lru_cache(maxsize=1024)  # once per folder and process: the killed process is always another one
def _sweep(folder: Path, pid: int) -> None:
    """Remove what writers of this machine that were killed have left in a folder."""
    for entry in os.scandir(folder):
        found = _TEMPORARY.fullmatch(entry.name)
        if found and int(found[1]) != pid and not is_running(int(found[1])):
            Path(entry.path).unlink(missing_ok=True)


def is_running(pid: int) -> bool:
    """Whether a process of this machine is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
