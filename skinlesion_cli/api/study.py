"""`study`: train several methods on the same folds or seeds, and compare them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from skinlesion_cli.api.train import train
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.events import Note, OnEvent, ignore
from skinlesion_cli.common.files import ensure_writable_folder, read_text, write_text
from skinlesion_cli.common.settings import Settings
from skinlesion_cli.common.settings_file import to_toml
from skinlesion_cli.common.tables import Tabular, html_table
from skinlesion_cli.curation.folds import make_folds
from skinlesion_cli.data.manifest import origins_of
from skinlesion_cli.data.splits import has_split
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.predictions import Predictions, read_predictions
from skinlesion_cli.metrics.study import compare_methods
from skinlesion_cli.training.run_folder import RunFolder

FOLDS, SEEDS = "folds", "seeds"
Item = TypeVar("Item")


@dataclass(frozen=True)
class StudyRun:
    """One training run of a study."""

    method: str
    name: str
    """`fold-1` or `seed-42`."""
    settings: Settings
    config: Path
    """The method's settings."""
    folder: Path

    @property
    def done(self) -> bool:
        """Whether it has been scored."""
        return (self.folder / "results" / "metrics.json").exists()

    @property
    def command(self) -> str:
        """The command that does this run alone, for a batch system."""
        arguments = ["--config", self.config, "--data", self.settings.data_root]
        arguments += ["--images", self.settings.images_root] if self.settings.images_root else []
        arguments += ["--out", self.folder, "--seed", self.settings.seed]
        return shlex.join(["skinlesion", "train", *map(str, arguments)])


@dataclass(frozen=True)
class StudyResult(Tabular):
    """The scores of all methods, and their differences from the first."""

    document: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The document that `study --json` prints."""
        return self.document

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per method and score, as in study.csv."""
        rows = []
        for method, scores in self.document["methods"].items():
            for metric, one in scores.items():
                difference = self.document["differences"].get(method, {}).get(metric, {})
                low, high = one["ci95"] or (None, None)
                from_low, to_high = difference.get("ci95") or (None, None)
                rows.append(
                    {
                        "method": method,
                        "metric": metric,
                        "value": one["value"],
                        "low": low,
                        "high": high,
                        "mean_of_runs": one["mean"],
                        "sd_of_runs": one["sd"],
                        "difference": difference.get("difference"),
                        "difference_low": from_low,
                        "difference_high": to_high,
                    }
                )
        return rows

    def _repr_html_(self) -> str:
        from skinlesion_cli.report.figures import LABELS, figure, interval

        def table(methods: Mapping[str, Any], key: str) -> str:
            rows = []
            for metric, label in LABELS.items():
                scores = {name: one[metric] for name, one in methods.items()}
                shown = {name: f"{figure(one[key])} {interval(one['ci95'])}" for name, one in scores.items()}
                rows.append({key: label, **shown})
            return html_table(rows)

        methods, differences = self.document["methods"], self.document["differences"]
        return table(methods, "value") + (table(differences, "difference") if differences else "")

    def save(self, folder: str | Path) -> list[Path]:
        """Write study.json, study.csv, study.html and forest.png; returns their paths."""
        from skinlesion_cli.report.study import write_study

        return write_study(Path(folder), self.document, self.rows())


def study(
    data: str | Path,
    *,
    out: str | Path,
    recipes: Sequence[str] = ("paper", "plain", "long-tail"),
    methods: Mapping[str, Settings] | None = None,
    folds: int = 0,
    seeds: int = 0,
    on_event: OnEvent = ignore,
    **settings: Any,
) -> StudyResult:
    """Train each recipe, or other methods, on the same folds or seeds, and compare them.

    A study that was interrupted continues when it is called again. It writes ordinary run folders and
    study.json, study.csv, study.html and forest.png to `out`.

    Args:
        data: the data set's folder or table.
        out: the study's folder.
        recipes: names of recipes; the first is the one that the others are compared with.
        methods: instead of recipes, the settings of each method by name.
        folds: cross-validation over train and val together; the test split is not touched.
        seeds: instead of folds, runs per method on the data set's own splits.
        on_event: receives progress events.
        **settings: settings of all methods: `epochs`, `model_arch`, …

    Raises:
        InputError: see `plan_study`.
        SkinLesionError: a run fails; see `train`.
    """
    settings = {"data_root": Path(data), **settings}
    chosen = methods or {name: Settings.model_validate({**settings, "recipe": name}) for name in recipes}
    runs = plan_study(chosen, out=out, folds=folds, seeds=seeds, on_event=on_event)
    run_study(runs, on_event=on_event)
    result = collect_study(runs)
    result.save(out)
    return result


