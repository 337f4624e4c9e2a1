"""No server, a taken port, another program at the server's place: each is one clear sentence."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.cli import EXIT_USAGE, run
from flows.deploy.service import require_free, require_server, start_worker
from flows.deploy.settings import DailySettings, ServerSettings
from flows.errors import ServiceMissing


@pytest.fixture
def answers() -> Iterator[tuple[int, dict[str, bytes]]]:
    """A program that answers at a port with whatever is put into the dictionary."""
    body = {"body": b"true"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body["body"])

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port, body
    server.shutdown()
    server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_healthy_server_is_accepted_and_its_port_is_taken(
    answers: tuple[int, dict[str, bytes]],
) -> None:
    settings = ServerSettings(port=answers[0])
    require_server(settings)
    with pytest.raises(ServiceMissing, match="a Prefect server runs there already"):
        require_free(settings)


def test_another_program_at_the_port_is_not_taken_for_a_server(
    answers: tuple[int, dict[str, bytes]],
) -> None:
    port, body = answers
    body["body"] = b"<html>welcome</html>"
    with pytest.raises(ServiceMissing, match="another program answers there"):
        require_server(ServerSettings(port=port))
    with pytest.raises(ServiceMissing, match="the server cannot listen there") as refusal:
        require_free(ServerSettings(port=port))
    assert "Address already in use" in str(refusal.value)
    assert "server.port" in str(refusal.value)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ServiceMissing, match="cannot listen there") as refusal:
        require_free(ServerSettings(host="192.0.2.7", port=free_port()))
    assert "192.0.2.7" in str(refusal.value)


@pytest.mark.parametrize("verb", ["worker", "deploy", "schedule-check", "close-zombies"])
def test_without_a_server_every_verb_says_how_to_start_it(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run([verb, f"server.port={free_port()}", f"server.home={tmp_path}"]) == EXIT_USAGE
    message = capsys.readouterr().err
    assert "no Prefect server answers" in message
    assert "make server" in message


def test_a_worker_started_in_the_background_can_still_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shells let background commands ignore SIGINT, by which Prefect's worker ends itself."""
    before, at_start = signal.signal(signal.SIGINT, signal.SIG_IGN), []
    monkeypatch.setattr(os, "execv", lambda *_: at_start.append(signal.getsignal(signal.SIGINT)))
    monkeypatch.setattr(os, "environ", {})
    try:
        start_worker(DailySettings())
    finally:
        signal.signal(signal.SIGINT, before)
    assert at_start == [signal.default_int_handler]
