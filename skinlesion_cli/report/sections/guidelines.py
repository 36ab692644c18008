"""The reporting guidelines of journals, item by item, filled in from the run.

TRIPOD+AI: Collins et al., *TRIPOD+AI statement: updated guidance for reporting clinical prediction models
that use regression or machine learning methods*, BMJ 385:e078378, 2024. CLEAR Derm: Daneshjou et al.,
*Checklist for Evaluation of Image-Based Artificial Intelligence Reports in Dermatology*, JAMA Dermatology
158(1), 2022 (online 2021). The numbers are theirs; the wording of the items is ours, and short.
"""

from collections.abc import Callable
from typing import Any

from skinlesion_cli.common.paper import RESIZE_RATIO
from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.common.version import __version__
from skinlesion_cli.models.model_info import BEST_MODEL
from skinlesion_cli.report.content import Column, Paragraph, Section, score, section, table
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import LABELS, number, percent, split_title
from skinlesion_cli.report.sections.limits import grouping, limits

OPEN = "to be filled in by the authors"
Fact = Callable[[RunFacts], str]
Item = tuple[str, str, Fact | None]
"""Its number, what it asks for, and what is known from the run: an empty string, or no fact, leaves it
open."""


def _setting(facts: RunFacts, name: str) -> Any:
    return facts.settings.get(name, FIELDS[name].default)


def _title(facts: RunFacts) -> str:
    classes = len(facts.classes)
    return f"Development and evaluation of an image classifier of {classes} classes; {OPEN}: for whom"


def _sources(facts: RunFacts) -> str:
    named = [name for name in facts.document["blocks"] or {} if name]
    return ", ".join(named)


def _classes(facts: RunFacts) -> str:
    return f"One of {len(facts.classes)} classes: {', '.join(facts.classes)}; {OPEN}: how they were defined"


def _preparation(facts: RunFacts) -> str:
    side = int(_setting(facts, "img_size"))
    whose = "ImageNet's" if _setting(facts, "normalization") == "imagenet" else "the backbone's own"
    square = f"shorter side resized to {round(RESIZE_RATIO * side)} pixels, centre crop of {side}"
    if facts.settings.get("fit", "crop") != "crop":
        square = f"{facts.settings['fit']} to a square of {side} pixels"
    return f"EXIF rotation, sRGB; {square}; {whose} mean and standard deviation. The same for all subgroups"


def _sizes(facts: RunFacts) -> str:
    sizes = [f"{split_title(name)} {number(one['n'])}" for name, one in facts.documents.items()]
    return f"Images: {', '.join(sizes)}"


def _sizes_and_reason(facts: RunFacts) -> str:
    return f"{_sizes(facts)}; {OPEN}: why so many"


def _unreadable(facts: RunFacts) -> str:
    skipped = facts.folder.unreadable.is_file()
    return (
        "Images are never imputed. Files that cannot be read "
        f"{'were left out, see results/' + facts.folder.unreadable.name if skipped else 'stop the training'}"
    )


def _partition(facts: RunFacts) -> str:
    use = "train fits the weights, validation selects the epoch and fits the temperature"
    rest = "test is scored after training" if "test" in facts.documents else "there is no test split"
    return f"{use}, {rest}. {grouping(facts)}"


def _model(facts: RunFacts) -> str:
    start = "from ImageNet weights" if _setting(facts, "pretrained") else "from random weights"
    if facts.settings.get("init_weights"):
        start = "from user-provided weights"
    return (
        f"{facts.arch} (timm) {start}; AdamW, learning rate {_setting(facts, 'learning_rate'):g}, batch size "
        f"{_setting(facts, 'batch_size')}, best epoch {facts.best_epoch} of {facts.epochs} by "
        f"{_setting(facts, 'select')}; all settings: results/settings.toml"
    )


def _measures(facts: RunFacts) -> str:
    method = facts.document["ci95_method"]
    return f"{', '.join(LABELS.values())}; ROC and calibration curves; 95% intervals: {method}"


