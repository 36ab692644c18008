import socket
import time
from pathlib import Path

import huggingface_hub.constants
import pytest

from skinlesion_cli.common.errors import InputError, SkinLesionError
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.models import hub
from skinlesion_cli.models.start_weights import require_start_weights


def test_an_unresponsive_hub_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "SECONDS", 0.5)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        begun = time.monotonic()
        with pytest.raises(
            SkinLesionError, match=r"weights of resnet18 from .*--init-weights FILE.*--no-pretr"
        ):
            require_start_weights(Settings(model_arch="resnet18"))
        assert time.monotonic() - begun < 30
    (tmp_path / "models--timm--resnet18.a1_in1k").mkdir()
    require_start_weights(Settings(model_arch="resnet18"))


def test_only_weights_that_are_needed_are_looked_for(tmp_path: Path) -> None:
    require_start_weights(Settings(pretrained=False))
    weights = tmp_path / "w.pth"
    with pytest.raises(InputError, match=r"no file .*w\.pth"):
        require_start_weights(Settings(init_weights=weights))
    weights.touch()
    require_start_weights(Settings(init_weights=weights))
