"""POST /api/predict: a photograph in, its prediction out."""

import asyncio
import json
import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from skinlesion_cli.common.cores import usable_cores
from skinlesion_cli.common.errors import SkinLesionError, UnreadableImageError, one_line
from skinlesion_cli.common.events import OnEvent, Warned
from skinlesion_cli.common.limits import MAX_NAME, MAX_UPLOAD_BYTES, size_text
from skinlesion_cli.serving.answers import PICTURES, Answers
from skinlesion_cli.serving.limits import Places, Rate

STATUS = {"damaged": 400, "unknown": 415, "large": 413}
"""Of the response to a photograph that cannot be read."""
THREADS = min(usable_cores(), 4)
"""That read photographs and draw; the model itself takes one at a time."""
GONE = 499
"""For a client that has gone; nobody reads it."""


class Json(JSONResponse):
    """JSON as `--json` prints it: a name may have characters that are not valid UTF-8."""

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False).encode()


class Predictions:
    """Handles requests within the limits. One per server."""

    def __init__(
        self, answers: Answers, rate: Rate, places: Places, upload_seconds: float, on_event: OnEvent
    ):
        self._answers, self._rate, self._places = answers, rate, places
        self._upload_seconds, self._on_event = upload_seconds, on_event
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
        self._running = asyncio.Semaphore(THREADS)

    async def respond(self, request: Request) -> Response:
        """Respond with a prediction, or with a one-line error."""
        name, include = _query(request)
        try:
            return Json(await self._answer(request, name, include))
        except ClientDisconnect:
            return Response(status_code=GONE)
        except HTTPException:
            raise
        except UnreadableImageError as error:
            return Json({"image": name, "error": str(error)}, STATUS[error.fault])
        except Exception as error:
            known = isinstance(error, SkinLesionError)
            text = str(error) if known else f"unexpected {type(error).__name__}: {one_line(error)}"
            self._on_event(Warned(text))
            return Json({"image": name, "error": text}, 500)

    async def _answer(self, request: Request, name: str, include: list[str]) -> dict[str, Any]:
        if wait := self._rate.wait(request.client.host if request.client else ""):
            raise _later(429, "too many photographs from this address in a minute", wait)
        declared = request.headers.get("content-length", "")
        # Without a Content-Length, the body comes in chunks.
        size = int(declared) if declared.isdecimal() else MAX_UPLOAD_BYTES
        if size > MAX_UPLOAD_BYTES:
            raise _too_large(name)
        if not self._places.take(size):
            raise _later(503, "busy: too many photographs at once", 1)
        try:
            content = await self._received(request, name, size)
            async with self._running:
                if await request.is_disconnected():
                    raise ClientDisconnect
                work = partial(self._answers.answer, name, content, include)
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._places.give_back(size)

    async def _received(self, request: Request, name: str, size: int) -> bytes:
        """The body, which stays in memory; `size` is its size if the client gave it, else the limit."""
        content = bytearray()
        try:
            async with asyncio.timeout(self._upload_seconds):
                async for part in request.stream():
                    content += part
                    if len(content) > size:
                        raise _too_large(name)
        except TimeoutError:
            text = f"the photograph did not arrive within {self._upload_seconds:g} seconds"
            raise HTTPException(408, text, {"Connection": "close"}) from None
        if not content:
            raise HTTPException(400, "the request has no body: send the bytes of one image file")
        return bytes(content)


def _query(request: Request) -> tuple[str, list[str]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind.startswith("image/") and kind not in ("application/octet-stream", "application/dicom"):
        raise HTTPException(
            415, "send the bytes of one image file as the body, with a Content-Type such as image/jpeg"
        )
    if unknown := set(request.query_params) - {"name", "include"}:
        raise HTTPException(400, f"unknown parameter {min(unknown)[:MAX_NAME]!r}; known are name, include")
    include = [one for one in request.query_params.get("include", "").split(",") if one]
    if wrong := [one for one in include if one not in PICTURES]:
        raise HTTPException(400, f"include is a list of {', '.join(PICTURES)}, not {wrong[0][:MAX_NAME]!r}")
    return request.query_params.get("name", "")[-MAX_NAME:] or "photograph", include


def _too_large(name: str) -> UnreadableImageError:
    text = f"cannot read {name}: it is larger than {size_text(MAX_UPLOAD_BYTES)}"
    return UnreadableImageError(text, "large")


def _later(code: int, text: str, wait: float) -> HTTPException:
    seconds = math.ceil(wait)
    return HTTPException(code, f"{text}; try again in {seconds} s", {"Retry-After": str(seconds)})
