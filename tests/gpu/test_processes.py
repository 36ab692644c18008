"""Several processes on a GPU, as far as one process shows it: NCCL, and synchronised normalisation."""

import os
import socket
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from skinlesion_cli.common.world import Launch
from skinlesion_cli.models.backbone import create_model, with_synchronized_batchnorm
from skinlesion_cli.training.distributed import join
from tests.conftest import TINY
from tests.support.processes import run_to_end
from tests.support.runs import trainer

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processes of a run meet: here, on a free port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))


@pytest.mark.usefixtures("address")
def test_a_group_of_one_trains_as_one_alone(device: str, data: Path, tmp_path: Path) -> None:
    options = {"epochs": 1, "accumulate": 2, "batch_size": 4, "device": device}
    (expected,) = trainer(data, tmp_path / "alone", **options)[0].run()
    with join(Launch(run_id="gpu"), device) as world:
        assert ("nccl" in dist.get_backend_config()) == (device == "cuda")
        run, _ = trainer(data, tmp_path / "group", world=world, sync_batchnorm=device == "cuda", **options)
        (found,) = run.run()
        kinds = {type(one).__name__ for one in run.model.modules()}
    assert ("SyncBatchNormAct" in kinds) == (device == "cuda")
    assert found.train_loss == pytest.approx(expected.train_loss, rel=0.01)
    assert found.val_loss == pytest.approx(expected.val_loss, rel=0.05)
    assert found.train_accuracy == pytest.approx(expected.train_accuracy, abs=0.1)


def test_synchronised_normalisation_of_one_process_is_the_plain_one() -> None:
    torch.manual_seed(0)
    plain = create_model("mobilevitv2_050", 3, 64).cuda()
    inputs = torch.randn(8, 3, 64, 64, device="cuda")
    expected = plain(inputs)
    found = with_synchronized_batchnorm(plain, torch.device("cuda"))(inputs)
    assert torch.allclose(found, expected, atol=1e-3 * float(expected.detach().abs().max()))


def test_torchrun_with_one_process_trains(
    device: str, data: Path, tmp_path: Path, command_environment: dict[str, str]
) -> None:
    paths = os.pathsep.join(filter(None, [str(ROOT), command_environment.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    command += ["-m", "skinlesion_cli", "train", "--data", str(data), *TINY, "--epochs", "1"]
    command += ["--device", device, "--out", str(tmp_path)]
    run_to_end(command, env=command_environment | {"PYTHONPATH": paths}, cwd=tmp_path, seconds=300)
    assert (tmp_path / "results" / "metrics.json").is_file()
