"""What old SDKs of Daytona write into commands, as their versions 0.22 to 0.150 do it."""

import base64

import pytest

from moonpool.dialects.daytona.toolbox.written_commands import Written, read


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def command_of(text: str, environment: dict[str, str] | None = None) -> str:
    exports = "".join(
        f"export {name}=$(echo '{encoded(value)}' | base64 -d);" for name, value in (environment or {}).items()
    )
    return f"sh -c \"{exports}{' ' if exports else ''}echo '{encoded(text)}' | base64 -d | sh\""


def typescript(code: str, arguments: str = "") -> str:
    return (
        f" sh -c 'echo {encoded(code)} | base64 --decode | npx ts-node -O "
        r'"{\"module\":\"CommonJS\"}" -e "$(cat)" x '
        f'{arguments} 2>&1 | grep -vE "npm notice"\' '
    )


def test_an_environment_is_taken_out() -> None:
    environment = {"A": 'it\'s "so"', "B_2": "", "C": "ü\n$HOME"}
    assert read(command_of("echo x", environment)) == Written(
        f"echo '{encoded('echo x')}' | base64 -d | sh", environment
    )


@pytest.mark.parametrize(("arguments", "wanted"), [("", ()), ("a b", ("a", "b")), ('"a b" c', ("a b", "c"))])
def test_a_program_is_taken_out(arguments: str, wanted: tuple[str, ...]) -> None:
    code = 'const x: string = "it\'s";\nconsole.log(x)'
    written = read(command_of(typescript(code, arguments), {"A": "b c"}))
    assert (written.program, written.arguments, written.environment) == (code, wanted, {"A": "b c"})


@pytest.mark.parametrize(
    "command",
    [
        "echo x",
        command_of("echo x"),
        command_of("echo x") + "; id",
        "sh -c \"export A-B=$(echo 'eA==' | base64 -d); echo 'eA==' | base64 -d | sh\"",
        "sh -c \"export A=$(echo 'gA==' | base64 -d); echo 'eA==' | base64 -d | sh\"",  # no text
        "sh -c \"export A=$(echo 'AA==' | base64 -d); echo 'eA==' | base64 -d | sh\"",  # a NUL
        "sh -c \"export A=$(echo 'A' | base64 -d); echo 'eA==' | base64 -d | sh\"",  # no base64
        command_of(typescript("x", '"open')),
        command_of(typescript("x") + "; id"),
    ],
)
def test_anything_else_is_left_as_it_is(command: str) -> None:
    assert read(command) == Written(command)
