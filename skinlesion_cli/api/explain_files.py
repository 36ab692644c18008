"""`explain_files`: the maps of many photographs, written to files, and measured as a whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skinlesion_cli.common.errors import UnreadableImageError
from skinlesion_cli.common.events import OnEvent, Warned, ignore
from skinlesion_cli.common.files import written_whole
from skinlesion_cli.data.manifest import check_manifest, origins_of
from skinlesion_cli.data.splits import evenly, read_split
from skinlesion_cli.report.heatmaps.files import Files

if TYPE_CHECKING:
    from skinlesion_cli.api.explain import Explanation
    from skinlesion_cli.inference.predictor import Predictor


@dataclass(frozen=True)
class Photographs:
    """The photographs to explain, and what the data set says about them."""

    paths: list[Path]
    true: list[str] | None = None
    """The true class of each; None if unknown."""
    groups: list[str] | None = None
    """The lesion or patient of each; None if unknown."""


@dataclass(frozen=True)
class Explained:
    """What `explain_files` has done."""

    failures: int
    """Number of photographs that could not be read."""
    sheets: list[Path]
    """The contact sheets."""
    summary: dict[str, Any] | None
    """The faithfulness of all maps; None if it was not measured."""


def photographs_of(
    data_root: Path,
    split: str,
    *,
    images_root: Path | None = None,
    limit: int | None = None,
    on_event: OnEvent = ignore,
) -> Photographs:
    """The photographs of a split, at most `limit` of them, evenly spaced.

    Raises:
        InputError: there is no such split, or its manifest is damaged.
    """
    found = read_split(data_root, split, on_event, images_root=images_root)
    check_manifest(data_root, [found], on_event)
    chosen = evenly(range(len(found.files)), len(found.files) if limit is None else limit)
    files, true = [found.files[index] for index in chosen], [found.classes[found.labels[n]] for n in chosen]
    groups = origins_of(data_root, split, files).groups
    return Photographs([found.root / file for file in files], true, groups)


def explain_files(
    predictor: "Predictor",
    photographs: Photographs,
    files: Files,
    *,
    alpha: float,
    smooth: bool = False,
    on_event: OnEvent = ignore,
    on_result: Callable[[dict[str, Any]], None],
    **options: Any,
) -> Explained:
    """Explain photographs, and write their figures, contact sheets and raw maps.

    Args:
        predictor: the model.
        photographs: the photographs.
        files: the files to write (see `plan`).
        alpha: opacity of the map between its lines, in [0, 1].
        smooth: whether to interpolate between the cells of the map.
        on_event: receives a warning about each unreadable photograph, and about each empty map.
        on_result: receives the document of each map, or with an `error` of each unreadable photograph, as
            `gradcam --json` prints them.
        **options: `labels`, `top`, `layer`, `method` and `measured` of `explain_classes`.

    Raises:
        UnreadableImageError: the only photograph cannot be read.
        InputError: the class or the layer is invalid.
        SkinLesionError: the class does not depend on the layer's output, or a file cannot be written.
    """
    from skinlesion_cli.api.explain import explain_each
    from skinlesion_cli.inference.prediction import Failure
    from skinlesion_cli.report.fonts import undrawable
    from skinlesion_cli.saliency.faithfulness import summarise

    paths, true, groups = photographs.paths, photographs.true, photographs.groups
    if text := undrawable([*predictor.classes, *(path.name for path in paths)]):
        on_event(Warned(text))
    writer = _MapWriter(files, alpha=alpha, smooth=smooth)
    areas, units, failures = [], [], 0
    for index, result in enumerate(explain_each(predictor, paths, **options)):
        if isinstance(result, Failure):
            if len(paths) == 1:
                raise UnreadableImageError(result.error)
            on_event(Warned(result.error))
            on_result(result.to_dict())
            failures += 1
            continue
        written = writer.add(index, result, true[index] if true else None)
        for one in result:
            if not one.heat.any():
                fault = f"no positive evidence for {one.label} in the layer {one.layer}"
                on_event(Warned(f"{one.source}: {fault}; the map is empty"))
            known = {"true": true[index], "predicted": one.predicted} if true else {}
            on_result(one.to_dict() | known | written)
            if one.faithfulness is not None:
                areas.append(one.faithfulness)
                units.append(groups[index] if groups else one.source)
    summary = summarise(areas, units, "groups" if groups else "images") if areas else None
    return Explained(failures, writer.end(), summary)


class _MapWriter:
    """Writes the figures, contact sheets and raw maps of many photographs. Call `end` after the last one."""

    def __init__(self, files: Files, **options: Any):
        """`options` are the `alpha` and `smooth` of `Explanation.overlay`."""
        from skinlesion_cli.report.heatmaps.sheet import Sheets

        self._files, self._options, self._sheets = files, options, Sheets(files.sheets, **options)

    def add(self, index: int, found: Sequence["Explanation"], true: str | None = None) -> dict[str, str]:
        """Write the files of one photograph; returns their names under the keys of `gradcam --json`."""
        from skinlesion_cli.report.heatmaps.overlay import draw_overlay

        written, name = {}, Path(found[0].source).name
        if self._files.sheets:
            written["out"] = str(self._sheets.add(name, found, true))
        if self._files.pictures:
            draw_overlay(found, self._files.pictures[index], name=name, true=true, **self._options)
            written["out"] = str(self._files.pictures[index])
        if self._files.maps:
            import numpy as np

            maps = np.stack([one.raw for one in found])
            with written_whole(self._files.maps[index]) as part:
                np.save(part, maps if len(maps) > 1 else maps[0])
            written["npy"] = str(self._files.maps[index])
        return written

    def end(self) -> list[Path]:
        """Write the last sheet, which may be incomplete; returns all sheets."""
        self._sheets.end()
        return self._sheets.written
