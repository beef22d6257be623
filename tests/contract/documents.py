"""The documents of the four APIs: what operations there are, and whether an answer is one that the document allows."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import jsonschema

from tests.contract.daytona_documents import ENDPOINTS, operations

CONTRACTS = Path(__file__).parent
METHODS = ("get", "post", "put", "patch", "delete")
JSON = "application/json"


class Document(ABC):
    """One API: ``key`` names it in records, ``title`` on the page; its paths are served below ``prefix``.

    A parameter matches one segment of a path, and a path without parameters is preferred.
    """

    unnamed: frozenset[str] = frozenset()  # operations that are served though the document has not got them

    def __init__(self, key: str, title: str, prefix: str = "") -> None:
        self.key, self.title, self.prefix = key, title, prefix

    @property
    @abstractmethod
    def operations(self) -> list[str]:
        """Each as "METHOD /path"."""

    @abstractmethod
    def check(self, operation: str, answer: httpx.Response) -> None:
        """Raises an assertion or a validation error for an answer that the document does not allow."""

    @abstractmethod
    def has_json(self, operation: str, answer: httpx.Response) -> bool:
        """Whether the whole body is to be compared; others may be streams without an end."""

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        ordered = sorted({*self.operations, *self.unnamed}, key=lambda operation: (operation.count("{"), operation))
        return [(pattern_of(operation, self.prefix), operation) for operation in ordered]

    def find(self, method: str, path: str) -> str | None:
        """The operation that a request asks for; ``path`` is encoded as it was sent."""
        asked = f"{method} {path}"
        found = next((operation for pattern, operation in self._patterns if pattern.fullmatch(asked)), None)
        return None if found in self.unnamed else found


def pattern_of(operation: str, prefix: str) -> re.Pattern[str]:
    method, _, path = operation.partition(" ")
    parts = re.split(r"{[^}]*}", prefix + path)
    return re.compile(f"{method} " + "[^/]+".join(re.escape(part) for part in parts))


class OpenApi(Document):
    """``error``: the schema of an error whose status the document does not name."""

    def __init__(self, key: str, title: str, error: Mapping[str, Any]) -> None:
        super().__init__(key, title)
        self._error = error

    @cached_property
    def _document(self) -> Any:
        return json.loads((CONTRACTS / f"{self.key}.contract.json").read_text())

    @cached_property
    def operations(self) -> list[str]:
        return [
            f"{method.upper()} {path}"
            for path, item in self._document["paths"].items()
            for method in METHODS
            if method in item
        ]

    def has_json(self, operation: str, answer: httpx.Response) -> bool:
        declared = self._declared(operation, answer.status_code)
        return answer.is_error or declared is None or not declared.get("content") or JSON in declared["content"]

    def check(self, operation: str, answer: httpx.Response) -> None:
        declared = self._declared(operation, answer.status_code)
        if answer.is_error:
            self._validator(None, 0).validate(answer.json())
        else:
            assert declared is not None, f"{operation} does not answer {answer.status_code}"
        content = (declared or {}).get("content")
        if content:
            media_type = answer.headers["content-type"].partition(";")[0]
            assert media_type in content, f"{operation} does not answer {media_type}"
            if media_type == JSON:
                self._validator(operation, answer.status_code).validate(answer.json())
        elif not answer.is_error:
            assert answer.content == b"", f"{operation} has no body"

    def _declared(self, operation: str, status: int) -> Any:
        method, _, path = operation.partition(" ")
        found = self._document["paths"][path][method.lower()]["responses"].get(str(status))
        return (
            self._document["components"]["responses"][found["$ref"].split("/")[-1]]
            if "$ref" in (found or ())
            else found
        )

    @cache  # noqa: B019
    def _validator(self, operation: str | None, status: int) -> jsonschema.Draft202012Validator:
        schema = self._error if operation is None else self._declared(operation, status)["content"][JSON]["schema"]
        return validator({**nullable(schema), "components": self._components})

    @cached_property
    def _components(self) -> Any:
        return nullable(self._document["components"])


class Daytona(Document):
    """A document of method, path, codes and the model that the SDK makes of an answer.

    ``part``: of daytona-endpoints.json; ``sdk``: the module with the models; ``error``: the schema of its errors.
    """

    def __init__(self, key: str, title: str, prefix: str, part: str, sdk: str, error: Mapping[str, Any]) -> None:
        super().__init__(key, title, prefix)
        self._part, self._sdk, self._error = part, sdk, validator(error)

    @cached_property
    def _known(self) -> dict[str, Any]:
        return {f"{operation.method} {operation.path}": operation for operation in operations(self._part).values()}

    @property
    def operations(self) -> list[str]:
        return [f"{entry['method']} {entry['path']}" for entry in ENDPOINTS[self._part]]

    def has_json(self, operation: str, answer: httpx.Response) -> bool:
        kind = self._known[operation].answer
        return answer.is_error or (kind not in (None, "bytes") and answer.headers.get("content-type") == JSON)

    def check(self, operation: str, answer: httpx.Response) -> None:
        if answer.is_error:
            partly = operation in PARTLY_DONE and "errors" in answer.json()
            (DONE_AND_NOT if partly else self._error).validate(answer.json())
        elif self.has_json(operation, answer):
            self._known[operation].check(answer, import_module(self._sdk))
        else:
            codes = self._known[operation].codes
            assert not codes or answer.status_code in codes, f"{operation} does not answer {answer.status_code}"


def validator(schema: Mapping[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


# What these have done is told also where the rest failed.
PARTLY_DONE = frozenset({"POST /files/bulk-upload"})
DONE_AND_NOT = validator(
    {
        "type": "object",
        "required": ["files", "errors"],
        "properties": {"files": {"type": "array"}, "errors": {"type": "array", "items": {"type": "string"}}},
        "additionalProperties": False,
    }
)


def nullable(schema: Any) -> Any:
    """The document's ``nullable: true`` in today's JSON Schema."""
    if isinstance(schema, list):
        return [nullable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    translated = {name: nullable(part) for name, part in schema.items() if name != "nullable"}
    return {"anyOf": [translated, {"type": "null"}]} if schema.get("nullable") is True else translated


def exactly(required: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
        "additionalProperties": False,
    }


TEXT, NUMBER = {"type": "string", "minLength": 1}, {"type": "integer"}
OF_DAYTONA = {"statusCode": NUMBER, "message": TEXT, "path": TEXT, "timestamp": TEXT}
DAYTONA = Daytona(
    "daytona",
    "Daytona, platform (`/api`)",
    "/api",
    "api",
    "daytona_api_client",
    exactly({**OF_DAYTONA, "error": TEXT, "source": {"const": "DAYTONA_API"}}),
)
TOOLBOX = Daytona(
    "toolbox",
    "Daytona, toolbox (`/toolbox/{sandboxId}`)",
    "/toolbox/{sandboxId}",
    "toolbox",
    "daytona_toolbox_api_client",
    exactly({**OF_DAYTONA, "code": TEXT, "source": TEXT, "method": TEXT}),
)
DAYTONA.unnamed = frozenset({"GET /sandbox/paginated"})
TOOLBOX.unnamed = frozenset({"GET /process/pty/create-connect"})
WRENN = OpenApi("wrenn", "Wrenn", exactly({"error": exactly({"code": TEXT, "message": TEXT})}))
FREESTYLE = OpenApi(
    "freestyle",
    "Freestyle",
    {
        **exactly({"code": {"type": "string", "pattern": "^[A-Z0-9_]+$"}, "error": TEXT, "message": TEXT}),
        "additionalProperties": True,
    },
)
CODESANDBOX = OpenApi(
    "codesandbox",
    "CodeSandbox",
    exactly({"success": {"const": False}, "errors": {"type": "array", "minItems": 1, "items": TEXT}}),
)
