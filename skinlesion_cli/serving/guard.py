"""Access control for every request, and the headers of every response."""

import hmac
import ipaddress
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
OPEN_PATHS = ("/api/health", "/api/openapi.json")
"""Paths below /api/ that need no token."""


class Guard:
    """Refuses requests for another host, from another site, or without the token. No CORS header is sent."""

    def __init__(self, app: ASGIApp, *, token: str | None = None, names: Iterable[str] = ()):
        """`names` are names of this machine, which requests may use besides its IP addresses."""
        self._app, self._token = app, token
        own = (*names, "localhost", socket.gethostname(), socket.gethostname() + ".local")
        self._names = {name.lower() for name in own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        code, fault = self._fault(scope["method"], scope["path"], Headers(scope=scope))
        wants_token = {"WWW-Authenticate": "Bearer"} if code == 401 else None
        app = JSONResponse({"error": fault}, code, wants_token) if fault else self._app
        await app(scope, receive, with_headers)

    def _fault(self, method: str, path: str, headers: Headers) -> tuple[int, str]:
        host = headers.get("host", "")
        # A page of another site can let its own name resolve to this machine (DNS rebinding). It cannot make
        # the browser send any other name in the Host header.
        if not self._is_own(host):
            return 421, "this server responds only to its address and to the name of its machine"
        if method not in ("GET", "HEAD"):
            origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
            if site not in ("same-origin", "none") or origin not in (
                None,
                f"http://{host}",
                f"https://{host}",
            ):
                return 403, "pages of other sites may not send requests to this server"
        if self._token and path.startswith("/api/") and path not in OPEN_PATHS:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return 401, "the token is missing or wrong: open the address that `skinlesion serve` printed"
        return 0, ""

    def _is_own(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return name.lower() in self._names
        return True
