"""The docs agree with the code. `python tests/test_docs.py` regenerates the table of settings."""

import re
from pathlib import Path

import pytest

from skinlesion_cli.common.settings import ENV_PREFIX, FIELDS, default_text, spec

ROOT = Path(__file__).parent.parent
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
MARK = "<!-- table: made by tests/test_docs.py from the settings themselves -->\n"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def settings_table() -> str:
    rows = ["| key | option | variable | default | meaning |", "|---|---|---|---|---|"]
    for name in FIELDS:
        known = spec(name)
        options = ", ".join(f"`{flag}`" for flag in known.flags)
        variable = ENV_PREFIX + name.upper()
        rows.append(f"| `{name}` | {options} | `{variable}` | {default_text(name)} | {known.help} |")
    return "\n".join(rows) + "\n"


def test_the_settings_page_has_every_setting() -> None:
    assert SETTINGS_PAGE.read_text(encoding="utf-8").split(MARK)[1] == settings_table()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def commands_in(text: str) -> list[tuple[str, str]]:
    """The commands in a page's code: each one's name and the arguments after it."""
    code = re.findall(r"^```\w*\n(.*?)^```|`([^`\n]+)`", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(block or inline for block, inline in code).replace("\\\n", " ").splitlines()
    found = [
        re.search(r"(?:(?:^|[\s/(!])skinlesion|-m skinlesion_cli) ([a-z]+)([^|#]*)", line) for line in lines
    ]
    return [(one[1], one[2]) for one in found if one]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_on_a_page_exists_with_its_options(page: Path) -> None:
    from typer.main import get_command

    from skinlesion_cli.cli.app import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    for command, rest in commands_in(page.read_text(encoding="utf-8")):
        found = commands[command]
        if subcommands := getattr(found, "commands", None):
            name, _, rest = rest.strip().partition(" ")
            found = subcommands.get(name, found)
        known = {flag for one in found.params for flag in (*one.opts, *one.secondary_opts)}
        known |= {"--help", "-h"}
        for flag in re.findall(r"(?<![\w-])(--?[a-z][a-z0-9-]*)", rest):
            assert flag in known, f"{command} {flag}"


def test_the_pages_have_commands_and_links() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = {command for command, _ in commands_in(text)}
    assert {"train", "evaluate", "predict", "gradcam", "weights", "data", "export", "report"} <= named
    assert text.count("](") > 30


if __name__ == "__main__":
    head = SETTINGS_PAGE.read_text(encoding="utf-8").split(MARK)[0]
    SETTINGS_PAGE.write_text(head + MARK + settings_table(), encoding="utf-8")
