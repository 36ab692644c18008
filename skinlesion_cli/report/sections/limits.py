"""The limits of a run's scores, found in the run itself."""

from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import LABELS, figure, interval, percent, split_title

FEW_TRAINING, FEW_TEST = 100, 30
MAX_NAMES = 6
"""Maximum number of classes named in one sentence."""
LOW_RECALL = 0.7
PEOPLE = {"tone": "skin tone", "age": "age", "sex": "sex"}
"""Columns of `evaluate --by`, and what they are."""
SOURCE_GAP = 0.1
"""A difference in accuracy between sources above which it is reported."""
GENERAL = (
    "The model knows only these classes: it assigns one of them to any image.",
    "Images from other cameras, clinics or populations may score lower; the intervals do not cover this.",
)


def limits(facts: RunFacts) -> list[str]:
    """One sentence per limit, those of the data first."""
    found = [_leaks(facts), _split(facts), *_small_classes(facts), _low_recall(facts), _sources(facts)]
    found += [*_gaps(facts), _calibration(facts), _warning(facts), "" if facts.grouped else grouping(facts)]
    found += [*GENERAL, _unscored(facts)]
    return [text for text in found if text]


def grouping(facts: RunFacts) -> str:
    """Whether the intervals take into account that several images may show one lesion."""
    if facts.grouped:
        return "The images are grouped by lesion or patient, and the intervals resample whole groups."
    return (
        "The images are not grouped by lesion or patient, so the intervals treat them as independent; with "
        "several images of one lesion they are too narrow."
    )


def _warning(facts: RunFacts) -> str:
    if facts.false_alarm_rate is None:
        return ""
    return (
        f"The out-of-distribution warning is expected for {percent(facts.false_alarm_rate)} of images "
        "like the training images, and for more from other cameras."
    )


def _leaks(facts: RunFacts) -> str:
    if facts.check is not None and not facts.check.outdated:
        found = f"The data leak between the splits, so the scores are too high: {facts.check.verdict}"
        return found if facts.leaking else ""
    reason = (
        "the data set was not found" if facts.data_root is None else "the data were not checked for leaks"
    )
    return f"It is unknown whether test images have siblings in training: {reason}."


def _split(facts: RunFacts) -> str:
    if facts.split == "test":
        return ""
    return "No test split: these are the scores of the images that selected the epoch, which is optimistic."


def _small_classes(facts: RunFacts) -> list[str]:
    scored = {name: int(one["support"]) for name, one in facts.document["per_class"].items()}
    few = {name: count for name, count in facts.counts.items() if count < FEW_TRAINING}
    rare = {name: count for name, count in scored.items() if count < FEW_TEST}
    split = split_title(facts.split)
    return [
        f"Fewer than {FEW_TRAINING} training images: {_named(few)}." if few else "",
        f"Fewer than {FEW_TEST} {split} images, so the scores are uncertain: {_named(rare)}." if rare else "",
    ]


def _low_recall(facts: RunFacts) -> str:
    recalls = {name: one["recall"] for name, one in facts.document["per_class"].items()}
    low = sorted((value, name) for name, value in recalls.items() if value is not None and value < LOW_RECALL)
    text = ", ".join(f"{name} ({percent(value, 0)})" for value, name in low)
    return f"Recall below {percent(LOW_RECALL, 0)}: {text}." if low else ""


def _sources(facts: RunFacts) -> str:
    blocks = facts.document["blocks"] or {}
    scores = {name: one["accuracy"] for name, one in blocks.items() if one["accuracy"] is not None}
    if len(scores) < 2 or max(scores.values()) - min(scores.values()) <= SOURCE_GAP:
        return ""
    ordered = sorted(scores.items(), key=lambda one: one[1])
    text = ", ".join(f"{name} {figure(value, 3)}" for name, value in ordered)
    return f"The accuracy differs between the sources of the images: {text}."


def _gaps(facts: RunFacts) -> list[str]:
    """The largest gap between subgroups in each column, if its interval excludes 0."""
    found = []
    for column, gaps in ((facts.evaluated or {}).get("gaps") or {}).items():
        proven = {metric: one for metric, one in gaps.items() if one["ci95"] and one["ci95"][0] > 0}
        if proven:
            metric, one = max(proven.items(), key=lambda item: float(item[1]["gap"]))
            name = LABELS.get(metric, metric.capitalize())
            best, worst = one["between"]
            found.append(
                f"{name} differs by {column}: {figure(one['gap'], 3)} {interval(one['ci95'])} more for "
                f"{best} than for {worst}."
            )
    return found


def _unscored(facts: RunFacts) -> str:
    """The columns by which subgroups of people were not scored."""
    scored = (facts.evaluated or {}).get("subgroups") or {}
    unknown = [text for column, text in PEOPLE.items() if column not in scored]
    if not unknown:
        return ""
    return f"How the scores vary with {' or '.join(unknown)} is unknown (skinlesion evaluate --by)."


def _calibration(facts: RunFacts) -> str:
    document = facts.document["calibration"]
    error = (document["after"] or document["before"])["ece"]
    if error is None:
        return "The calibration of the probabilities was not measured."
    return f"Probabilities are off by {percent(error)} on average (expected calibration error)."


def _named(counts: dict[str, int]) -> str:
    """Classes with their counts, the smallest first; only the first few of many."""
    ordered = sorted(counts.items(), key=lambda one: one[1])
    more = f" and {len(ordered) - MAX_NAMES} more" if len(ordered) > MAX_NAMES else ""
    return ", ".join(f"{name} ({count})" for name, count in ordered[:MAX_NAMES]) + more
