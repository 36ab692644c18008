"""Requests to an ASGI application, without a server."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Its body as JSON."""
        return json.loads(self.body)


async def send(
    app: ASGIApp,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    pause: float = 0.0,
    address: str = "127.0.0.1",
) -> Reply:
    """Send one request; a body of several parts comes without a length, with a `pause` before each part."""
    given = {"Host": "127.0.0.1:8000"}
    if isinstance(body, bytes):
        given |= {"Content-Length": str(len(body))}
    if body is not None:
        given |= {"Content-Type": "application/octet-stream"}
    given |= headers or {}
    parts = iter([body or b""] if body is None or isinstance(body, bytes) else body)
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method or ("GET" if body is None else "POST"),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": (address, 50000),
        "server": ("127.0.0.1", 8000),
    }
    sent: list[Message] = []
    ended = False

    async def receive() -> Message:
        nonlocal ended
        if ended:
            # The client keeps the connection open.
            await asyncio.Event().wait()
        await asyncio.sleep(pause)
        part = next(parts, None)
        ended = part is None or isinstance(body, bytes | None)
        return {"type": "http.request", "body": part or b"", "more_body": not ended}

    async def collect(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, collect)
    start, *rest = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], found, b"".join(one.get("body", b"") for one in rest))


def ask(app: ASGIApp, path: str, body: bytes | Iterable[bytes] | None = None, **options: Any) -> Reply:
    """Send one request, and wait for the response; arguments of `send`."""
    return asyncio.run(send(app, path, body, **options))
