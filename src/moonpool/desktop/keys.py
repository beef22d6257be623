"""Names of keys as people and other tools write them, as X's keysyms."""

from moonpool.errors import InvalidInput

MODIFIERS = {
    "ctrl": "ctrl",
    "control": "ctrl",
    "alt": "alt",
    "option": "alt",
    "shift": "shift",
    "cmd": "super",
    "command": "super",
    "meta": "super",
    "super": "super",
    "win": "super",
}
KEYS = {
    "enter": "Return",
    "return": "Return",
    "esc": "Escape",
    "escape": "Escape",
    "tab": "Tab",
    "space": "space",
    "backspace": "BackSpace",
    "delete": "Delete",
    "del": "Delete",
    "insert": "Insert",
    "home": "Home",
    "end": "End",
    "pageup": "Prior",
    "page_up": "Prior",
    "pagedown": "Next",
    "page_down": "Next",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "arrowup": "Up",
    "arrowdown": "Down",
    "arrowleft": "Left",
    "arrowright": "Right",
    "capslock": "Caps_Lock",
    "printscreen": "Print",
    "menu": "Menu",
}
NAME_LIMIT = 64  # characters


def modifier(name: str) -> str:
    found = MODIFIERS.get(name.lower())
    if found is None:
        raise InvalidInput(
            f"'{name}' is no modifier", field="modifiers", hint=f"Known: {', '.join(sorted(MODIFIERS))}."
        )
    return found


def keysym(name: str) -> str:
    """What is no known name goes to X as it is, which knows hundreds more; a single character stands for itself."""
    if len(name) == 1 and name.isprintable() and not name.isspace():
        return name if name.isascii() and name.isalnum() else f"U{ord(name):04X}"
    if name == " ":
        return "space"
    if not name or len(name) > NAME_LIMIT or not name.isascii() or not name.replace("_", "").isalnum():
        raise InvalidInput(f"'{name[:NAME_LIMIT]}' is no key", field="key")
    lower = name.lower()
    if lower in MODIFIERS:
        return MODIFIERS[lower]
    if lower in KEYS:
        return KEYS[lower]
    return lower.upper() if lower[0] == "f" and lower[1:].isdigit() else name


def combination(text: str) -> str:
    """``ctrl+shift+t``, and ``ctrl++`` for the plus key itself."""
    parts = text.removesuffix("++").split("+") if text.endswith("++") else text.split("+")
    names = [part.strip() for part in parts]
    if text.endswith("++"):
        names.append("+")
    if not all(names):
        raise InvalidInput("keys must be names of keys, with + between them", field="keys")
    return "+".join(keysym(name) for name in names)
