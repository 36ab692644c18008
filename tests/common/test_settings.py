from pathlib import Path
from typing import Any

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.resolve import resolve, unknown_variables
from skinlesion_cli.common.settings import FIELDS, Settings
from skinlesion_cli.common.settings_file import to_toml


def settle(tmp_path: Path, options: dict[str, Any] | None = None, **sources: Any) -> Settings:
    (tmp_path / ".env").write_text(sources.get("dotenv", ""), encoding="utf-8")
    config = None
    if "toml" in sources:
        config = tmp_path / "config.toml"
        config.write_text(sources["toml"], encoding="utf-8")
    environ = sources.get("environ", {})
    return resolve(options or {}, config=config, environ=environ, dotenv=tmp_path / ".env")


def test_the_defaults_are_the_papers() -> None:
    settings = Settings()
    assert (settings.model_arch, settings.img_size, settings.batch_size) == ("mobilevitv2_100", 256, 32)
    assert (settings.learning_rate, settings.weight_decay, settings.epochs) == (3e-4, 0.05, 60)
    assert (settings.sampler_alpha, settings.loss_beta, settings.epoch_size_mult) == (0.5, 0.999, 1.5)


def test_each_source_beats_the_next(tmp_path: Path) -> None:
    sources = {
        "toml": "epochs = 1\nseed = 1\nbatch_size = 1\npatience = 1",
        "dotenv": "SKINLESION_EPOCHS=2\nSKINLESION_SEED=2\nSKINLESION_BATCH_SIZE=2\nOTHER=x",
        "environ": {"SKINLESION_EPOCHS": "3", "SKINLESION_SEED": "3"},
    }
    settings = settle(tmp_path, {"epochs": "4", "seed": None}, **sources)
    assert (settings.epochs, settings.seed, settings.batch_size) == (4, 3, 2)
    assert (settings.patience, settings.img_size) == (1, 256)


def test_every_setting_survives_its_own_file(tmp_path: Path) -> None:
    changed = Settings(
        data_root=tmp_path / "d", init_weights=tmp_path / "w.pth", pretrained=False, num_workers=3, seed=1
    )
    assert settle(tmp_path, toml=to_toml(changed)) == changed
    relative = settle(tmp_path, toml=to_toml(Settings()))
    assert relative == Settings(data_root=Path("data").absolute())


@pytest.mark.parametrize(
    ("sources", "reason"),
    [
        ({"toml": "epoch = 3"}, "config.toml: unknown setting 'epoch'; did you mean epochs"),
        ({"toml": "epochs = 2.5"}, "epochs in .*config.toml: 2.5 is not a whole number"),
        ({"toml": "epochs = true"}, "not a whole number"),
        ({"toml": "pretrained = 'maybe'"}, "not true or false"),
        ({"toml": "epochs = "}, "not a TOML file"),
        ({"toml": "device = 'gpu'"}, "not one of auto, cpu, cuda, mps"),
        ({"toml": "[epochs]\nx = 1"}, "not a whole number"),
        ({"dotenv": "SKINLESION_EPOCH=3"}, r"\.env: unknown setting 'epoch'"),
        ({"environ": {"SKINLESION_LEARNING_RATE": "fast"}}, "'fast' is not a number"),
        ({"environ": {"SKINLESION_LEARNING_RATE": "nan"}}, "not a number"),
        ({"environ": {"SKINLESION_LEARNING_RATE": "0"}}, "above 0"),
        ({"options": {"img_size": "0"}}, "--img-size: 0 is out of range; it must be at least 32"),
        ({"options": {"sampler_alpha": "1.5"}}, "at most 1"),
        ({"options": {"loss_beta": "-0.1"}}, "at least 0"),
    ],
)
def test_a_wrong_value_is_refused_with_its_origin(
    tmp_path: Path, sources: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        settle(tmp_path, sources.pop("options", None), **sources)


def test_an_absent_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the config file"):
        resolve({}, config=tmp_path / "absent.toml", environ={})


@pytest.mark.parametrize("name", list(FIELDS))
def test_every_setting_can_come_from_the_environment(tmp_path: Path, name: str) -> None:
    default = getattr(Settings(), name)
    unset = {
        "num_workers": ("2", 2),
        "init_weights": ("w.pth", Path("w.pth")),
        "images_root": ("i", Path("i")),
        "track": ("wandb", "wandb"),
    }
    text, expected = (str(default), default) if default is not None else unset[name]
    value = getattr(settle(tmp_path, environ={f"SKINLESION_{name.upper()}": text}), name)
    assert value == expected


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"epochs": -1}, "epochs: -1 is out of range; it must be at least 1"),
        ({"epochs": 2.5}, "epochs: 2.5 is not a whole number"),
        ({"epochs": True}, "epochs: True is not a whole number"),
        ({"img_size": 4096}, "img_size: 4096 is out of range; it must be at most 2048"),
        ({"learning_rate": float("nan")}, "learning_rate: nan is not a number"),
        ({"device": "gpu"}, "device: 'gpu' is not one of auto, cpu, cuda, mps"),
        ({"pretrained": "maybe"}, "pretrained: 'maybe' is not true or false"),
        ({"model_arch": ""}, "model_arch: '' is not a string"),
        ({"epoch": 3}, "Settings: unknown setting 'epoch'; did you mean epochs or warmup_epochs?"),
        ({"epochs": None}, "epochs: None is not a whole number"),
    ],
)
def test_in_python_a_wrong_value_is_refused_in_one_line(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**values)
    assert str(caught.value) == reason
    with pytest.raises(InputError) as caught:
        Settings().model_copy(update=values)
    assert str(caught.value) == reason


def test_a_copy_keeps_the_other_values_and_the_original() -> None:
    first = Settings(epochs=3, num_workers=0)
    second = first.model_copy(update={"epochs": 4, "data_root": "elsewhere"})
    assert (second.epochs, second.num_workers, second.data_root) == (4, 0, Path("elsewhere"))
    assert first == Settings(epochs=3, num_workers=0)
    with pytest.raises(ValueError, match="frozen"):
        first.epochs = 5


def test_python_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINLESION_EPOCHS", "7")
    assert Settings().epochs == 60
    assert resolve({}, dotenv=Path("absent")).epochs == 7


def test_an_overridden_value_is_checked_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"epochs in .*\.env: 'many' is not a whole number"):
        settle(tmp_path, {"epochs": "4"}, dotenv="SKINLESION_EPOCHS=many")


def test_unknown_variables_are_named_with_the_nearest_known_one() -> None:
    environ = {
        "SKINLESION_EPOCS": "3",
        "SKINLESION_CHECKPONT": "x.pth",
        "SKINLESION_OUT": "here",
        "SKINLESION_SEED": "1",
        "OTHER_EPOCS": "3",
    }
    lines = unknown_variables(environ)
    assert len(lines) == 2
    assert "SKINLESION_CHECKPONT is ignored; did you mean SKINLESION_CHECKPOINT" in lines[0]
    assert "SKINLESION_EPOCS is ignored; did you mean SKINLESION_EPOCHS" in lines[1]
