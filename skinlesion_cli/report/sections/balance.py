"""Class balance: how many images there are of each class, and how the two weightings answer it."""

from skinlesion_cli.common.settings import FIELDS
from skinlesion_cli.data.class_balance import ClassBalance, balance_table, imbalance_ratio
from skinlesion_cli.report.charts import share_bar
from skinlesion_cli.report.facts import RunFacts
from skinlesion_cli.report.figures import number, percent
from skinlesion_cli.report.markup import join, tag
from skinlesion_cli.report.sections.section import Section, left_out, section
from skinlesion_cli.report.tables import Cell, Column, table

COLUMNS = ("Images", "Share", "Effective number", "Loss weight", "Sampling probability")


def balance(facts: RunFacts) -> Section:
    """A row a class, the largest first."""
    title = "Class balance and weights"
    if not facts.counts or min(facts.counts.values()) < 1:
        return left_out("balance", title, "the run's results do not tell the training images of each class")
    beta = float(facts.settings.get("loss_beta", FIELDS["loss_beta"].default))
    alpha = float(facts.settings.get("sampler_alpha", FIELDS["sampler_alpha"].default))
    rows = sorted(balance_table(facts.counts, beta, alpha), key=lambda one: -one.count)
    ratio = imbalance_ratio(list(facts.counts.values()))
    text = (
        f"{number(sum(facts.counts.values()))} training images; {ratio:.1f} of the largest class for each of "
        f"the smallest. The loss weighs a class by its Effective Number of Samples (β = {beta:g}); a "
        f"training draw takes it with a probability that goes with its count to the power {alpha:g}."
    )
    columns = [Column("Class", number=False), *(Column(name) for name in COLUMNS)]
    return section(
        "balance",
        title,
        tag("p", text),
        table("Images and weights of each class", columns, _rows(rows), sortable=True),
    )


def _rows(rows: list[ClassBalance]) -> list[list[Cell]]:
    most = max(one.count for one in rows)
    heaviest = max(one.weight for one in rows)
    likeliest = max(one.sampling_probability for one in rows)
    return [
        [
            Cell(one.name),
            Cell(join(number(one.count), share_bar(one.count / most, "grey")), one.count),
            Cell(percent(one.share), one.share),
            Cell(f"{one.effective_number:.1f}", one.effective_number),
            Cell(join(f"{one.weight:.2f}", share_bar(one.weight / heaviest, "orange")), one.weight),
            Cell(
                join(
                    percent(one.sampling_probability), share_bar(one.sampling_probability / likeliest, "blue")
                ),
                one.sampling_probability,
            ),
        ]
        for one in rows
    ]
