"""What a failed task, a killed worker and a killed starter of workers mean."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import Final

from pipelines.disk import disk_failure
from pipelines.errors import WorkerLost

_ENDED_BY_PARENT: Final = 1


def reason_of(error: BaseException) -> str:
    """Why a task failed, for the user."""
    told = disk_failure(error) if isinstance(error, OSError) else None
    shown = told if told is not None else error
    return f"{type(shown).__name__}: {shown}"


def is_lost_worker(error: BaseException) -> bool:
    """Whether a task failed because its process, or one beside it in the pool, was killed."""
    return isinstance(error, BrokenProcessPool)


def require_no_lost_worker(lost: Sequence[str]) -> None:
    """Tell that tasks were lost with their worker processes.

    Raises:
        WorkerLost: some were.
    """
    if lost:
        raise WorkerLost(
            "a worker process was killed, most likely because the memory was full",
            found=f"unfinished: {', '.join(lost)}",
            fix="run the same command again with runner.workers=1, or give the machine more memory; what "
            "was finished is kept",
        )


def end_with_parent() -> None:
    """Let this worker process end when the process that started it is gone.

    A killed flow cannot stop its workers, which would go on writing beside those of the next run.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(_ENDED_BY_PARENT)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
