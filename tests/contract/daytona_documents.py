"""What Daytona's two documents say of an answer: the status, and the model that the SDK makes of the body."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

ENDPOINTS = json.loads(Path(__file__).with_name("daytona-endpoints.json").read_text())
PLAIN = {
    "str": str,
    "float": int | float,
    "int": int,
    "bool": bool,
    "object": dict,
    "Dict[str, object]": dict,
    "Dict[str, str]": dict,
}


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    codes: tuple[int, ...]
    answer: str | None

    def check(self, response: httpx.Response, sdk: ModuleType) -> Any:
        """The body, decoded where it is JSON, once status and model have been found to be those of the document."""
        assert response.is_success, f"{self.name}: {response.status_code} {response.text}"
        # Some operations name no code at all.
        assert not self.codes or response.status_code in self.codes, f"{self.name}: {response.status_code}"
        if self.answer is None or self.answer == "bytes" or "multipart" in response.headers["content-type"]:
            return response.content
        body = response.json()
        listed = re.fullmatch(r"List\[(\w+)\]", self.answer)
        for part in body if listed else [body]:
            conforms(self.name, part, listed.group(1) if listed else self.answer, sdk)
        return body


def conforms(name: str, value: Any, kind: str, sdk: ModuleType) -> None:
    if kind in PLAIN:
        assert isinstance(value, PLAIN[kind]), f"{name}: {value!r} is no {kind}"
        return
    model = getattr(sdk, kind)
    assert model.from_dict(value) is not None, f"{name}: {value!r} is no {kind}"


def operations(part: str) -> dict[str, Operation]:
    """By name; ``part`` is "api" or "toolbox"."""
    return {
        entry["op"]: Operation(
            entry["op"], entry["method"], entry["path"], tuple(map(int, entry.get("codes", ()))), entry.get("ret")
        )
        for entry in ENDPOINTS[part]
    }
