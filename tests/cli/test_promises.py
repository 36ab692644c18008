"""No command reaches the network, or writes anywhere but to its output and our cache."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY
from tests.support.processes import run_to_end

COMMANDS = {
    "predict": ["predict", "PICTURE", "--checkpoint", "EXPORTED", "--csv", "out/p.csv"],
    "evaluate": ["evaluate", "--data", "DATA", "--checkpoint", "EXPORTED", "--out", "out"],
    "export": ["export", "--checkpoint", "CHECKPOINT", "--to", "out/m.onnx"],
    "export a folder": ["export", "--checkpoint", "CHECKPOINT", "--to", "out/model/"],
    "gradcam": ["gradcam", "PICTURE", "--checkpoint", "CHECKPOINT", "--out", "out/"],
    "train": ["train", "--data", "DATA", *TINY, "--epochs", "1", "--num-workers", "0", "--out", "out"],
    "report": ["report", "TRAINED", "--data", "DATA", "--out", "out/report.html"],
    "weights": ["weights", "--csv", "out/w.csv", "--plot", "out/w.png"],
    "data": ["data", "check", "DATA", "--report", "out/leaks.html"],
}
INTERNET = re.compile(r"(socket\((?:AF|PF)_INET|sin6?_addr)[^\n]*")


@pytest.mark.parametrize("command", COMMANDS)
def test_only_its_output_and_our_cache_are_written(
    command: str,
    command_environment: dict[str, str],
    picture: Path,
    exported: Path,
    checkpoint: Path,
    data: Path,
    trained: Path,
    tmp_path: Path,
) -> None:
    places = {"PICTURE": picture, "EXPORTED": exported, "CHECKPOINT": checkpoint, "DATA": data}
    names = {key: str(path) for key, path in (places | {"TRAINED": trained}).items()}
    arguments = [names.get(one, one) for one in COMMANDS[command]]
    home = tmp_path / "home"
    folders = {"HOME": home, "XDG_CACHE_HOME": home / "cache", "TMPDIR": tmp_path / "tmp"}
    for folder in folders.values():
        folder.mkdir()
    # In a CI's environment onnxruntime collects nothing; this package has set its own variable for the tests.
    hidden = {"CI", "ORT_DISABLE_TELEMETRY", "GITHUB_ACTIONS", "MPLCONFIGDIR"}
    env = {key: value for key, value in command_environment.items() if key not in hidden}
    env |= {key: str(folder) for key, folder in folders.items()} | {"PYTHONPATH": os.getcwd()}  # noqa: PTH109
    log = tmp_path / "log"
    watch = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=%network", "-o", str(log)]
    watch = watch if shutil.which("strace") else []
    run_to_end([*watch, sys.executable, "-m", "skinlesion_cli", *arguments], env=env, cwd=tmp_path)
    reached = INTERNET.search(log.read_text(encoding="utf-8", errors="replace")) if watch else None
    assert reached is None
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()} - {Path("log")}
    allowed = (Path("out"), Path("home/cache/skinlesion"))
    assert [path for path in written if not any(path.is_relative_to(one) for one in allowed)] == []
