"""A real browser, driven through chromedriver's own protocol (W3C WebDriver): HTTP with JSON."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.processes import started, wait_for

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)
JSON = {"Content-Type": "application/json"}
OWN = ("data:", "chrome:")
"""What is requested from nowhere: data, and the parts of the browser's own first page."""


class Browser:
    """One window."""

    def __init__(self, session: str):
        self._session = session

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a command of the protocol; returns its value."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._session}/{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)["value"]

    def open(self, url: str) -> None:
        """Open a page."""
        self.ask("url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run the body of a function in the page; returns what it returns."""
        return self.ask("execute/sync", {"script": script, "args": arguments})

    def wait(self, condition: str, seconds: float = 60.0) -> None:
        """Wait until an expression is true in the page."""
        wait_for(lambda: self.run(f"return Boolean({condition})"), seconds)

    def resize(self, width: int, height: int) -> None:
        """Give the page this size: a window cannot be as narrow as a phone."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def devtools(self, command: str, **parameters: object) -> Any:
        """Send a command of the DevTools protocol."""
        return self.ask("goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path: Path) -> None:
        """Write what the window shows as a PNG."""
        path.write_bytes(base64.b64decode(self.ask("screenshot")))

    def requests(self) -> list[str]:
        """The addresses that pages requested since the last call, those of data: aside."""
        events = [json.loads(one["message"])["message"] for one in self._log("performance")]
        sent = [one["params"] for one in events if one["method"] == "Network.requestWillBeSent"]
        return [one["request"]["url"] for one in sent if not one["request"]["url"].startswith(OWN)]

    def complaints(self) -> list[str]:
        """The errors and warnings in the console since the last call."""
        return [one["message"] for one in self._log("browser")]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("se/log", {"type": kind})
        return found


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A window with a profile of its own in a folder."""
    assert BROWSER is not None
    assert DRIVER is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{base}/status", timeout=5):
            return True
        return False

    options = {
        "binary": BROWSER,
        "args": [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"],
    }
    wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}
    body = json.dumps({"capabilities": {"alwaysMatch": wanted}}).encode()
    with started([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        wait_for(answers)
        request = urllib.request.Request(f"{base}/session", body, JSON)
        with urllib.request.urlopen(request, timeout=60) as response:
            session = json.load(response)["value"]["sessionId"]
        yield Browser(f"{base}/session/{session}")
