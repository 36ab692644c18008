"""`skinlesion study`."""

from pathlib import Path
from typing import Annotated, Any

from skinlesion_cli.cli.options import JsonOption, option, part_of, with_settings
from skinlesion_cli.cli.terminal import console
from skinlesion_cli.cli.terminal.progress import Display
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.resolve import resolve
from skinlesion_cli.common.settings import FIELDS, Settings

_RECIPES = option("--recipe", "A recipe to compare; can be repeated. The first is the baseline.", "NAME")
_CONFIGS = option(
    "--config", "A TOML file of settings to compare, after the recipes; can be repeated.", "FILE"
)
_FOLDS = option("--folds", "Cross-validation over train and val: K folds. Never touches test.", "K")
_SEEDS = option("--seeds", "Instead of folds, K runs per method on the data's own splits.", "K")
_OUT = option("--out", "The study's folder; a study that was begun there continues.", "DIR")
_PART = option("--part", "Train only every N-th run, from the I-th on.", "I/N")
_DRY = option("--dry-run", "Only print one command per run, for a batch system.")


@with_settings(*(name for name in FIELDS if name != "recipe"))
def study(
    *,
    options: dict[str, Any],
    out: Annotated[Path, _OUT] = Path("study"),
    recipe: Annotated[list[str] | None, _RECIPES] = None,
    config: Annotated[list[Path] | None, _CONFIGS] = None,
    folds: Annotated[int, _FOLDS] = 0,
    seeds: Annotated[int, _SEEDS] = 0,
    part: Annotated[str, _PART] = "1/1",
    dry_run: Annotated[bool, _DRY] = False,
    json: JsonOption = False,
) -> int:
    """Train several recipes on the same folds or seeds, and compare them."""
    from skinlesion_cli.api.study import collect_study, in_part, plan_study, run_study

    share = part_of(part)
    with Display() as display:
        runs = plan_study(
            _methods(options, recipe or [], config or []),
            out=out,
            folds=folds,
            seeds=seeds,
            on_event=display.show,
        )
        if dry_run:
            for run in in_part(runs, share):
                console.say(run.command)
            return 0
        run_study(runs, part=share, on_event=display.show)
    if open_runs := sum(not run.done for run in runs):
        console.note(
            f"{open_runs} of {len(runs)} runs are left for the other parts; then run the study again"
        )
        return 0
    result = collect_study(runs)
    for path in result.save(out):
        console.note(f"written: {path}")
    if json:
        console.print_json(result.to_dict())
    else:
        _print(result.to_dict())
    return 0


def _methods(options: dict[str, Any], recipes: list[str], configs: list[Path]) -> dict[str, Settings]:
    methods = {name: resolve(options | {"recipe": name}) for name in recipes}
    for path in configs:
        if path.stem in methods:
            raise InputError(f"two methods are called {path.stem}: rename {path}")
        methods[path.stem] = resolve(options, config=path)
    return methods


def _print(document: dict[str, Any]) -> None:
    from skinlesion_cli.cli.terminal.section_text import section_text
    from skinlesion_cli.report.study import describe, sections

    for one in sections(document):
        console.out.print(section_text(one))
        console.out.print()
    console.say(describe(document))
