"""`compare`: two models, image by image."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinlesion_cli.api.given_predictions import predictions_of
from skinlesion_cli.common.tables import Tabular, html_table
from skinlesion_cli.data.manifest import groups_in, origins_of
from skinlesion_cli.metrics import paired
from skinlesion_cli.metrics.bootstrap import Bootstrap
from skinlesion_cli.metrics.predictions import Predictions
from skinlesion_cli.training.run_folder import RunFolder


@dataclass(frozen=True)
class Comparison(Tabular):
    """How the predictions of a model B differ from those of a model A on the same images."""

    pair: paired.Pair
    document: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The document that `compare --json` prints; a metric that cannot be computed is None."""
        return self.document

    def rows(self) -> list[dict[str, Any]]:
        """One flat dict per summary metric: `metric`, `a`, `b`, `difference` (b − a), `low`, `high`."""
        rows = []
        for name, one in self.document["differences"].items():
            low, high = one["ci95"] or (None, None)
            figures = {key: one[key] for key in ("a", "b", "difference")}
            rows.append({"metric": name, **figures, "low": low, "high": high})
        return rows

    def _repr_html_(self) -> str:
        from skinlesion_cli.report.figures import LABELS, figure, interval

        rows = [
            {"score": LABELS.get(name, name), "a": figure(one["a"]), "b": figure(one["b"])}
            | {"b − a": figure(one["difference"]), "95% interval": interval(one["ci95"])}
            for name, one in self.document["differences"].items()
        ]
        return html_table(rows, f"{self.document['n']} images")


def compare(
    a: str | Path | Predictions,
    b: str | Path | Predictions,
    *,
    manifest: str | Path | None = None,
    split: str = "test",
    seed: int = 0,
) -> Comparison:
    """Compare the predictions of two models on the same images, image by image.

    Args:
        a: predictions of one model, their CSV file, or the folder of a run, which has those of each split.
        b: predictions of another on the same images.
        manifest: the data set's manifest.csv: whole lesions or patients are resampled instead of images. None
            takes that of the data of run `a`, if it has one.
        split: split of the images, of a run and in the manifest.
        seed: of the bootstrap resamples.

    Raises:
        InputError: invalid input, or the images, classes or true classes of the two differ.
    """
    names = [letter if isinstance(one, Predictions) else str(one) for letter, one in (("A", a), ("B", b))]
    pair = paired.pair(predictions_of(a, split=split), predictions_of(b, split=split), (names[0], names[1]))
    groups = None
    if manifest is not None:
        groups = groups_in(Path(manifest), split, pair.a.images)
    elif not isinstance(a, Predictions) and (root := RunFolder(Path(a)).data[0]) is not None:
        groups = origins_of(root, split, [Path(image) for image in pair.a.images]).groups
    return Comparison(pair, paired.compare(pair, Bootstrap(len(pair.a), groups, seed=seed)))