def _imbalance(facts: RunFacts) -> str:
    names = ("sampler_alpha", "loss_beta", "logit_adjustment")
    alpha, beta, tau = (_setting(facts, name) for name in names)
    adjusted = f"{tau:g} times the log prior added to the logits in the loss; " if tau else ""
    return (
        f"Sampling by count to the power {alpha:g}; loss weighted by the Effective Number of Samples, "
        f"β = {beta:g}; {adjusted}probabilities rescaled by a temperature only"
    )


def _subgroups(facts: RunFacts) -> str:
    named = facts.document.get("subgroups") or {}
    return f"Scores by {', '.join(named)}, with intervals" if named else ""


def _output(facts: RunFacts) -> str:
    points = (facts.document["malignant"] or {}).get("operating_points") or []
    text = "A calibrated probability per class; the most probable class is the prediction"
    return f"{text}; malignant versus benign at {len(points)} operating points" if points else text


def _per_class(facts: RunFacts) -> str:
    counts = ", ".join(f"{name} {number(count)}" for name, count in facts.counts.items())
    return f"Training images: {counts}" if counts else ""


def _scores(facts: RunFacts) -> str:
    names = ("weighted_f1", "macro_f1", "balanced_accuracy", "weighted_auc")
    found = [(LABELS[name], score(facts.document, name)) for name in names]
    return f"{split_title(facts.split).capitalize()} split: " + ", ".join(
        f"{label} {one.written(3)} {one.bounds}".strip() for label, one in found
    )


def _clusters(facts: RunFacts) -> str:
    by = [one for one in (_sources(facts) and "source", _subgroups(facts) and "subgroup") if one]
    return f"Scores by {' and '.join(by)} are above" if by else ""


def _limits(facts: RunFacts) -> str:
    return f"{len(limits(facts))} found in the run itself, see Limits; {OPEN}: limitations of the study"


def _bad_input(facts: RunFacts) -> str:
    text = "A file that cannot be read is named and gets no prediction"
    return f"{text}. {_foreign(facts)}" if facts.false_alarm_rate else text


def _foreign(facts: RunFacts) -> str:
    if not facts.false_alarm_rate:
        return ""
    share = percent(facts.false_alarm_rate)
    return f"Warning for images unlike the training images, expected for {share} of images like them"


def _leaks(facts: RunFacts) -> str:
    if facts.check is None or facts.check.outdated:
        return _partition(facts)
    return f"{_partition(facts)} Checked for leaks on {facts.check.when}: {facts.check.verdict}"


def _always(text: str) -> Fact:
    return lambda _: text


