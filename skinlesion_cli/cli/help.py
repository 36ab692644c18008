"""Help of the commands: options in groups, whole first lines, and defaults in one style."""

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

_KIND = re.compile(r" <[^>]*>$")
_REMARKS = re.compile(r"  \[([^\]]*)\]$")


class Command(TyperCommand):
    """A command whose help lists its options in groups, if they have some."""

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002 - nothing is cut
        """The first paragraph of the help."""
        return first_paragraph(self.help)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, in the order of `GROUPS`; other options go to the last one."""
        # Late, because pydantic takes time and the help of the program needs none.
        from skinlesion_cli.common.setting_spec import GROUPS

        found = self.get_params(ctx)
        grouped = any(getattr(one, "rich_help_panel", None) for one in found)
        sections: dict[str, list[tuple[str, str]]] = {}
        for one in found:
            if record := one.get_help_record(ctx):
                other = "Arguments" if one.param_type_name == "argument" else "Options"
                name = getattr(one, "rich_help_panel", None) or (GROUPS[-1] if grouped else other)
                shown = (
                    _KIND.sub("", record[0]),
                    _in_one_style(record[1], flag=getattr(one, "is_flag", False)),
                )
                sections.setdefault(name, []).append(shown)
        for name in filter(sections.get, ("Arguments", *GROUPS, "Options")):
            with formatter.section(name):
                formatter.write_dl(sections[name])


class Group(TyperGroup):
    """A group of commands whose help shows the whole first line of each."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as typer calls it
        """Write the commands with their first lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(0)) for name, one in self.commands.items()])


def first_paragraph(text: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join((text or "").partition("\n\n")[0].split())


def _in_one_style(text: str, *, flag: bool) -> str:
    """The help of an option with its default and whether it is required as sentences, and no range."""
    remarks = _REMARKS.search(text)
    text = _REMARKS.sub("", text)
    for remark in remarks[1].split("; ") if remarks else ():
        name, _, value = remark.partition(": ")
        if name == "default" and "Default:" not in text:
            text += f" Default: {str(not value.startswith('no-')).lower() if flag else value}."
        elif name == "required":
            text += " Required."
    return text
