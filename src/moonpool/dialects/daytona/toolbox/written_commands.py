"""What SDKs before 0.167 write into a command, since their server took nothing but commands: its environment, and the
code of a program in TypeScript.

That server split a command into words before any shell saw it. A shell would put each value in its place within the
quotes, where the value's spaces and quotes break it; and it would fetch a compiler from npm for each program.
"""

import re
import shlex
from base64 import b64decode
from dataclasses import dataclass, field

TEXT = "[A-Za-z0-9+/]*={0,2}"  # base64
EXPORT = rf"export ([A-Za-z_][A-Za-z0-9_]*)=\$\(echo '({TEXT})' \| base64 -d\);"
COMMAND = re.compile(
    rf"""sh -c "(?P<exports>(?:{EXPORT})*) ?(?P<command>echo '(?P<text>{TEXT})' \| base64 -d \| sh)\""""
)
TYPESCRIPT = re.compile(
    rf" sh -c 'echo (?P<code>{TEXT}) \| base64 --decode \| npx ts-node -O "
    r'"\{\\"module\\":\\"CommonJS\\"\}" -e "\$\(cat\)" x (?P<arguments>[^\']*) 2>&1 \| grep -vE "npm notice"\' '
)


@dataclass(frozen=True)
class Written:
    """``command`` is for a shell, unless there is a ``program``, which is in TypeScript."""

    command: str
    environment: dict[str, str] = field(default_factory=dict)
    program: str | None = None
    arguments: tuple[str, ...] = ()


def read(command: str) -> Written:
    """A command of any other kind, or with something in it that is no text, is left as it is."""
    found = COMMAND.fullmatch(command)
    if found is None:
        return Written(command)
    try:
        environment = {name: decoded(value) for name, value in re.findall(EXPORT, found["exports"])}
        program = TYPESCRIPT.fullmatch(decoded(found["text"]))
        if program is None:
            return Written(found["command"] if environment else command, environment)
        arguments = tuple(shlex.split(program["arguments"]))
        return Written(command, environment, decoded(program["code"]), arguments)
    except ValueError:
        return Written(command)


def decoded(text: str) -> str:
    plain = b64decode(text, validate=True).decode()
    if "\0" in plain:
        raise ValueError("a NUL is no text")
    return plain
