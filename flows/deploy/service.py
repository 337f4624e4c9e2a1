"""The Prefect server and a worker: started in place of this process, and asked whether they are there."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from flows.deploy.settings import DailySettings, ServerSettings
from flows.errors import ServiceMissing

_ANSWER_S: Final = 5
_EVERYWHERE: Final = ("0.0.0.0", "::")


def use_server(settings: ServerSettings) -> None:
    """Let Prefect, not yet imported, speak to this server and keep its files in this home."""
    os.environ["PREFECT_HOME"] = str(settings.home.resolve())
    os.environ["PREFECT_API_URL"] = settings.api
    # Else the interface looks for its data at port 4200, whatever the server's port.
    os.environ["PREFECT_SERVER_UI_API_URL"] = settings.api


def require_server(settings: ServerSettings) -> None:
    """Make sure that it answers.

    Raises:
        ServiceMissing: it does not.
    """
    found = _answer(settings)
    if found is not None:
        raise ServiceMissing(
            "no Prefect server answers",
            where=settings.api,
            found=found,
            fix="start it with `make server` (it needs up to a minute), or correct server.host and "
            "server.port",
        )


def start_server(settings: ServerSettings) -> None:
    """Become the server; returns only by an error.

    Raises:
        ServiceMissing: the port is taken.
    """
    require_free(settings)
    use_server(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    arguments = ["server", "start", "--host", settings.host, "--port", str(settings.port)]
    _become_prefect(arguments)


def start_worker(settings: DailySettings) -> None:
    """Become a worker of the pool; returns only by an error.

    What the flows tell is shown here and on the pages of their runs.
    """
    # A shell starts `command &` with SIGINT ignored, and that outlives execv; Prefect's worker, which ends
    # by sending itself SIGINT when it gets SIGTERM, would then go on taking runs.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.update(
        PREFECT_LOGGING_LEVEL="INFO",
        PREFECT_LOGGING_EXTRA_LOGGERS="pipelines,sahmr,flows",
        PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW="ignore",
    )
    name = f"{socket.gethostname()}-{os.getpid()}"
    arguments = ["worker", "start", "--pool", settings.pool, "--type", "process", "--name", name]
    _become_prefect([*arguments, "--limit", str(settings.runs_at_once)])


def require_free(settings: ServerSettings) -> None:
    """Make sure that nobody listens where the server shall.

    Raises:
        ServiceMissing: somebody does, or this machine has no such address.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return
    here = _answer(settings) is None
    raise ServiceMissing(
        "a Prefect server runs there already" if here else "the server cannot listen there",
        where=f"{settings.host}:{settings.port}",
        found=None if here else reason,
        fix="use it, or give server.port another number" if here else "give server.host or server.port",
    )


def _answer(settings: ServerSettings) -> str | None:
    """None when a healthy Prefect server answers, else what is wrong."""
    host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
    try:
        with urlopen(f"http://{host}:{settings.port}/api/health", timeout=_ANSWER_S) as response:
            healthy = response.read().strip() == b"true"
    except URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return None if healthy else "another program answers there"


def _become_prefect(arguments: list[str]) -> None:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *arguments])