def plan_study(
    methods: Mapping[str, Settings],
    *,
    out: str | Path,
    folds: int = 0,
    seeds: int = 0,
    on_event: OnEvent = ignore,
) -> list[StudyRun]:
    """Create the study's folder with its folds and configuration files; returns all runs, finished or not.

    Args:
        methods: the settings of each method, by name. The others are compared with the first.
        out: the study's folder. A study that was begun there continues; methods may be added.
        folds: cross-validation over train and val together, at least 2. The test split is not touched.
        seeds: instead of folds, runs per method on the data set's own splits, at least 2.
        on_event: receives progress events.

    Raises:
        InputError: both or neither of folds and seeds, methods with different data sets, a class with too few
            groups, or a folder with another study.
    """
    out = Path(out)
    design, count = (FOLDS, folds) if folds else (SEEDS, seeds)
    if bool(folds) == bool(seeds) or count < 2:
        raise InputError("a study needs either --folds K or --seeds K, at least 2")
    if not methods:
        raise InputError("name at least one method with --recipe or --config")
    first = next(iter(methods.values()))
    if any(
        (one.data_root, one.images_root, one.seed) != (first.data_root, first.images_root, first.seed)
        for one in methods.values()
    ):
        raise InputError("the methods of a study need the same data set and seed")
    ensure_writable_folder(out)
    _write_or_require(out / "study.toml", f'design = "{design}"\ncount = {count}\nseed = {first.seed}\n')
    for name, settings in methods.items():
        _write_or_require(out / f"{name}.toml", to_toml(settings))
    if folds:
        tables, images = make_folds(
            first.data_root, out / FOLDS, folds, first.seed, on_event, images_root=first.images_root
        )
        parts: list[tuple[str, Path, Path | None, int]]
        parts = [(f"fold-{fold}", table, images, first.seed) for fold, table in enumerate(tables, start=1)]
    else:
        parts = [
            (f"seed-{first.seed + n}", first.data_root, first.images_root, first.seed + n)
            for n in range(seeds)
        ]
    return [
        StudyRun(
            method,
            name,
            settings.model_copy(update={"data_root": data, "images_root": images, "seed": seed}),
            out / f"{method}.toml",
            out / method / name,
        )
        # All methods on one fold, then on the next: even an unfinished study is a fair comparison.
        for name, data, images, seed in parts
        for method, settings in methods.items()
    ]


def in_part(runs: Sequence[Item], part: tuple[int, int]) -> Sequence[Item]:
    """Of part (i, n), every n-th run from the i-th on, so that n machines can share a study."""
    return runs[part[0] - 1 :: part[1]]


def run_study(
    runs: Sequence[StudyRun], *, part: tuple[int, int] = (1, 1), on_event: OnEvent = ignore
) -> None:
    """Train all unfinished runs in this process; an interrupted run is resumed.

    Only those of a `part` (see `in_part`).
    """
    for number, run in in_part(list(enumerate(runs, start=1)), part):
        label = f"run {number} of {len(runs)}: {run.method}, {run.name}"
        if run.done:
            on_event(Note(f"{label}: done"))
            continue
        on_event(Note(label))
        # A run that was interrupted before its first last.pth starts again.
        resume = RunFolder(run.folder).is_resumable
        train(run.settings, out=run.folder, resume=resume, overwrite=not resume, on_event=on_event)


def collect_study(runs: Sequence[StudyRun]) -> StudyResult:
    """Compare the methods on the held-out images of all runs.

    Raises:
        InputError: a run is not finished, or its predictions are for other images.
    """
    if open_runs := [run for run in runs if not run.done]:
        raise InputError(f"{len(open_runs)} of {len(runs)} runs are not finished: {open_runs[0].folder}")
    by_name: dict[str, list[StudyRun]] = {}
    for run in runs:
        by_name.setdefault(run.name, []).append(run)
    tables: dict[str, list[Predictions]] = {run.method: [] for run in runs}
    groups: list[str] | None = []
    disjoint = runs[0].name.startswith("fold-")
    for together in by_name.values():
        split = "test" if has_split(together[0].settings.data_root, "test") else "val"
        found = [read_predictions(run.folder / "results" / f"{split}_predictions.csv") for run in together]
        for run, table in zip(together, found, strict=True):
            if (table.images, table.classes) != (found[0].images, found[0].classes):
                raise InputError(f"{run.folder} and {together[0].folder} scored different images")
            tables[run.method].append(table)
        if disjoint or not groups:
            groups = _with_groups(groups, together[0].settings.data_root, split, found[0].images)
    images = sum(len(one) for one in tables[runs[0].method]) if disjoint else len(tables[runs[0].method][0])
    document = compare_methods(tables, Bootstrap(images, groups), disjoint=disjoint)
    design = {"design": FOLDS if disjoint else SEEDS, "runs": [*by_name]}
    return StudyResult(design | document)


def _with_groups(groups: list[str] | None, root: Path, split: str, images: Sequence[str]) -> list[str] | None:
    """The groups, extended by those of more images; None as soon as any is unknown."""
    found = origins_of(root, split, [Path(image) for image in images]).groups
    return None if groups is None or found is None else groups + found


def _write_or_require(path: Path, text: str) -> None:
    if not path.exists():
        write_text(path, text)
    elif read_text(path) != text:
        raise InputError(f"{path} belongs to a study with other settings; choose another folder with --out")
