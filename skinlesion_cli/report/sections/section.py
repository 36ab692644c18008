"""A section of the page, or why it is not there."""

from dataclasses import dataclass

from skinlesion_cli.report.markup import Content, Markup, lines, tag


@dataclass(frozen=True)
class Section:
    """One section."""

    key: str
    """Its anchor."""
    title: str
    body: Markup | None = None
    left_out: str = ""
    """Why it is not there; empty where it is."""

    def markup(self) -> Markup:
        """The section as it stands on the page."""
        heading = tag("h2", self.title, id=f"{self.key}-title")
        return tag("section", heading, self.body, id=self.key, aria_labelledby=f"{self.key}-title")


def section(key: str, title: str, *body: Content) -> Section:
    """A section that is there."""
    return Section(key, title, lines(body))


def left_out(key: str, title: str, reason: str) -> Section:
    """A section that is not there."""
    return Section(key, title, left_out=reason)


def written_by_older(what: str) -> str:
    """The reason that what a section shows was not written."""
    return f"the run's results hold no {what}; an older version trained it, or the split has none"


def predictions_missing(split: str) -> str:
    """The reason that curves cannot be drawn."""
    return f"there is no results/{split}_predictions.csv; an older version trained the run"
