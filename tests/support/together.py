"""What each of several processes sees of a run; torchrun starts it for tests/training/test_distributed.py."""

import dataclasses
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from skinlesion_cli.common.errors import SkinLesionError
from skinlesion_cli.common.events import EpochDone, Event
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.world import World, read_launch
from skinlesion_cli.data.screening import Screening
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.inference.backend import predict_split
from skinlesion_cli.inference.torch_backend import TorchBackend
from skinlesion_cli.metrics.classification import score, weighted_loss
from skinlesion_cli.training.agreement import agreed_splits, require_same
from skinlesion_cli.training.distributed import join
from tests.support.runs import steps_of, trainer

OPTIONS: dict[str, Any] = {"loss_beta": 1.0, "seed": 42}


def gaps(data: Path, out: Path, world: World) -> dict[str, list[float]]:
    """How far the steps of all lie from those of one process on the union of their batches."""
    # Without batch normalisation, whose statistics are those of a batch.
    options = OPTIONS | {"model_arch": "test_vit", "epochs": 1, "grad_clip_norm": 0.0, "epoch_size_mult": 1.3}
    options |= {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1, "logit_adjustment": 0.5}
    together, _ = trainer(data, out / "a", world=world, batch_size=4, accumulate=2, **options)
    alone, _ = trainer(data, out / f"b{world.rank}", batch_size=16, **options)
    pairs = list(zip(steps_of(together), steps_of(alone), strict=True))
    return {
        "seen": [float((a[0] / b[0] - 1).abs().max()) for a, b in pairs],
        "gradient": [
            max(float((a[1][name] - b[1][name]).abs().max() / b[1][name].abs().max()) for name in b[1])
            for a, b in pairs
        ],
    }


def whole_run(data: Path, out: Path, world: World) -> dict[str, Any]:
    """A run with batch normalisation: its draws, its states after each epoch and its figures."""
    options = OPTIONS | {"epochs": 2, "epoch_size_mult": 1.5, "learning_rate": 0.002}
    run, _ = trainer(data, out / "run", world=world, batch_size=4, **options)
    states: list[str] = []

    def look(event: Event) -> None:
        if isinstance(event, EpochDone):
            values = [value.numpy().tobytes() for value in run.model.state_dict().values()]
            states.append(hashlib.sha256(b"".join(values)).hexdigest())

    run.on_event = look
    history = run.run()
    backend = TorchBackend(run.model, run.preprocessing, run.scoring_runtime)
    predictions = predict_split(backend, run.val_split, run.train_split.classes, batch_size=4, workers=0)
    summary = score(predictions).summary
    return {
        "draws": list(run.draws),
        "states": states,
        "history": [vars(record) for record in history],
        "alone": [
            weighted_loss(predictions, run.loss.class_weights),
            summary["accuracy"],
            summary["weighted_f1"],
        ],
    }


def main(data: Path, out: Path) -> None:
    with join(read_launch(), "cpu") as world:
        found = {"gaps": gaps(data, out, world), "run": whole_run(data, out, world)}
        with world.machine_first():
            found["first"] = sorted(path.name for path in out.glob("entered-*"))
            (out / f"entered-{world.rank}").touch()
        found["gathered"] = world.gather({"rank": world.rank, "text": "é" * world.rank})
        found["leader"] = world.from_leader(b"\0leader" if world.leads else b"").decode()
        splits = {"val": read_split(data, "val")}
        # As where the leader has found the last file unreadable.
        some = dataclasses.replace(
            splits["val"], files=splits["val"].files[:-1], labels=splits["val"].labels[:-1]
        )
        agreed = agreed_splits({"val": some} if world.leads else splits, world)
        found["agreed"] = agreed == {"val": some}
        screening = Screening(agreed, {}, [])
        require_same(world, Settings(data_root=Path(str(world.rank))), screening)
        try:
            require_same(world, Settings(batch_size=4 + world.rank), screening)
        except SkinLesionError as error:
            found["refused"] = [type(error).__name__, str(error), error.exit_code]
        (out / f"{world.rank}.json").write_text(json.dumps(found), encoding="utf-8")
        # The others wait for the end of the one that was refused.
        os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
