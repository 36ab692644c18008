"""The OpenAPI 3.1 document of the JSON API."""

from typing import Any

from skinlesion_cli.common.limits import MAX_UPLOAD_BYTES, size_text
from skinlesion_cli.common.version import __version__
from skinlesion_cli.report.page import DISCLAIMER
from skinlesion_cli.serving.answers import PICTURES
from skinlesion_cli.serving.limits import UPLOAD_SECONDS

_TEXT, _NUMBER, _WHOLE, _YES_NO = ({"type": kind} for kind in ("string", "number", "integer", "boolean"))
_SHARES = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}
_PNG = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}


def document(*, needs_token: bool) -> dict[str, Any]:
    """The document; `needs_token` says whether this server has one."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "skinlesion serve",
            "version": __version__,
            "description": f"{DISCLAIMER} Photographs are processed in memory; none is stored or passed on.",
        },
        "paths": {
            "/api/predict": {"post": _predict()},
            "/api/model": {"get": _get("model", "The model and the limits of this server.", "Model")},
            "/api/health": {
                "get": _get("health", "Whether the server is running.", "Health") | {"security": []}
            },
            "/api/openapi.json": {"get": _get("openapi", "This document.", None) | {"security": []}},
        },
        "security": [{"token": []}] if needs_token else [],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _predict() -> dict[str, Any]:
    faults = {
        "400": "An empty body, an unknown parameter, or a damaged image.",
        "401": "The token is missing or wrong.",
        "403": "The request comes from a page of another site.",
        "408": f"The photograph did not arrive within {UPLOAD_SECONDS:g} seconds.",
        "413": f"More than {size_text(MAX_UPLOAD_BYTES)}, or too many pixels.",
        "415": "Not an image in a known format.",
        "421": "The Host header does not name this server.",
        "429": "Too many photographs from this address; Retry-After gives the seconds.",
        "500": "The model failed.",
        "503": "Too many photographs at once; Retry-After gives the seconds.",
    }
    kinds = {"type": "array", "items": {"enum": list(PICTURES)}, "uniqueItems": True}
    return {
        "operationId": "predict",
        "summary": "Predict the class of one photograph.",
        "parameters": [
            _query("name", "The name of the photograph, repeated in the response.", _TEXT),
            _query("include", "Images to add to the response.", kinds) | {"explode": False, "style": "form"},
        ],
        "requestBody": {
            "required": True,
            "description": "The bytes of one image file, in any format that `skinlesion predict` reads.",
            "content": {kind: {} for kind in ("image/*", "application/octet-stream", "application/dicom")},
        },
        "responses": {
            "200": _response("The prediction, as an item of `predict --json`.", "Answer"),
            **{code: _response(text, "Fault") for code, text in faults.items()},
        },
    }


def _schemas() -> dict[str, Any]:
    heat_map = {"class": _TEXT, "method": _TEXT, "layer": _TEXT, "empty": _YES_NO, "png": _PNG}
    heat_map["grid"] = _described("Rows and columns.", {"type": "array", "items": _WHOLE})
    edges = dict.fromkeys(("left", "top", "right", "bottom"), _NUMBER)
    answer = {
        "image": _described("The name that was given.", _TEXT),
        "class": _described("The most probable class.", _TEXT),
        "confidence": _described("Its calibrated probability.", _NUMBER),
        "probabilities": _described("The calibrated probability of each class.", _SHARES),
        "out_of_distribution": _described(
            "Whether the photograph is unlike the training images; null if the model has no detector.",
            {"type": ["boolean", "null"]},
        ),
        "distance": _described(
            "Its distance from them, as a multiple of the limit.", {"type": ["number", "null"]}
        ),
    }
    optional = {
        "original_probabilities": _described(
            "With --prior: the probabilities for the training prior.", _SHARES
        ),
        "uncertain": _described("With --min-confidence: whether the confidence is below it.", _YES_NO),
        "photograph": _described(
            "The whole photograph, with a frame around what the model saw, and its size in pixels.",
            _object({"width": _WHOLE, "height": _WHOLE, "png": _PNG}),
        ),
        "frame": _described(
            "What the model saw, pixel by pixel, and its position in the photograph, in pixels.",
            _object({**edges, "png": _PNG}),
        ),
        "heat_map": _described(
            "Lines around the evidence for the class, to be placed on the frame; or why there is no map.",
            {"oneOf": [_object(heat_map), _object({"error": _TEXT})]},
        ),
    }
    model = {
        "arch": {"type": "array", "items": _TEXT},
        "classes": {"type": "array", "items": _TEXT},
        "calibrated": _YES_NO,
        "out_of_distribution": _YES_NO,
        "heat_map": _object({"error": {"type": ["string", "null"]}}),
        "min_confidence": _NUMBER,
        "max_bytes": _WHOLE,
        "disclaimer": _TEXT,
    }
    return {
        "Answer": _object(answer, optional),
        "Fault": _object({"error": _described("One line.", _TEXT)}, {"image": _TEXT}),
        "Model": _object(model),
        "Health": _object({"status": {"const": "ok"}, "version": _TEXT}),
    }


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    known = required | (optional or {})
    return {
        "type": "object",
        "properties": known,
        "required": list(required),
        "additionalProperties": False,
    }


def _described(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, **schema}


def _query(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _get(name: str, summary: str, schema: str | None) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "responses": {"200": _response(summary, schema)}}


def _response(text: str, schema: str | None) -> dict[str, Any]:
    of = {"type": "object"} if schema is None else {"$ref": f"#/components/schemas/{schema}"}
    return {"description": text, "content": {"application/json": {"schema": of}}}
