"""What to hold against a run's scores, read off the run itself."""

from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import figure, percent, split_title

FEW_TRAINING, FEW_TEST = 100, 30
NAMED = 6
"""Classes that a sentence names, at most."""
WEAK = 0.7
"""A recall below this is named."""
APART = 0.1
"""Sources whose accuracies differ by more are named."""


def limits(facts: RunFacts) -> list[str]:
    """One sentence a limit, those of the data first."""
    found = [_leaks(facts), _split(facts), *_small_classes(facts), *_weak_classes(facts), *_sources(facts)]
    found += [_calibration(facts), _intervals(facts), *GENERAL]
    return [text for text in found if text]


GENERAL = (
    "The model knows no other classes than these: a picture of anything gets one of them.",
    "Images of other cameras, clinics or patients may score lower; no interval here speaks of that.",
    "How the scores vary with skin tone, age or sex is not known: the images carry no such labels.",
)


def leaks(facts: RunFacts) -> bool:
    """Whether the data are known to leak."""
    return facts.check is not None and facts.check.leaking is True


def split_kind(facts: RunFacts) -> str:
    """How the images were put on their sides, as far as it is known."""
    if facts.has_manifest and facts.grouped:
        return "A manifest.csv names each image's lesion or patient, and the intervals draw these as wholes."
    return (
        "No manifest.csv names the lesion or patient of each image, so that the intervals take images as "
        "independent; with several images of one lesion they are too narrow."
    )


def _leaks(facts: RunFacts) -> str:
    if facts.check is not None and leaks(facts):
        return f"The data leak between the splits, so the scores are too high: {facts.check.verdict}"
    if not facts.data_check:
        return "Whether test images have siblings in training is not known: the data set was not at hand."
    if facts.check is None:
        return (
            "Whether test images have siblings in training is not known: the data were not checked for leaks."
        )
    return ""


def _split(facts: RunFacts) -> str:
    if facts.split == "test":
        return ""
    return "There is no test split: the scores are those of the images that chose the epoch, and flatter it."


def _small_classes(facts: RunFacts) -> list[str]:
    few = {name: count for name, count in facts.counts.items() if count < FEW_TRAINING}
    scored = {name: int(one["support"]) for name, one in facts.document["per_class"].items()}
    rare = {name: count for name, count in scored.items() if count < FEW_TEST}
    split = split_title(facts.split)
    return [
        f"Fewer than {FEW_TRAINING} training images: {_named(few)}." if few else "",
        f"Fewer than {FEW_TEST} {split} images, so that their scores are uncertain: {_named(rare)}."
        if rare
        else "",
    ]


def _weak_classes(facts: RunFacts) -> list[str]:
    recalls = {name: one.get("recall") for name, one in facts.document["per_class"].items()}
    weak = sorted((value, name) for name, value in recalls.items() if value is not None and value < WEAK)
    if not weak:
        return []
    text = ", ".join(f"{name} ({percent(value, 0)})" for value, name in weak)
    return [f"Less than {percent(WEAK, 0)} of these classes' images are recognised: {text}."]


def _sources(facts: RunFacts) -> list[str]:
    blocks = facts.document.get("blocks") or {}
    scores = {name: one["accuracy"] for name, one in blocks.items() if one.get("accuracy") is not None}
    if len(scores) < 2 or max(scores.values()) - min(scores.values()) <= APART:
        return []
    text = ", ".join(
        f"{name} {figure(value, 3)}" for name, value in sorted(scores.items(), key=lambda one: one[1])
    )
    return [f"The accuracy differs between the sources of the images: {text}."]


def _calibration(facts: RunFacts) -> str:
    document = facts.document.get("calibration") or {}
    final = document.get("after") or document.get("before") or {}
    error = final.get("ece")
    if error is None:
        return "How far its probabilities can be trusted was not measured."
    return f"A stated probability is off by {percent(error)} on average (expected calibration error)."


def _intervals(facts: RunFacts) -> str:
    return "" if facts.grouped else split_kind(facts)


def _named(counts: dict[str, int]) -> str:
    """Classes with their counts, the smallest first; of many, the first few."""
    ordered = sorted(counts.items(), key=lambda one: one[1])
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    return ", ".join(f"{name} ({count})" for name, count in ordered[:NAMED]) + more
