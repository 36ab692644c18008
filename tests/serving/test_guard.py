"""Who may ask, and the headers of every response."""

import pytest
from starlette.applications import Starlette

from skinlesion_cli.serving.answers import Answers
from skinlesion_cli.serving.app import make_app
from skinlesion_cli.serving.guard import HEADERS
from tests.support.asgi import ask


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "[::1]:8000", "192.168.1.7"]
)
def test_the_machine_answers_to_its_addresses(app: Starlette, host: str) -> None:
    assert ask(app, "/", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "", "127.0.0.1.evil.example"])
def test_other_host_names_are_refused(app: Starlette, host: str) -> None:
    for path in ("/", "/api/model", "/api/health"):
        reply = ask(app, path, headers={"Host": host})
        assert reply.status == 421
        assert reply.json().keys() == {"error"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_may_not_send(app: Starlette, headers: dict[str, str]) -> None:
    assert ask(app, "/api/predict", b"x", headers=headers).status == 403
    # A preflight gets no permission either.
    reply = ask(app, "/api/predict", method="OPTIONS", headers=headers)
    assert reply.status == 403
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_the_page_itself_may_send(app: Starlette) -> None:
    headers = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert ask(app, "/api/predict", b"x", headers=headers).status == 415


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/", None, 200), ("/nothing", None, 404), ("/api/predict", None, 405), ("/api/predict", b"x", 415)],
)
def test_every_response_has_the_headers(app: Starlette, path: str, body: bytes | None, status: int) -> None:
    reply = ask(app, path, body)
    assert reply.status == status
    assert {name.lower(): value for name, value in HEADERS.items()}.items() <= reply.headers.items()
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert not [name for name in reply.headers if name.startswith("access-control")]
    if status > 200:
        assert reply.json().keys() >= {"error"}


def test_a_token_opens_the_interface(answers: Answers) -> None:
    app = make_app(answers, token="secret")
    assert [ask(app, path).status for path in ("/", "/app.js", "/api/health", "/api/openapi.json")] == [
        200
    ] * 4
    for wrong in ({}, {"Authorization": "Bearer sécret"}, {"Authorization": "Basic secret"}):
        for path, body in (("/api/model", None), ("/api/predict", b"x")):
            reply = ask(app, path, body, headers=wrong)
            assert reply.status == 401
            assert reply.headers["www-authenticate"] == "Bearer"
    right = {"Authorization": "Bearer secret"}
    assert ask(app, "/api/model", headers=right).status == 200
    assert ask(app, "/api/predict", b"x", headers=right).status == 415
    assert ask(app, "/api/openapi.json").json()["security"] == [{"token": []}]
