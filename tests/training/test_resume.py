from pathlib import Path

import pytest
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Event, Note, StepsDone, Warned
from skinlesion_cli.common.signals import Stopped, Stopping
from skinlesion_cli.data.file_hashes import write_contents
from tests.conftest import CLASSES, draw_data_set
from tests.support.runs import (
    WITH_DROPOUT,
    Signalled,
    assert_same_outcome,
    screened,
    stop_after,
    trainer,
)

TWO_EPOCHS = {"model_arch": WITH_DROPOUT, "epochs": 2}


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped. Read only."""
    folder = tmp_path_factory.mktemp("whole")
    trainer(data, folder, **TWO_EPOCHS)[0].run()
    return folder


def stop(data: Path, root: Path, after: int, **changes: object) -> None:
    stop_after(data, root, after, **TWO_EPOCHS | changes)


@pytest.mark.parametrize(
    ("after", "where"),
    [
        (1, "step 1 of epoch 1"),
        (0, "step 3 of epoch 1"),
        (5, "step 2 of epoch 2"),
    ],
    ids=["first step", "validation", "second epoch"],
)
def test_a_run_that_is_stopped_anywhere_goes_on_to_the_bit(
    data: Path, tmp_path: Path, whole: Path, after: int, where: str
) -> None:
    stop(data, tmp_path, after)
    torch.manual_seed(999)  # whatever happens in between
    resumed, events = trainer(data, tmp_path, resume=True, **TWO_EPOCHS)
    assert Note(f"resuming after {where}") in events
    resumed.run()
    assert_same_outcome(whole, tmp_path)


# Everything that a recipe can set, at once.
EVERYTHING = {
    "recipe": "long-tail",
    "epochs": 3,
    "ema_decay": 0.9,
    "mixup": 0.2,
    "cutmix": 1.0,
    "label_smoothing": 0.05,
    "decay_norm": False,
    "logit_adjustment": 0.5,
    "layer_decay": 0.8,
    "deferred_weighting": 2,
    "select": "loss",
}


def test_a_recipe_goes_on_to_the_bit(data: Path, tmp_path: Path) -> None:
    whole, _ = trainer(data, tmp_path / "whole", **TWO_EPOCHS | EVERYTHING)
    history = whole.run()
    stop(data, tmp_path / "stopped", 4, **EVERYTHING)
    torch.manual_seed(999)  # whatever happens in between
    trainer(data, tmp_path / "stopped", resume=True, **TWO_EPOCHS | EVERYTHING)[0].run()
    assert_same_outcome(tmp_path / "whole", tmp_path / "stopped")
    # The best epoch's checkpoint has the averaged weights, last.pth those that are trained.
    best, last = (torch.load(path, weights_only=True) for path in (whole.folder.best, whole.folder.last))
    assert best["epoch"] == min(history, key=lambda record: record.val_loss).epoch
    averaged = last["training"]["average"]
    assert any(not torch.equal(averaged[name], value) for name, value in last["model"].items())
    if best["epoch"] == 3:
        assert all(torch.equal(averaged[name], value) for name, value in best["model"].items())


def test_a_finished_run_can_be_made_longer_and_says_that_its_schedule_restarts(
    data: Path, tmp_path: Path
) -> None:
    short = TWO_EPOCHS | {"epochs": 1, "learning_rate": 1e-3}
    for name in ("whole", "stopped"):
        trainer(data, tmp_path / name, **short)[0].run()
    longer = short | {"epochs": 3}
    run, events = trainer(data, tmp_path / "whole", resume=True, **longer)
    said = "epochs was 1 and is 3: the learning rate restarts at 0.001, and decreases until epoch 3"
    assert Warned(said) in events
    assert [record.learning_rate for record in run.run()] == pytest.approx([1e-3, 1e-3, 5e-4])
    with Stopping() as stopping:
        stopped, _ = trainer(
            data, tmp_path / "stopped", resume=True, stopping=stopping, kind=Signalled, **longer
        )
        stopped.after = 4
        with pytest.raises(Stopped):
            stopped.run()
    again, events = trainer(data, tmp_path / "stopped", resume=True, **longer)
    assert not any(isinstance(event, Warned) for event in events)
    again.run()
    assert_same_outcome(tmp_path / "whole", tmp_path / "stopped")
    with pytest.raises(InputError, match="epochs was 3 and is 2"):
        trainer(data, tmp_path / "whole", resume=True, **short | {"epochs": 2})


def test_worker_processes_go_on_where_they_were(data: Path, tmp_path: Path, whole: Path) -> None:
    stop(data, tmp_path, 2, num_workers=2)
    trainer(data, tmp_path, resume=True, num_workers=2, **TWO_EPOCHS)[0].run()
    assert_same_outcome(whole, tmp_path)


def test_checkpoints_in_mid_epoch_change_nothing(data: Path, tmp_path: Path, whole: Path) -> None:
    run, events = trainer(data, tmp_path, save_every=2, **TWO_EPOCHS)
    steps = []

    def look(event: Event) -> None:
        if isinstance(event, StepsDone) and run.folder.last.exists():
            steps.append(torch.load(run.folder.last, weights_only=True)["training"]["step"])
        events.append(event)

    run.on_event = look
    run.run()
    assert 2 in steps
    assert_same_outcome(whole, tmp_path)


def test_a_damaged_checkpoint_falls_back_on_the_one_before(data: Path, tmp_path: Path, whole: Path) -> None:
    stop(data, tmp_path, 5, save_every=1)
    last = tmp_path / "checkpoints" / "last.pth"
    damaged = bytearray(last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    last.write_bytes(damaged)
    resumed, events = trainer(data, tmp_path, resume=True, **TWO_EPOCHS)
    (warning,) = (event.text for event in events if isinstance(event, Warned))
    assert "last.pth: it is damaged" in warning
    assert warning.endswith("continuing from last.previous.pth instead")
    resumed.run()
    assert_same_outcome(whole, tmp_path)


def test_a_crash_between_two_renames_leaves_the_one_before(data: Path, tmp_path: Path, whole: Path) -> None:
    stop(data, tmp_path, 4)
    last = tmp_path / "checkpoints" / "last.pth"
    last.rename(last.with_name("last.previous.pth"))
    (last.parent / ".last.0123abcd.pth").write_bytes(b"half")
    resumed, _ = trainer(data, tmp_path, resume=True, **TWO_EPOCHS)
    assert [path.name for path in sorted(last.parent.iterdir())] == ["best_model.pth", "last.previous.pth"]
    resumed.run()
    assert_same_outcome(whole, tmp_path)


def test_without_any_whole_checkpoint_it_says_so(data: Path, tmp_path: Path) -> None:
    stop(data, tmp_path, 2, save_every=1)
    for name in ("last.pth", "last.previous.pth"):
        path = tmp_path / "checkpoints" / name
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"last\.previous\.pth: it is damaged, truncated"):
        trainer(data, tmp_path, resume=True, **TWO_EPOCHS)


def test_what_is_free_to_change_is_and_what_is_younger_had_its_default(data: Path, tmp_path: Path) -> None:
    stop(data, tmp_path, 1)
    path = tmp_path / "checkpoints" / "last.pth"
    content = torch.load(path, weights_only=True)
    del content["settings"]["on_bad_image"], content["settings"]["normalization"]
    torch.save(content, path)
    trainer(data, tmp_path, resume=True, save_every=7, on_bad_image="skip", **TWO_EPOCHS)
    with pytest.raises(InputError, match="normalization was imagenet and is backbone; give the same"):
        trainer(data, tmp_path, resume=True, normalization="backbone", **TWO_EPOCHS)


def test_a_data_set_that_was_edited_in_between_is_refused(tmp_path: Path) -> None:
    data = draw_data_set(tmp_path / "data", {"train": (4, 4), "val": (2, 2)}, CLASSES[:2])
    stop(data, tmp_path, 1)
    write_contents(tmp_path / "results" / "files.csv", screened(data).contents)
    # As many images of each class as before.
    (data / "train" / CLASSES[0] / "0.jpg").rename(data / "train" / CLASSES[0] / "9.jpg")
    for index in range(2):
        with (data / "val" / CLASSES[1] / f"{index}.jpg").open("ab") as file:
            file.write(b"\0")
    with pytest.raises(InputError, match=r"\(train: 1 added, 1 removed; val: 2 changed\); restore it"):
        trainer(data, tmp_path, resume=True, **TWO_EPOCHS)


def test_a_run_of_several_gpus_goes_on_without_one(data: Path, tmp_path: Path, whole: Path) -> None:
    stop(data, tmp_path, 1)
    path = tmp_path / "checkpoints" / "last.pth"
    content = torch.load(path, weights_only=True)
    assert content["training"]["device_rng"] == {}
    # As CUDA's generator leaves it; a scaler's state is not for this device either.
    content["training"]["device_rng"] = {"cuda": torch.zeros(16, dtype=torch.uint8)}
    content["training"]["scaler"] = torch.amp.GradScaler("cpu").state_dict()
    torch.save(content, path)
    resumed, _ = trainer(data, tmp_path, resume=True, **TWO_EPOCHS)
    resumed.run()
    assert_same_outcome(whole, tmp_path)
