"""The models are what their header says: generated from the contract, by the command that stands there."""

import shlex
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
MODELS = REPOSITORY / "src/moonpool/dialects/daytona/schemas.py"
COMMAND = "#   command:   datamodel-codegen "


def test_models_are_up_to_date(tmp_path: Path) -> None:
    (line,) = [line for line in MODELS.read_text().splitlines() if line.startswith(COMMAND)]
    *arguments, output = shlex.split(line.removeprefix(COMMAND))
    assert output == str(MODELS.relative_to(REPOSITORY))
    made = tmp_path / "schemas.py"
    command = [sys.executable, "-m", "datamodel_code_generator", *arguments, str(made)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=120, capture_output=True)
    assert without_header(made.read_text()) == without_header(MODELS.read_text())


def without_header(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
