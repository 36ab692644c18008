import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest

from skinlesion_cli.api.explain import explain
from skinlesion_cli.cli.model_choice import ModelChoice
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.inference.ensemble import Ensemble
from skinlesion_cli.inference.prediction import Failure, Prediction
from skinlesion_cli.inference.predictor import Predictor, load_predictor
from skinlesion_cli.inference.scoring import predict_and_evaluate
from skinlesion_cli.metrics.prior import retarget
from skinlesion_cli.models.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import CLASSES, Run


@pytest.fixture(scope="module")
def members(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The trained model, and another with a different head and temperature. Read only."""
    loaded = load_checkpoint(checkpoint)
    head = next(name for name in loaded.state if name.endswith("fc.weight"))
    state = loaded.state | {head: loaded.state[head].flip(0) * 3}
    other = tmp_path_factory.mktemp("ensemble") / "run" / "checkpoints" / "best_model.pth"
    other.parent.mkdir(parents=True)
    save_checkpoint(other, dataclasses.replace(loaded, state=state, temperature=2.0))
    return [checkpoint, other]


def rows(predictor: Predictor, data: Path, **options: object) -> np.ndarray:
    found = predictor.predict_many(read_split(data, "test").paths, **options)  # type: ignore[arg-type]
    return np.array([[*one.probabilities.values()] for one in found if isinstance(one, Prediction)])


@pytest.mark.parametrize("flips", [False, True])
def test_it_is_the_mean_of_the_calibrated_probabilities(members: list[Path], data: Path, flips: bool) -> None:
    single = [load_predictor(path) for path in members]
    ensemble = Ensemble(single)
    expected = np.mean([rows(one, data, flips=flips) for one in single], axis=0)
    assert np.ptp(rows(single[0], data) - rows(single[1], data)) > 0.01
    assert rows(ensemble, data, flips=flips) == pytest.approx(expected, abs=1e-12)
    predictions, _, document = predict_and_evaluate(ensemble, read_split(data, "test"), flips=flips)
    assert predictions.probabilities == pytest.approx(expected, abs=1e-12)
    gain = document["ensemble"]["differences"]["loss"]
    alone = [predict_and_evaluate(one, read_split(data, "test"), flips=flips)[2]["loss"] for one in single]
    assert gain["a"] == pytest.approx(np.mean(alone))
    assert gain["b"] == document["loss"]
    assert gain["ci95"][0] <= gain["difference"] <= gain["ci95"][1]
    assert (document["tta"] is not None) == flips


def test_its_map_is_the_mean_of_its_members_maps(members: list[Path], picture: Path) -> None:
    single = [load_predictor(path) for path in members]
    ensemble = Ensemble(single)
    (joined,) = explain(ensemble, picture, faithfulness=True)
    answer = ensemble.predict(picture)
    assert joined.label == joined.predicted == answer.label
    assert joined.confidence == pytest.approx(answer.confidence, abs=1e-5)
    alone = [explain(one, picture, classes=joined.label)[0] for one in single]
    mean = np.mean([one.heat for one in alone], axis=0)
    assert np.ptp(alone[0].heat - alone[1].heat) > 0.1
    assert joined.heat == pytest.approx(mean / mean.max(), abs=1e-6)
    assert joined.faithfulness is not None
    # Of two equal members, the ensemble is that member.
    (twin,) = explain(Ensemble([single[0], single[0]]), picture, classes=joined.label, faithfulness=True)
    (one,) = explain(single[0], picture, classes=joined.label, faithfulness=True)
    assert twin.heat == pytest.approx(one.heat, abs=1e-6)
    assert vars(twin.faithfulness) == pytest.approx(vars(one.faithfulness), abs=1e-6)


def test_maps_of_views_that_differ_have_no_mean(members: list[Path], picture: Path, tmp_path: Path) -> None:
    loaded = load_checkpoint(members[1])
    larger = dataclasses.replace(loaded.preprocessing, img_size=96)
    save_checkpoint(tmp_path / "larger.pth", dataclasses.replace(loaded, preprocessing=larger))
    ensemble = Ensemble([load_predictor(path) for path in (members[0], tmp_path / "larger.pth")])
    with pytest.raises(InputError, match="different sizes"):
        explain(ensemble, picture)


def test_files_that_fail_and_open_files(members: list[Path], picture: Path, tmp_path: Path) -> None:
    ensemble = Ensemble([load_predictor(path) for path in members])
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    good, bad, opened = ensemble.predict_many([picture, broken, io.BytesIO(picture.read_bytes())])
    assert isinstance(bad, Failure)
    assert isinstance(good, Prediction)
    assert isinstance(opened, Prediction)
    assert opened.probabilities == good.probabilities
    assert good.distance is not None


def test_another_prior_is_the_formula_and_the_original_is_kept(members: list[Path], data: Path) -> None:
    wanted = {CLASSES[0]: 1.0, CLASSES[1]: 6.0, CLASSES[2]: 3.0}
    single = load_predictor(members[0])
    trained = single.checkpoint.trained_prior()
    # The paper's weights for 12, 7 and 4 images.
    weights = np.array([1 / (1 - 0.999**n) for n in (12, 7, 4)])
    prior = np.sqrt([12, 7, 4]) * weights
    assert trained == pytest.approx(prior / prior.sum())
    before = rows(single, data)
    expected = retarget(before, trained, np.array([0.1, 0.6, 0.3]))
    moved = single.with_prior(wanted)
    assert rows(moved, data) == pytest.approx(expected, abs=1e-12)
    assert rows(single, data).tolist() == before.tolist()
    one = moved.predict(read_split(data, "test").paths[0])
    assert [*one.to_dict()["original_probabilities"].values()] == pytest.approx(before[0])
    predictions, _, document = predict_and_evaluate(moved, read_split(data, "test"))
    assert predictions.probabilities == pytest.approx(expected, abs=1e-12)
    assert document["prior"]["target"][CLASSES[1]] == pytest.approx(0.6)
    assert [*document["prior"]["trained"].values()] == pytest.approx(trained)
    both = Ensemble([load_predictor(path) for path in members]).with_prior(wanted)
    parts = [rows(load_predictor(path).with_prior(wanted), data) for path in members]
    assert rows(both, data) == pytest.approx(np.mean(parts, axis=0), abs=1e-12)


def test_a_model_that_does_not_say_how_it_was_trained_has_no_other_prior(
    checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plain.pth"
    save_checkpoint(path, dataclasses.replace(load_checkpoint(checkpoint), class_counts={}))
    with pytest.raises(InputError, match="does not say how many training images"):
        load_predictor(path).with_prior("uniform")


def test_the_commands_take_several_and_a_folder_of_runs(
    cli_run: Run, members: list[Path], data: Path, picture: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "method"
    for place, path in enumerate(members):
        target = runs / f"fold-{place}" / "checkpoints"
        target.mkdir(parents=True)
        (target / "best_model.pth").write_bytes(path.read_bytes())
    both = ["--checkpoint", members[0], "--checkpoint", members[1]]
    (named,) = cli_run("predict", picture, "--json", *both).json()
    assert named == Ensemble([load_predictor(path) for path in members]).predict(picture).to_dict() | {
        "image": str(picture)
    }
    done = cli_run("evaluate", "--data", data, "--checkpoint", runs, "--prior", "uniform")
    assert "Mean over 2 models" in done.stdout
    assert "Another class prior" in done.stdout
    maps = cli_run("gradcam", picture, "--checkpoint", runs, "--out", tmp_path / "map.png", "--json").json()
    assert (maps["class"], maps["confidence"]) == (
        named["class"],
        pytest.approx(named["confidence"], abs=1e-5),
    )
    assert (tmp_path / "map.png").is_file()
    with pytest.raises(InputError, match="takes one model, not 2"):
        _ = ModelChoice(checkpoint=members).file
    assert (
        "cannot be combined with --tta"
        in cli_run("evaluate", "--data", data, "--prior", "uniform", "--tta", code=2).stderr
    )
