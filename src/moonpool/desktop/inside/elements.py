"""Elements on the screen, as AT-SPI tells of them. A question comes as JSON on standard input, the answer goes out so.

Ends with 3 where accessibility is not to be had, 4 where an element is not there, 5 where it cannot do what is asked.
An element's id is its program's process and its place among its siblings, from the top: ``812/0.3.1``.
"""

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

UNAVAILABLE, NOT_FOUND, REFUSED = 3, 4, 5


def fail(code: int, message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(code)


def load() -> Any:
    try:
        gi = importlib.import_module("gi")
        gi.require_version("Atspi", "2.0")
        atspi = importlib.import_module("gi.repository.Atspi")
        atspi.init()
        desktop = atspi.get_desktop(0)
        desktop.get_child_count()
    except (ImportError, ValueError, RuntimeError) as error:
        fail(UNAVAILABLE, f"Accessibility is not available: {error}")
    return atspi, desktop


class Elements:
    def __init__(self, atspi: Any, desktop: Any) -> None:
        self.atspi = atspi
        self.desktop = desktop
        self.left = 0  # elements that may still be told

    def programs(self, scope: str, pid: Any) -> list[tuple[str, Any]]:
        """(id, element) pairs to begin at."""
        all_of_them = [(str(each.get_process_id()), each) for each in self.children(self.desktop)]
        if scope == "pid":
            all_of_them = [pair for pair in all_of_them if pair[0] == str(pid)]
        if scope == "focused":
            all_of_them = [found for pair in all_of_them if (found := self.active_window(*pair))]
        if not all_of_them and scope != "all":
            fail(NOT_FOUND, "There is no such program")
        return all_of_them

    def active_window(self, name: str, program: Any) -> Any:
        for index, window in enumerate(self.children(program)):
            if window.get_state_set().contains(self.atspi.StateType.ACTIVE):
                return f"{name}/{index}", window
        return None

    def children(self, element: Any) -> list[Any]:
        found = (element.get_child_at_index(index) for index in range(element.get_child_count()))
        return [child for child in found if child is not None]

    def describe(self, identifier: str, element: Any) -> dict[str, Any]:
        node = {
            "id": identifier,
            "role": element.get_role_name(),
            "name": element.get_name() or "",
            "description": element.get_description() or "",
            "states": [state.value_nick for state in element.get_state_set().get_states()],
        }
        action = element.get_action_iface()
        if action is not None:
            node["actions"] = [action.get_action_name(index) for index in range(action.get_n_actions())]
        component = element.get_component_iface()
        if component is not None:
            bounds = component.get_extents(self.atspi.CoordType.SCREEN)
            node["bounds"] = {"x": bounds.x, "y": bounds.y, "width": bounds.width, "height": bounds.height}
        return node

    def walk(self, identifier: str, element: Any) -> Iterator[tuple[str, Any]]:
        yield identifier, element
        separator = "." if "/" in identifier else "/"
        for index, child in enumerate(self.children(element)):
            yield from self.walk(f"{identifier}{separator}{index}", child)

    def tree(self, identifier: str, element: Any, depth: Any) -> dict[str, Any]:
        self.left -= 1
        node = self.describe(identifier, element)
        children = self.children(element) if depth is None or depth > 0 else []
        separator = "." if "/" in identifier else "/"
        node["children"] = []
        for index, child in enumerate(children):
            if self.left <= 0:
                break
            below = None if depth is None else depth - 1
            node["children"].append(self.tree(f"{identifier}{separator}{index}", child, below))
        return node

    def by_id(self, identifier: str) -> Any:
        pid, _, path = identifier.partition("/")
        for name, program in self.programs("all", None):
            if name == pid:
                return self.below(program, path)
        fail(NOT_FOUND, "no such element")

    def below(self, element: Any, path: str) -> Any:
        for part in path.split(".") if path else []:
            children = self.children(element)
            if not part.isdigit() or int(part) >= len(children):
                fail(NOT_FOUND, "no such element")
            element = children[int(part)]
        return element


def answer_tree(elements: Any, question: dict[str, Any]) -> dict[str, Any]:
    elements.left = question["limit"]
    depth = question["depth"]
    programs = elements.programs(question["scope"], question["pid"])
    if question["scope"] != "all":
        return {"root": elements.tree(*programs[0], depth), "truncated": elements.left <= 0}
    below = None if depth is None else depth - 1
    children = [] if depth == 0 else [elements.tree(*pair, below) for pair in programs if elements.left > 0]
    root = {"id": "", "role": "desktop frame", "name": "main", "states": [], "children": children}
    return {"root": root, "truncated": elements.left <= 0}


def answer_find(elements: Any, question: dict[str, Any]) -> dict[str, Any]:
    matches: list[dict[str, Any]] = []
    fits = name_test(question["name"], question["match"])
    for start in elements.programs(question["scope"], question["pid"]):
        for identifier, element in elements.walk(*start):
            if question["role"] and element.get_role_name() != question["role"]:
                continue
            if not fits(element.get_name() or ""):
                continue
            node = elements.describe(identifier, element)
            if set(question["states"]) <= set(node["states"]):
                if len(matches) == question["limit"]:
                    return {"matches": matches, "truncated": True}
                matches.append(node)
    return {"matches": matches, "truncated": False}


def name_test(wanted: Any, match: str) -> Callable[[str], bool]:
    if not wanted:
        return lambda _name: True
    if match == "exact":
        return lambda name: name == wanted
    if match == "regex":
        try:
            pattern = re.compile(wanted)
        except re.error as error:
            fail(REFUSED, f"name is no regular expression: {error}")
        return lambda name: pattern.search(name) is not None
    return lambda name: wanted.lower() in name.lower()


def do_focus(elements: Any, question: dict[str, Any]) -> dict[str, Any]:
    component = elements.by_id(question["id"]).get_component_iface()
    if component is None or not component.grab_focus():
        fail(REFUSED, "The element cannot be focused")
    return {}


def do_invoke(elements: Any, question: dict[str, Any]) -> dict[str, Any]:
    action = elements.by_id(question["id"]).get_action_iface()
    names = [action.get_action_name(index) for index in range(action.get_n_actions())] if action else []
    wanted = question["action"] or (names[0] if names else None)
    if wanted not in names:
        fail(REFUSED, f"The element has these actions: {', '.join(names) or 'none'}")
    action.do_action(names.index(wanted))
    return {}


def do_value(elements: Any, question: dict[str, Any]) -> dict[str, Any]:
    element = elements.by_id(question["id"])
    text, value = element.get_editable_text_iface(), element.get_value_iface()
    if text is not None:
        text.set_text_contents(question["value"])
    elif value is not None:
        try:
            value.set_current_value(float(question["value"]))
        except ValueError:
            fail(REFUSED, "The element's value is a number")
    else:
        fail(REFUSED, "The element has no value to set")
    return {}


ANSWERS = {"tree": answer_tree, "find": answer_find, "focus": do_focus, "invoke": do_invoke, "value": do_value}

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    print(json.dumps(ANSWERS[asked["do"]](Elements(*load()), asked)))
