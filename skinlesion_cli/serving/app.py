"""The application: the page, and the JSON API that the page itself uses."""

import asyncio
import html
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skinlesion_cli.common.events import OnEvent, ignore
from skinlesion_cli.common.limits import MAX_UPLOAD_BYTES
from skinlesion_cli.common.version import __version__
from skinlesion_cli.report.page import DISCLAIMER
from skinlesion_cli.serving.answers import Answers
from skinlesion_cli.serving.guard import Guard
from skinlesion_cli.serving.limits import RATE, UPLOAD_SECONDS, Places, Rate
from skinlesion_cli.serving.openapi import document
from skinlesion_cli.serving.predictions import Json, Predictions

PAGE = Path(__file__).with_name("page")
PAGES = {"/": "index.html", "/app.js": "app.js", "/style.css": "style.css"}
_MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def make_app(
    answers: Answers,
    *,
    token: str | None = None,
    names: Iterable[str] = (),
    rate: int = RATE,
    places: Places | None = None,
    upload_seconds: float = UPLOAD_SECONDS,
    on_event: OnEvent = ignore,
) -> Starlette:
    """The application, as ASGI.

    Args:
        answers: the model.
        token: what a client must send; None for no token.
        names: names of the machine, for the check of the Host header.
        rate: photographs per minute from one address; 0 for no limit.
        places: the queue.
        upload_seconds: time within which a photograph must have arrived.
        on_event: receives a `Warned` for every failure that is not the client's.
    """
    predictions = Predictions(answers, Rate(rate), places or Places(), upload_seconds, on_event)
    api: dict[str, tuple[str, Callable[[Request], Any]]] = {
        "/api/health": ("GET", lambda _: Json({"status": "ok", "version": __version__})),
        "/api/model": ("GET", lambda _: Json(_model(answers))),
        "/api/openapi.json": ("GET", lambda _: Json(document(needs_token=token is not None))),
        "/api/predict": ("POST", predictions.respond),
    }
    return Starlette(
        routes=[
            *(Route(path, _page(PAGE / file)) for path, file in PAGES.items()),
            *(Route(path, _endpoint(respond), methods=[method]) for path, (method, respond) in api.items()),
        ],
        middleware=[Middleware(Guard, token=token, names=names)],
        exception_handlers={HTTPException: _refuse},
    )


def _endpoint(respond: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        response = respond(request)
        made: Response = await response if asyncio.iscoroutine(response) else response
        return made

    return endpoint


def _page(file: Path) -> Callable[[Request], Any]:
    text = file.read_text(encoding="utf-8").replace("{{ disclaimer }}", html.escape(DISCLAIMER))
    response = partial(Response, text, media_type=_MEDIA_TYPES[file.suffix])
    return _endpoint(lambda _: response())


def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Json({"error": error.detail}, error.status_code, error.headers)


def _model(answers: Answers) -> dict[str, Any]:
    predictor = answers.predictor
    return {
        "arch": [one.checkpoint.arch for one in predictor.members],
        "classes": list(predictor.classes),
        "calibrated": all(one.temperature is not None for one in predictor.members),
        "out_of_distribution": all(one.checkpoint.distance_limit is not None for one in predictor.members),
        "heat_map": {"error": answers.no_heat_map},
        "min_confidence": answers.min_confidence,
        "max_bytes": MAX_UPLOAD_BYTES,
        "disclaimer": DISCLAIMER,
    }
