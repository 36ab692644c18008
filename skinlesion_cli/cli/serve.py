"""`skinlesion serve`."""

from typing import Annotated

from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.cli.options import MIN_CONFIDENCE, PriorOption, TtaOption, option, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display, busy
from skinlesion_cli.common.extras import require_modules
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.serving.limits import HOST, PORT, RATE

_HOST = "Address to serve at; 0.0.0.0 for everyone on this network, with a token."
_PORT = "Port; 0 for any free one."
_RATE = "Photographs per minute from one address; 0 for no limit."


@with_settings("device", "precision")
def serve(
    *,
    settings: Settings,
    model: ModelChoice,
    host: Annotated[str, option("--host", _HOST, "ADDRESS")] = HOST,
    port: Annotated[int, option("--port", _PORT, "PORT", min=0, max=65535)] = PORT,
    rate: Annotated[int, option("--rate", _RATE, "N", min=0)] = RATE,
    min_confidence: Annotated[float, MIN_CONFIDENCE] = 0.0,
    tta: TtaOption = False,
    prior: PriorOption = None,
) -> int:
    """Serve a local page for predictions, and a JSON API for other software."""
    require_modules("starlette uvicorn", "to serve a page")
    from skinlesion_cli.serving.server import bind, run

    # Before the seconds that loading a model takes.
    address = bind(host, port)
    with busy("loading the model"):
        predictor = model.load(settings, prior=prior)

    from skinlesion_cli.serving.answers import Answers
    from skinlesion_cli.serving.app import make_app

    answers = Answers(predictor, min_confidence, flips=tta)
    if answers.no_heat_map:
        console.note(f"no heat maps: {answers.no_heat_map}")
    shown = Display().show
    app = make_app(answers, token=address.token, names=[host], rate=rate, on_event=shown)
    console.say(address.url)
    if address.token:
        console.warn("whoever has this address can use the page, and photographs are sent to it unencrypted")
    console.note("photographs are processed in memory: none is stored or passed on; Ctrl-C stops the server")
    console.note(console.DISCLAIMER)
    return run(app, address)
