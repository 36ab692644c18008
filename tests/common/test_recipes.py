from pathlib import Path

from skinlesion_cli.common.recipes import RECIPES
from skinlesion_cli.common.resolve import resolve
from skinlesion_cli.common.settings import FIELDS, Settings, choices
from skinlesion_cli.common.settings_file import to_toml


def test_every_recipe_is_a_choice_and_has_valid_settings() -> None:
    assert tuple(RECIPES) == choices("recipe")
    for name, values in RECIPES.items():
        settings = Settings(recipe=name)
        assert {key: getattr(settings, key) for key in values} == values
        others = set(FIELDS) - set(values) - {"recipe"}
        assert all(getattr(settings, key) == FIELDS[key].default for key in others)


def test_all_other_sources_override_a_recipe(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('loss_beta = 0.5\nmixup = 0.7\nrecipe = "paper"\n', encoding="utf-8")
    environ = {"SKINLESION_EMA_DECAY": "0.9", "SKINLESION_RECIPE": "long-tail"}
    options = {"mixup": "0.3"}
    settings = resolve(options, config=config, environ=environ, dotenv=tmp_path / ".env")
    assert settings.recipe == "long-tail"
    assert (settings.loss_beta, settings.mixup, settings.ema_decay) == (0.5, 0.3, 0.9)
    assert settings.sampler_alpha == 1.0


def test_written_settings_reproduce_a_recipe(tmp_path: Path) -> None:
    settings = Settings(recipe="long-tail", mixup=0.6)
    config = tmp_path / "settings.toml"
    config.write_text(to_toml(settings), encoding="utf-8")
    again = resolve({}, config=config, environ={}, dotenv=tmp_path / ".env")
    assert again == settings.model_copy(update={"data_root": again.data_root})


def test_a_copy_keeps_the_recipes_values() -> None:
    copy = Settings(recipe="long-tail").model_copy(update={"epochs": 3})
    assert copy.learning_rate == RECIPES["long-tail"]["learning_rate"] != Settings().learning_rate
