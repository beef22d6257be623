"""Questions about a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moonpool.languages.documents import paths_of, uri_of
from moonpool.languages.model import Project


@dataclass(frozen=True)
class Question:
    """About the file at ``uri``; ``about`` are the parameters beside it."""

    method: str
    uri: str
    about: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self, path: str) -> Mapping[str, Any]:
        return {"textDocument": {"uri": uri_of(path)}, **self.about}

    def message(self, number: str, path: str) -> Mapping[str, Any]:
        return {"id": number, "method": self.method, "params": self.parameters(path)}


@dataclass(frozen=True)
class Asked:
    """A question about the file at ``path`` that the server has been asked under ``number``."""

    number: str
    path: str


def paths_in(project: Project, uri: str) -> tuple[str, ...]:
    """Where the file may be: clients name it from the project's folder, or as they named the project's folder."""
    return paths_of(uri, project.path, project.base or project.path)
