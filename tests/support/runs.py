"""Small training runs in the test's own process."""

from pathlib import Path

import torch

from skinlesion_cli.common.events import Event
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.signals import Stopping
from skinlesion_cli.data.file_hashes import contents_of
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.trainer import Trainer

WITH_DROPOUT = "ghostnet_050"


def tiny(data: Path, **changes: object) -> Settings:
    """Settings of a run of seconds."""
    settings = Settings(
        data_root=data,
        model_arch="mobilevitv2_050",
        img_size=64,
        pretrained=False,
        batch_size=8,
        epochs=3,
        num_workers=0,
        precision="fp32",
        epoch_size_mult=1.0,
        seed=3,
    )
    return settings.model_copy(update=changes)


def trainer(
    data: Path,
    root: Path,
    *,
    resume: bool = False,
    stopping: Stopping | None = None,
    kind: type[Trainer] = Trainer,
    **changes: object,
) -> tuple[Trainer, list[Event]]:
    """A trainer of `tiny` settings with `changes`, and the list that its events go to."""
    folder = RunFolder(root)
    folder.claim(resume=resume, overwrite=not resume)
    events: list[Event] = []
    splits = {name: read_split(data, name) for name in ("train", "val")}
    made = kind(
        tiny(data, **changes),
        *splits.values(),
        folder,
        resume=resume,
        contents=contents_of(splits),
        stopping=stopping,
        on_event=events.append,
    )
    return made, events


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """The model in a checkpoint."""
    return torch.load(path, weights_only=True)["model"]


def assert_same_outcome(first: Path, second: Path) -> None:
    """Two runs ended with the same weights and the same history, to the last bit."""
    history = [(run / "results" / "history.csv").read_bytes() for run in (first, second)]
    assert history[0] == history[1]
    for name in ("last.pth", "best_model.pth"):
        one, other = (weights_of(run / "checkpoints" / name) for run in (first, second))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
