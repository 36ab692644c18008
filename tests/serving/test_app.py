"""The JSON interface: answers, refusals and limits."""

import asyncio
import io
import threading
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from PIL import Image
from starlette.applications import Starlette

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.events import Event, Warned
from skinlesion_cli.common.limits import MAX_UPLOAD_BYTES
from skinlesion_cli.data.images import read_image
from skinlesion_cli.inference.predictor import load_predictor
from skinlesion_cli.serving.answers import PICTURES, Answers
from skinlesion_cli.serving.app import make_app
from skinlesion_cli.serving.limits import Places
from skinlesion_cli.serving.openapi import document
from tests.support.asgi import Reply, ask, send


def image_bytes(size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "pink").save(buffer, kind)
    return buffer.getvalue()


def assert_conforms(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """The part of JSON Schema that our document uses."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    if "oneOf" in schema:
        schema = next(one for one in schema["oneOf"] if value.keys() == one["properties"].keys())
    if "const" in schema:
        assert value == schema["const"]
        return
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int}
    kinds |= {"boolean": bool, "null": type(None)}
    names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    assert any(isinstance(value, kinds[name]) for name in names), (value, schema)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        assert set(schema.get("required", [])) <= value.keys()
        for name, one in value.items():
            assert_conforms(one, known.get(name) or schema["additionalProperties"], schemas)
    for one in value if isinstance(value, list) else []:
        assert_conforms(one, schema["items"], schemas)


def test_every_response_is_as_the_document_says(app: Starlette, answers: Answers, picture: Path) -> None:
    api = ask(app, "/api/openapi.json").json()
    assert api == document(needs_token=False)
    assert api["openapi"] == "3.1.0"
    routes = {route.path for route in app.routes}  # type: ignore[attr-defined]
    assert set(api["paths"]) == {path for path in routes if path.startswith("/api/")}
    strict = make_app(Answers(answers.predictor, min_confidence=0.5))
    query = f"name={quote('ü 1.jpg')}&include={','.join(PICTURES)}"
    replies: list[tuple[str, Reply]] = [
        ("/api/predict", ask(strict, f"/api/predict?{query}", picture.read_bytes())),
        ("/api/predict", ask(app, "/api/predict", b"no image")),
        ("/api/predict", ask(app, "/api/predict", b"")),
        ("/api/model", ask(app, "/api/model")),
        ("/api/health", ask(app, "/api/health")),
    ]
    assert [reply.status for _, reply in replies] == [200, 415, 400, 200, 200]
    for path, reply in replies:
        (operation,) = api["paths"][path].values()
        schema = operation["responses"][str(reply.status)]["content"]["application/json"]["schema"]
        assert_conforms(reply.json(), schema, api["components"]["schemas"])
    answer, model = replies[0][1].json(), replies[3][1].json()
    schema = api["components"]["schemas"]["Answer"]["properties"]
    assert answer.keys() == schema.keys() - {"original_probabilities"}
    assert answer["image"] == "ü 1.jpg"
    assert model["classes"] == list(answers.predictor.classes)
    assert model["heat_map"] == {"error": None}
    assert "not a medical device" in model["disclaimer"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"hello", 415),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415),
        (image_bytes()[:60], 400),
        (image_bytes(kind="JPEG")[:300], 400),
        (image_bytes((4, 4)), 400),
        (image_bytes((400, 10)), 400),
        (image_bytes((12001, 10000)), 413),
    ],
    ids=["text", "postscript", "header", "truncated", "small", "narrow", "bomb"],
)
def test_what_predict_refuses_is_refused_in_the_same_words(
    app: Starlette, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, status: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photo.jpg").write_bytes(content)
    with pytest.raises(UnreadableImageError) as expected:
        read_image(Path("photo.jpg"))
    reply = ask(app, "/api/predict?name=photo.jpg", content)
    assert reply.status == status
    assert reply.json() == {"image": "photo.jpg", "error": str(expected.value)}


def test_a_missing_reader_is_named(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skinlesion_cli.common.extras.find_spec", lambda _: None)
    reply = ask(app, "/api/predict", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert reply.status == 415
    assert reply.json()["error"].endswith("pip install pillow-heif")


@pytest.mark.parametrize(
    ("path", "headers", "status", "text"),
    [
        ("/api/predict?names=a", {}, 400, "unknown parameter 'names'; known are name, include"),
        (
            "/api/predict?include=frame,heat",
            {},
            400,
            "include is a list of photograph, frame, heat_map, not 'heat'",
        ),
        (
            "/api/predict",
            {"Content-Type": "multipart/form-data; boundary=x"},
            415,
            "Content-Type such as image/jpeg",
        ),
        ("/api/predict", {"Content-Type": "text/plain"}, 415, "such as image/jpeg"),
    ],
)
def test_a_wrong_request_is_refused(
    app: Starlette, path: str, headers: dict[str, str], status: int, text: str
) -> None:
    reply = ask(app, path, image_bytes(), headers=headers)
    assert reply.status == status
    assert text in reply.json()["error"]


def test_a_large_upload_is_refused_before_and_while_it_arrives(app: Starlette) -> None:
    reply = ask(app, "/api/predict?name=a", b"x", headers={"Content-Length": str(MAX_UPLOAD_BYTES + 1)})
    taken = []

    def parts() -> Any:
        while True:
            taken.append(1)
            yield b"x" * (16 << 20)

    for one in (reply, ask(app, "/api/predict?name=a", parts())):
        assert one.status == 413
        assert one.json() == {"image": "a", "error": "cannot read a: it is larger than 64 MiB"}
    assert len(taken) == 5


def test_a_slow_client_is_not_waited_for(answers: Answers) -> None:
    app = make_app(answers, upload_seconds=0.05)
    reply = ask(app, "/api/predict", (b"x" for _ in range(100)), pause=0.02)
    assert reply.status == 408
    assert reply.headers["connection"] == "close"


def test_too_many_from_one_address_are_told_when_to_come_back(answers: Answers) -> None:
    app = make_app(answers, rate=1)
    assert ask(app, "/api/predict", b"x").status == 415
    reply = ask(app, "/api/predict", b"x")
    assert reply.status == 429
    assert reply.headers["retry-after"] == "60"
    assert "try again in 60 s" in reply.json()["error"]
    assert ask(app, "/api/predict", b"x", address="192.168.1.9").status == 415


def test_a_full_queue_is_reported_and_empties_again(answers: Answers) -> None:
    go_on = threading.Event()

    def answer(_: Answers, name: str, *__: object) -> dict[str, str]:
        go_on.wait(30)
        return {"image": name}

    async def many(app: Starlette) -> list[Reply]:
        under_way = [asyncio.create_task(send(app, f"/api/predict?name={n}", b"x")) for n in range(3)]
        await asyncio.sleep(0.1)
        full = await send(app, "/api/predict", b"x")
        go_on.set()
        return [full, *(await asyncio.gather(*under_way)), await send(app, "/api/predict", b"x")]

    with patch.object(Answers, "answer", answer):
        full, *others = asyncio.run(many(make_app(answers, places=Places(3))))
    assert (full.status, full.headers["retry-after"]) == (503, "1")
    assert [reply.status for reply in others] == [200] * 4
    assert [reply.json()["image"] for reply in others] == ["0", "1", "2", "photograph"]


def test_a_failure_of_the_model_is_reported_to_both_sides(checkpoint: Path, picture: Path) -> None:
    predictor = load_predictor(checkpoint, device="cpu")
    broken = Answers(predictor)
    assert broken.no_heat_map is None
    for weights in predictor.backend.model.parameters():  # type: ignore[attr-defined]
        weights.data.fill_(float("nan"))
    events: list[Event] = []
    reply = ask(make_app(broken, on_event=events.append), "/api/predict?name=a", picture.read_bytes())
    assert reply.status == 500
    error = reply.json()["error"]
    assert error.startswith("the model's outputs are not finite")
    assert events == [Warned(error)]
    with patch.object(Answers, "answer", side_effect=RuntimeError("one\ntwo")):
        reply = ask(make_app(broken, on_event=events.append), "/api/predict?name=a", b"x")
    assert (reply.status, reply.json()) == (500, {"image": "a", "error": "unexpected RuntimeError: one two"})


def test_the_page_says_what_it_is(app: Starlette) -> None:
    page = ask(app, "/").body.decode()
    assert page.count("not a medical device") == 2
    # The policy allows nothing inside the page itself.
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count("<script src=") == 1
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")):
        reply = ask(app, path)
        assert reply.headers["content-type"] == f"{kind}; charset=utf-8"
        assert "http://" not in reply.body.decode()
        assert "https://" not in reply.body.decode()
