"""What the documents say is what the program has."""

import re
from pathlib import Path

import typer.main
from click import Group

from moonpool.cli.main import app
from moonpool.config import Settings
from tests.cli.settings_page import PAGE, with_table

ROOT = PAGE.parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
NOT_SETTINGS = {"MOONPOOL_URL", "MOONPOOL_ENVIRONMENT_FILE"}  # the command line's own


def test_the_table_of_settings_is_current() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "run: python -m tests.cli.settings_page"


def test_every_setting_is_explained() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_variables_that_are_named_exist() -> None:
    known = {f"MOONPOOL_{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    for document in DOCUMENTS:
        assert set(re.findall(r"MOONPOOL_[A-Z_]+", document.read_text())) <= known, document


def test_commands_that_are_named_exist() -> None:
    program = typer.main.get_command(app)
    for document in DOCUMENTS:
        for words in re.findall(
            r"\bmoonpool ((?:serve|up|doctor|bench|sandbox|image|keys)\b[a-z ]*)", document.read_text()
        ):
            command = program
            for word in words.split():
                if not isinstance(command, Group):
                    break
                assert word in command.commands, f"{document}: moonpool {words}"
                command = command.commands[word]


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_tests_that_are_named_exist() -> None:
    """The threat model names the test that shows each thing."""
    text = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 20
    for path, function in named:
        source = Path(ROOT, path).read_text()
        assert not function or re.search(rf"def {function}\(", source), f"{path}::{function}"
