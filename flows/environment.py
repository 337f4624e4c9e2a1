"""Settings of Prefect and of the maths libraries that must be in place before either is imported."""

from __future__ import annotations

import logging
import os
import sys

_DEFAULTS = {
    # Without a server of the user's own, each flow starts a temporary one; on a busy machine that takes
    # longer than Prefect's 20 s.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # Telemetry locks the temporary database (seen with 3.8.8) and nobody asked for it.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # Seconds between signs of life of a run, by which dead ones are recognised; Prefect's least.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    # Two threads on busy cores are several times slower than one; parallelism is over recordings.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def set_environment() -> None:
    """Fill in what the user has not set."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def configure_logging(verbose: bool = False) -> None:
    """Our own packages log to stderr, one line per event; libraries stay quiet.

    Of the processes that torchrun started only the first tells what it does.
    """
    level = logging.DEBUG if verbose else logging.INFO
    if os.environ.get("RANK", "0") != "0":
        level = logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    for name in ("pipelines", "sahmr", "flows"):
        logger = logging.getLogger(name)
        others = [one for one in logger.handlers if not isinstance(one, logging.StreamHandler)]
        logger.handlers = [handler, *others]
        logger.setLevel(level)
        logger.propagate = False
