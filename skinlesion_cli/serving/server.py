"""The server: its address, its connections, and how it ends."""

import asyncio
import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.signals import Stopped, Stopping
from skinlesion_cli.serving.limits import HEADER_SECONDS, HOST, MOST_CONNECTIONS, PORT, UPLOAD_SECONDS

LAST_SECONDS = 10
"""Time for responses in progress when the server is stopped."""


@dataclass(frozen=True)
class Address:
    """A listening socket: clients that connect before the server runs wait for it."""

    socket: socket.socket
    token: str | None
    """What clients must send; None if only this machine can connect."""

    @property
    def url(self) -> str:
        """The URL of the page. The token is in the fragment, which browsers do not send to servers."""
        host, port = self.socket.getsockname()[:2]
        if ipaddress.ip_address(host).is_unspecified:
            host = _own_address(self.socket.family)
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}/" + (f"#token={self.token}" if self.token else "")


def bind(host: str = HOST, port: int = PORT) -> Address:
    """Listen at an address; 0 for the port takes any free one. InputError if it cannot be done."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise InputError(f"--host {host} is not an address of this machine") from None
    bound = socket.socket(family, kind)
    # Otherwise the port of a server that has just stopped stays in use for a minute.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(where)
        bound.listen()
    except (OSError, OverflowError) as error:
        bound.close()
        text = getattr(error, "strerror", None) or error
        hint = "choose another --port, or 0 for any free one"
        raise InputError(f"cannot serve at {host}, port {port}: {text}; {hint}") from None
    is_local = ipaddress.ip_address(bound.getsockname()[0]).is_loopback
    return Address(bound, None if is_local else secrets.token_urlsafe(16))


def _own_address(family: int) -> str:
    """The address of this machine on its network, or its name. Connecting a UDP socket sends nothing."""
    is_v6 = family == socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(("2001:db8::1" if is_v6 else "192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return socket.gethostname()


def run(app: ASGIApp, address: Address) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code for it. Main thread only."""
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        # The limits apply to the address that connects, not to one in a header.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    try:
        with Stopping() as stopping, stopping.held():
            _Server(config, stopping).run([address.socket])
    except Stopped as stop:
        return stop.exit_code
    return 1


class _Server(uvicorn.Server):
    """Ends when a signal was recorded."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping):
        super().__init__(config)
        self._stopping = stopping

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `Stopping`."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; called ten times a second."""
        return await super().on_tick(counter) or self._stopping.asked is not None


class _Connection(H11Protocol):
    """A connection that is closed if it does not send the headers of a request in time."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before and not self.cycle.response_complete:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop_waiting()
        # The body of a refused request may still be arriving.
        seconds = UPLOAD_SECONDS if self.conn.their_state is h11.SEND_BODY else HEADER_SECONDS
        self._patience = self.loop.call_later(seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
