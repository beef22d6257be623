"""Symbols of a Python project whose names contain a text: ``python_symbols.py PROJECT QUERY``.

pylsp does not offer this, though what it is built on does. Prints JSON: name, type, path, line and column from 0.
"""

import importlib
import json
import sys
from itertools import islice
from pathlib import Path
from typing import Any, Dict, List  # noqa: UP035 - the image's own Python may be old

LIMIT = 500
SKIPPED = {"node_modules", "__pycache__", "venv", "site-packages"}


def main(project: str, query: str) -> None:
    jedi = importlib.import_module("jedi")
    root = Path(project)
    found: List[Dict[str, Any]] = []  # noqa: UP006
    for path in sorted(root.rglob("*.py")):
        if any(part in SKIPPED or part.startswith(".") for part in path.relative_to(root).parts):
            continue
        found += names_in(jedi, path, query)
        if len(found) >= LIMIT:
            break
    print(json.dumps(list(islice(found, LIMIT))))


def names_in(jedi: Any, path: Path, query: str) -> List[Dict[str, Any]]:  # noqa: UP006
    try:
        names = jedi.Script(path=str(path)).get_names(all_scopes=True, definitions=True, references=False)
    except (OSError, UnicodeError, RecursionError):
        return []
    return [
        {"name": name.name, "type": name.type, "path": str(path), "line": name.line - 1, "column": name.column}
        for name in names
        if query.lower() in name.name.lower()
    ]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
