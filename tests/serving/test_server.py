"""The real server: its address, its connections, and the whole command."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from typer.testing import CliRunner

from skinlesion_cli.cli.app import app as cli
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.serving import server
from skinlesion_cli.serving.answers import Answers
from skinlesion_cli.serving.server import Address, bind
from tests.support.processes import started

PAGE = Path(__file__).parents[2] / "docs" / "serve.md"


def beside(app: Starlette, work: Callable[[Address], None]) -> None:
    """Run the server in this thread, and `work` in another; then end the server by SIGTERM."""
    address, faults = bind(port=0), list[BaseException]()

    def run() -> None:
        try:
            with urllib.request.urlopen(f"{address.url}api/health", timeout=30) as response:
                assert json.load(response)["status"] == "ok"
            work(address)
        except BaseException as fault:
            faults.append(fault)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    code = server.run(app, address)
    thread.join()
    if faults:
        raise faults[0]
    assert code == 143


def test_a_silent_client_is_disconnected(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_SECONDS", 0.3)

    def work(address: Address) -> None:
        where = address.socket.getsockname()
        for first in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET"):
            with socket.create_connection(where, timeout=10) as client:
                client.sendall(first)
                begun, received = time.monotonic(), b""
                while part := client.recv(1 << 16):
                    received += part
                assert time.monotonic() - begun < 5
                # What was asked for completely is answered first.
                assert received.startswith(b"HTTP/1.1 200 OK") is (first[-3:] == b"GET")

    beside(app, work)


def test_only_this_machine_needs_no_token() -> None:
    local, everyone = bind(port=0), bind("0.0.0.0", 0)
    try:
        assert local.token is None
        assert local.url == f"http://127.0.0.1:{local.socket.getsockname()[1]}/"
        assert everyone.token is not None
        assert len(everyone.token) > 20
        assert everyone.url.startswith("http://")
        assert "0.0.0.0" not in everyone.url
        assert everyone.url.endswith(f"/#token={everyone.token}")
    finally:
        local.socket.close()
        everyone.socket.close()


def test_an_unavailable_address_is_named() -> None:
    taken = bind(port=0)
    port = taken.socket.getsockname()[1]
    try:
        with pytest.raises(InputError, match=rf"127\.0\.0\.1, port {port}: .* choose another --port"):
            bind(port=port)
        with pytest.raises(InputError, match=r"192\.0\.2\.1"):
            bind("192.0.2.1", 0)
    finally:
        taken.socket.close()


def test_the_command_answers_a_photograph_and_leaves_nothing(
    command_environment: dict[str, str], checkpoint: Path, picture: Path, tmp_path: Path, answers: Answers
) -> None:
    places = {name: tmp_path / name for name in ("work", "TMPDIR", "HOME")}
    for place in places.values():
        place.mkdir()
    env = command_environment | {name: str(places[name]) for name in ("TMPDIR", "HOME")}
    command = [sys.executable, "-m", "skinlesion_cli", "serve", "--checkpoint", checkpoint, "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, env=env, cwd=places["work"], **pipes) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        headers = {"Content-Type": "image/jpeg"}
        include = "photograph,frame,heat_map"
        request = urllib.request.Request(
            f"{url}api/predict?name=a&include={include}", picture.read_bytes(), headers
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            found = json.load(response)
        # The function of the docs, for other software.
        (code,) = re.findall(
            r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        exec(code, known := {})
        by_function = known["predict"](picture, url.rstrip("/"))
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines() == [
        "photographs are processed in memory: none is stored or passed on; Ctrl-C stops the server",
        "a research tool, not a medical device: do not diagnose with it",
        "error: interrupted",
    ]
    expected = answers.predictor.predict(picture)
    assert found["class"] == expected.label
    assert found["probabilities"] == pytest.approx(expected.probabilities, abs=1e-6)
    assert "png" in found["heat_map"]
    assert by_function["probabilities"] == pytest.approx(found["probabilities"], abs=1e-6)
    # torch makes an empty folder for its compiler when it is imported.
    assert [path for place in places.values() for path in place.rglob("*") if path.is_file()] == []


def test_without_its_packages_the_command_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skinlesion_cli.common.extras.find_spec", lambda _: None)
    error = CliRunner().invoke(cli, ["serve"]).exception
    assert isinstance(error, InputError)
    assert str(error) == "starlette, uvicorn is needed to serve a page: pip install starlette uvicorn"
