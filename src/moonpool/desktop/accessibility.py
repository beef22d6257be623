"""What programs tell of their windows' elements (AT-SPI), by a program inside that speaks with them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moonpool.desktop.errors import AccessibilityUnavailable, DesktopFailed, NodeNotFound
from moonpool.desktop.inside import source
from moonpool.desktop.programs import attempt
from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import AgentSession

SCOPES = ("all", "focused", "pid")
MATCHES = ("exact", "substring", "regex")
DEPTH_LIMIT, NODE_LIMIT = 100, 5000
DEFAULT_LIMIT = 100
UNAVAILABLE, NOT_FOUND, REFUSED = 3, 4, 5  # exit codes of inside/elements.py

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Scope:
    """Where to look: ``all`` programs, the ``focused`` window's, or that of process ``pid``."""

    kind: str = "all"
    pid: int | None = None

    def check(self) -> None:
        if self.kind not in SCOPES:
            raise InvalidInput(f"scope must be one of {', '.join(SCOPES)}", field="scope")
        if (self.kind == "pid") != (self.pid is not None):
            raise InvalidInput("pid goes with the scope 'pid', and must be given there", field="pid")


@dataclass(frozen=True)
class Search:
    """What an element must be; None: anything."""

    role: str | None = None
    name: str | None = None
    match: str = "substring"
    states: tuple[str, ...] = ()
    limit: int = DEFAULT_LIMIT


class Accessibility:
    """Nodes have id, role, name, description, states, actions, bounds and children. AccessibilityUnavailable."""

    def __init__(self, session: AgentSession) -> None:
        self._session = session

    async def tree(self, scope: Scope, depth: int | None = None) -> tuple[Node | None, bool]:
        """The root, and whether the tree was cut. NodeNotFound where there is nothing in that scope."""
        scope.check()
        if depth is not None and not 0 <= depth <= DEPTH_LIMIT:
            raise InvalidInput(f"maxDepth must be from 0 to {DEPTH_LIMIT}", field="maxDepth")
        answer = await self._ask("tree", scope=scope.kind, pid=scope.pid, depth=depth, limit=NODE_LIMIT)
        return answer["root"], answer["truncated"]

    async def find(self, scope: Scope, search: Search) -> tuple[Sequence[Node], bool]:
        scope.check()
        if search.match not in MATCHES:
            raise InvalidInput(f"nameMatch must be one of {', '.join(MATCHES)}", field="nameMatch")
        if not 0 <= search.limit <= NODE_LIMIT:
            raise InvalidInput(f"limit must be from 0 to {NODE_LIMIT}", field="limit")
        answer = await self._ask(
            "find",
            scope=scope.kind,
            pid=scope.pid,
            role=search.role,
            name=search.name,
            match=search.match,
            states=list(search.states),
            limit=search.limit or DEFAULT_LIMIT,
        )
        return answer["matches"], answer["truncated"]

    async def focus(self, node: str) -> None:
        await self._ask("focus", id=node)

    async def invoke(self, node: str, action: str | None = None) -> None:
        """The first action, where none is named. InvalidInput for one that the element has not."""
        await self._ask("invoke", id=node, action=action)

    async def set_value(self, node: str, value: str) -> None:
        await self._ask("value", id=node, value=value)

    async def _ask(self, what: str, **fields: Any) -> Any:
        question = json.dumps({"do": what, **fields}).encode()
        result = await attempt(self._session, ("python3", "-c", source("elements.py")), stdin=question)
        said = result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        match result.exit_code:
            case 0:
                return understood(result.stdout)
            case code if code == UNAVAILABLE:
                raise AccessibilityUnavailable(said)
            case code if code == NOT_FOUND:
                raise NodeNotFound
            case code if code == REFUSED:
                raise InvalidInput(said, field="id")
        raise DesktopFailed(said)


def understood(answer: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise DesktopFailed("The program that tells of elements said nothing that can be understood")
    return said