TRIPOD_AI: tuple[Item, ...] = (
    ("1", "Title: a prediction model, its population and outcome", _title),
    ("2", "Abstract, according to TRIPOD+AI for Abstracts", None),
    ("3a", "Healthcare context, and rationale for the model", None),
    ("3b", "Target population, purpose and users", None),
    ("3c", "Known health inequalities between groups", None),
    (
        "4",
        "Objectives: development, evaluation or both",
        _always("Development, and evaluation on held-out images"),
    ),
    ("5a", "Sources of the development and evaluation data", _sources),
    ("5b", "Dates of the data", None),
    ("6a", "Setting: where, how many centres", None),
    ("6b", "Eligibility criteria", None),
    ("6c", "Treatments received", None),
    ("7", "Data preparation, and whether it was the same across groups", _preparation),
    ("8a", "Outcome: definition, time horizon, assessment (reference standard)", _classes),
    ("8b", "Qualifications of the outcome assessors", None),
    ("8c", "Blinding of the outcome assessment", None),
    ("9a", "Choice of the predictors", _always("The pixels of one photograph; no other data of the person")),
    ("9b", "Predictors: how and when measured", None),
    ("9c", "Assessors of subjective predictors", _always("No predictor needs a person's judgement")),
    ("10", "Sample size, and its justification", _sizes_and_reason),
    ("11", "Missing data", _unreadable),
    ("12a", "How the data were used and partitioned", _partition),
    ("12b", "Handling of the predictors", _preparation),
    ("12c", "Type of model, how it was built and tuned", _model),
    ("12d", "Heterogeneity between clusters", grouping),
    ("12e", "Measures and plots of performance", _measures),
    ("12f", "Model updating after the evaluation", _always("None: the temperature is fitted on validation")),
    (
        "12g",
        "How predictions were calculated",
        _always("skinlesion evaluate: softmax of the logits divided by a temperature"),
    ),
    ("13", "Class imbalance, and recalibration", _imbalance),
    ("14", "Approaches to fairness", _subgroups),
    ("15", "Output of the model, and thresholds", _output),
    (
        "16",
        "Differences between development and evaluation data",
        _always(f"Splits of one data set; {OPEN}: an external evaluation"),
    ),
    ("17", "Ethical approval and consent", None),
    ("18a", "Funding", None),
    ("18b", "Conflicts of interest", None),
    ("18c", "Study protocol", None),
    ("18d", "Registration", None),
    ("18e", "Availability of the data", None),
    (
        "18f",
        "Availability of the code",
        _always(f"skinlesion {__version__}, open source; results/settings.toml reproduces the run"),
    ),
    ("19", "Involvement of patients and the public", None),
    ("20a", "Flow of participants", None),
    ("20b", "Characteristics of the participants", None),
    ("20c", "Comparison of evaluation and development data", None),
    ("21", "Participants and outcomes in each analysis", _per_class),
    (
        "22",
        "The full model, and how to get it",
        _always(f"{BEST_MODEL.as_posix()}; {OPEN}: where it is published"),
    ),
    ("23a", "Performance with intervals, including key subgroups", _scores),
    ("23b", "Heterogeneity of performance", _clusters),
    ("24", "Results of updating", _always("Not updated")),
    ("25", "Interpretation, including fairness", None),
    ("26", "Limitations", _limits),
    ("27a", "Use: how poor or missing input is handled", _bad_input),
    ("27b", "Use: user interaction, and required expertise", None),
    ("27c", "Next steps", None),
)
CLEAR_DERM: tuple[Item, ...] = (
    ("1", "Types of images", None),
    ("2", "Artefacts in the images", None),
    ("3", "Technical details of acquisition", None),
    ("4", "Preprocessing", _preparation),
    ("5", "Synthetic images made public", None),
    ("6", "Public images referenced", None),
    ("7", "Patient-level metadata", None),
    ("8", "Skin tone, and how it was assessed", None),
    ("9", "Biases from patient information", None),
    ("10", "Partitions of the data", _leaks),
    ("11", "Sizes of training, validation and test sets", _sizes),
    ("12", "External test set", None),
    ("13", "Images from several vendors", None),
    ("14", "Distribution and balance of the classes", _per_class),
    ("15", "Out-of-distribution images", _foreign),
    ("16", "Labels: how and by whom they were assigned", None),
    ("17", "References to accepted diagnostic labels", None),
    ("18", "Histopathological confirmation of malignant lesions", None),
    ("19", "Development of the algorithm", _model),
    ("20", "How the public can evaluate it", _always(f"skinlesion evaluate; {OPEN}: where the model is")),
    ("21", "Measures of performance", _scores),
    ("22", "Benchmarks, comparison and novelty", None),
    ("23", "Assessment of bias", _subgroups),
    ("24", "Use cases and target conditions", _classes),
    ("25", "Impact on the care team and patients", None),
)


def tripod_ai(facts: RunFacts) -> Section:
    """Every item of TRIPOD+AI."""
    return _filled(facts, "tripod", "TRIPOD+AI (2024)", TRIPOD_AI)


def clear_derm(facts: RunFacts) -> Section:
    """Every item of CLEAR Derm."""
    return _filled(facts, "clear-derm", "CLEAR Derm (2021)", CLEAR_DERM)


def _filled(facts: RunFacts, key: str, name: str, items: tuple[Item, ...]) -> Section:
    rows = [(number, asked, (fact(facts) if fact else "") or OPEN) for number, asked, fact in items]
    unknown = sum(text.startswith(OPEN) for _, _, text in rows)
    partly = sum(OPEN in text for _, _, text in rows) - unknown
    text = (
        f"{len(rows)} items: {len(rows) - unknown - partly} are filled in from the run, {partly} in part, "
        f"and {unknown} are open. The wording is ours: compare with the published checklist first."
    )
    heads = ("Item", Column("Asks for", numeric=False), Column("This run", numeric=False))
    return section(key, name, Paragraph(text), table(name, heads, rows))
