"""What a disk, a network folder or a right that fails means for the user, in one sentence."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipelines.errors import DataInvalid, OutputFailed, PipelineError

_GO_ON: Final = "run the same command again; what was finished is kept"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT: Final = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_OUT_OF_REACH: Final = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EIO,
        errno.ENODEV,
        errno.ENXIO,
        errno.ENOTCONN,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
_NUMBER_IN_TEXT: Final = re.compile(r"(?:os error |errno = )(\d+)")
"""How safetensors and HDF5 tell the system's error number."""
_SHORT_WRITE: Final = ("inline_container.cc", "PytorchStreamWriter failed writing")
"""What torch.save says when fewer bytes were written than given; it drops the system's own error."""


def disk_failure(error: BaseException, where: object = None) -> PipelineError | None:
    """The sentence for an error of the file system; None when the error is another one.

    Args:
        error: as it was raised, by Python or by a library that writes files itself.
        where: the file or folder, where the error does not name it.
    """
    number = _error_number(error)
    place = where if where is not None else getattr(error, "filename", None)
    found = os.strerror(number) if number is not None else None
    if number in _NO_RIGHT and where is None and _is_closed_file(place):
        fix = f"give the right to read it and {_GO_ON}"
        return DataInvalid("a file may not be read", where=place, found=found, fix=fix)
    if number in _NO_ROOM:
        fix = f"make room, or set out_dir to another disk, and {_GO_ON}"
        return OutputFailed("no room left on the disk", where=place, found=found, fix=fix)
    if number in _NO_RIGHT:
        fix = f"give the right to write, or set out_dir to another folder, and {_GO_ON}"
        return OutputFailed("the folder may not be written to", where=place, found=found, fix=fix)
    if number in _OUT_OF_REACH:
        fix = f"see that the folder is there (a network folder: connected) and {_GO_ON}"
        return OutputFailed(
            "a file or folder cannot be reached any more", where=place, found=found, fix=fix
        )
    return None


@contextmanager
def told_plainly(where: Path) -> Iterator[None]:
    """Turn an error of the file system while writing `where` into its sentence.

    Raises:
        OutputFailed: no room, no right, or the folder is gone.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and where.parent.is_dir():
            raise  # something that was to be read is missing
        if isinstance(error, OSError) and not _is_on_the_way(error.filename, where):
            raise  # something that was to be read, and lies elsewhere
        failure = disk_failure(error, where)
        if failure is None:
            raise
        raise failure from error


def _is_on_the_way(name: object, where: Path) -> bool:
    """Whether a file an error names (many name none) lies beside `where`, or is a folder above it."""
    if not isinstance(name, str | bytes | os.PathLike):
        return True
    found, target = Path(os.fsdecode(name)).absolute(), where.absolute()
    return found.is_relative_to(target.parent) or target.is_relative_to(found)


def _is_closed_file(place: object) -> bool:
    return isinstance(place, str) and Path(place).is_file() and not os.access(place, os.R_OK)


def _error_number(error: BaseException) -> int | None:
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    text = str(error)
    found = _NUMBER_IN_TEXT.search(text)
    if found:
        return int(found[1])
    return errno.ENOSPC if any(words in text for words in _SHORT_WRITE) else None
