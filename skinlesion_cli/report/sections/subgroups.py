"""Subgroup analysis: scores within subgroups of patients, and the largest gaps between them."""

from functools import partial
from typing import Any

from skinlesion_cli.metrics.bins import UNKNOWN
from skinlesion_cli.metrics.subgroups import METRICS, MIN_KIND, MIN_SUBGROUP, OF_CLASSES, OF_MALIGNANT
from skinlesion_cli.report import content, forest
from skinlesion_cli.report.facts import Document
from skinlesion_cli.report.figures import LABELS, UNDEFINED, figure, number

TITLES = {name: LABELS.get(name, name.capitalize()) for name in METRICS}
TITLE = "Subgroups"
_SHORT = {"balanced_accuracy": "Balanced acc."}
_CAPTION = "Dot and line: score and 95% interval; dashed: all images; n: images."


def subgroups(document: Document | None, missing: str = "") -> content.Section:
    """The scores by every column of an evaluation document with `subgroups`, for the page and the card."""
    columns = (document or {}).get("subgroups")
    if document is None or not columns:
        reason = missing or "the scores were not computed by sex, age, site or skin tone (evaluate --by)"
        return content.Section("subgroups", TITLE, missing=reason)
    blocks = [block for column in columns for block in _column(document, column)]
    return content.section("subgroups", TITLE, content.Paragraph(_point(document)), *blocks, _notes())


def column_section(document: Document, column: str) -> content.Section:
    """The scores by one column, for the terminal; the first column also defines the rates."""
    is_first = column == next(iter(document["subgroups"]))
    point = content.Paragraph(_point(document)) if is_first else None
    return content.section("subgroups", TITLE, point, *_column(document, column))


def _column(document: Document, column: str) -> list[content.Block]:
    found, gaps = document["subgroups"][column], document["gaps"][column]
    grouped = any(one["groups"] is not None for one in found.values())
    counts = ("n", "groups") if grouped else ("n",)
    heads = ["Images", "Groups"][: len(counts)]
    rows = [
        (name, *(int(one[count]) for count in counts), *(content.score(one, metric) for metric in METRICS))
        for name, one in found.items()
    ]
    withheld = tuple(
        f"{name}: withheld ({one['withheld']})" for name, one in found.items() if one["withheld"]
    )
    columns = [
        content.Column(name.capitalize() if name in OF_MALIGNANT else name) for name in TITLES.values()
    ]
    blocks: list[content.Block] = [
        content.Charts(_charts(document, column), f"By {column}"),
        content.table(f"Scores by {column}", (column.capitalize(), *heads, *columns), rows),
    ]
    if withheld:
        blocks.append(content.Items(withheld))
    gap_rows = [
        (
            TITLES[metric],
            content.Number(one["gap"], one["ci95"], figure(one["gap"], 3)),
            *(_standing(found, name, metric) for name in one["between"] or ("", "")),
        )
        for metric, one in gaps.items()
    ]
    heads = ["Largest gap", "Gap", "Highest", "Lowest"]
    texts = [content.Column(name, numeric=False) for name in heads[2:]]
    blocks.append(content.table(f"Largest gaps by {column}", (*heads[:2], *texts), gap_rows))
    return blocks


def _standing(found: Document, name: str, metric: str) -> str:
    return f"{name} {figure(found[name][metric], 3)}" if name else UNDEFINED


def _charts(document: Document, column: str) -> list[content.Chart]:
    """The forest plot in two halves, side by side on a wide page and stacked on a narrow one."""
    found = document["subgroups"][column]
    whole = {name: document.get(name) for name in OF_CLASSES} | _whole(document)
    height = forest.AROUND + forest.ROW * len(found)
    charts = []
    for metrics, what in (
        (OF_CLASSES, "scores over the classes"),
        (OF_MALIGNANT, "malignant versus benign"),
    ):
        if not any(one[metric] is not None for one in found.values() for metric in metrics):
            continue
        panels = {_SHORT.get(metric, TITLES[metric]): (metric, whole.get(metric)) for metric in metrics}
        plot = partial(forest.plot_subgroups, subgroups=found, panels=panels)
        charts.append(
            content.Chart(f"Forest plot by {column}: {what}", plot, caption=_CAPTION, height=height)
        )
    return charts


def _whole(document: Document) -> dict[str, Any]:
    """Sensitivity and specificity of all images, at the operating point of the subgroups."""
    if document["malignant"] is None:
        return {}
    point = _operating_point(document)
    return {name: point[name] for name in OF_MALIGNANT}


def _operating_point(document: Document) -> Document:
    first, *others = document["malignant"]["operating_points"]
    found: Document = next((one for one in others if one["name"] == "validation"), first)
    return found


def _point(document: Document) -> str:
    if document["malignant"] is None:
        return "Subgroups: no class is known to be malignant, so there is no sensitivity and specificity."
    point, names = _operating_point(document), ", ".join(document["malignant"]["classes"])
    if point["name"] == "validation":
        limit = figure(point["threshold"])
        rule = f"a probability of at least {limit}, which detected 90% of them on validation"
    else:
        rule = "a malignant predicted class, since no threshold was chosen on validation"
    return f"In subgroups, sensitivity and specificity are of malignant ({names}): {rule}."


def _notes() -> content.Paragraph:
    return content.Paragraph(
        f"Subgroups with fewer than {number(MIN_SUBGROUP)} lesions or patients (images, if unknown) have no "
        f"scores, and those with fewer than {MIN_KIND} malignant or benign ones have no sensitivity or "
        "specificity. Averages over classes include only classes in the subgroup, so that a gap in them may "
        "come from a different case mix. A gap whose interval contains 0 may be due to chance: the interval "
        "takes into account that the two subgroups were chosen among all. The subgroup "
        f"{UNKNOWN} is excluded from the gaps.",
        "note",
    )
