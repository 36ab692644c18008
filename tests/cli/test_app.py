import sys
import time

import pytest

from skinlesion_cli.cli import app, console


def test_of_several_processes_the_leading_one_speaks_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each finds the wrong option by itself. torchrun ends the others when the leading one has ended; only
    # where it does not, as on a machine with other settings, they speak.
    for name, value in {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["skinlesion", "train", "--epochs", "0"])
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(console, "err", console._console(stderr=True))
    said = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(SystemExit) as stop:
            app.main()
        assert stop.value.code == 2
        said.append(capsys.readouterr().err)
    assert said[0].startswith("error: --epochs: 0 is out of range")
    assert said[1].startswith("error: process 1: --epochs: 0 is out of range")
    assert waited == [app.LEADER_FIRST]
