"""Linux users and groups as Freestyle writes them, checked with its own codes."""

import re
from collections.abc import Iterable

from moonpool.dialects.freestyle.mapping import FreestyleError
from moonpool.dialects.freestyle.schemas import LinuxGroupSpec, LinuxUserSpec
from moonpool.errors import InvalidInput

NAME = re.compile(r"[a-z_][a-z0-9_-]*")
NAME_LENGTH = 32  # characters
SYSTEM_UID = 999  # the largest of the system's range
MAX_UID = 65535
RESERVED = frozenset({"root", "daemon", "bin", "sys", "adm", "tty", "disk", "nogroup", "shadow", "kmem"})


def check_groups(groups: Iterable[LinuxGroupSpec]) -> None:
    seen: set[str] = set()
    for group in groups:
        name = group.name
        problems = (
            (not name, "GROUP_NAME_EMPTY", "Group name cannot be empty"),
            (len(name) > NAME_LENGTH, "GROUP_NAME_TOO_LONG", f"Group name is too long (max {NAME_LENGTH} characters)"),
            (
                not NAME.fullmatch(name),
                "GROUP_NAME_INVALID_CHARS",
                f"Group name '{name}' contains invalid characters (must match {NAME.pattern})",
            ),
            (name in RESERVED, "GROUP_NAME_RESERVED", f"Group name '{name}' is reserved and cannot be used"),
            (name in seen, "DUPLICATE_GROUP_NAME", f"Duplicate group name '{name}' found"),
        )
        refuse(problems, name=name)
        seen.add(name)


def check_users(users: Iterable[LinuxUserSpec]) -> None:
    seen: set[str] = set()
    for user in users:
        name = user.name
        if not NAME.fullmatch(name) or len(name) > NAME_LENGTH:
            raise InvalidInput(f"users: a name matches {NAME.pattern} and has at most {NAME_LENGTH} characters")
        home, shell, uid = user.home, user.shell, user.uid
        problems = (
            (name in seen, "DUPLICATE_USER_NAME", f"Duplicate user name '{name}' found"),
            (
                uid is not None and uid > MAX_UID,
                "USER_UID_OUT_OF_RANGE",
                f"User '{name}' has invalid UID {uid} (must be 0-{MAX_UID})",
            ),
            (
                bool(user.system) and uid is not None and uid > SYSTEM_UID,
                "USER_SYSTEM_FLAG_MISMATCH",
                f"User '{name}' has system=true but UID {uid} is > {SYSTEM_UID} (system range)",
            ),
            (
                home is not None and not home.startswith("/"),
                "USER_HOME_INVALID",
                f"User '{name}' has invalid home path",
            ),
            (
                shell is not None and not shell.startswith("/"),
                "USER_SHELL_INVALID",
                f"User '{name}' has invalid shell path",
            ),
            (
                not all(group.strip() for group in user.groups or ()),
                "USER_GROUP_EMPTY",
                f"User '{name}' has empty string in groups",
            ),
        )
        refuse(problems, user=name)
        seen.add(name)


def refuse(problems: Iterable[tuple[bool, str, str]], **fields: str) -> None:
    """The first that is true."""
    for found, code, message in problems:
        if found:
            raise FreestyleError(400, code, message, **fields)
