"""Units as they are asked for: what is refused, and which files they become."""

import pytest

from moonpool.errors import InvalidUnit
from moonpool.guest.agent.units import syntax
from moonpool.guest.agent.units.commands import parse
from moonpool.processes.units.checks import check, unit_name
from moonpool.processes.units.model import RestartPolicy, UnitPatch, UnitSpec
from moonpool.processes.units.render import render, render_patch


def values(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, key, value in syntax.settings(text):
        found.setdefault(key, []).append(value)
    return found


def test_a_whole_spec_becomes_the_settings_that_it_means() -> None:
    spec = UnitSpec(
        name="web",
        mode="service",
        exec=("/bin/prepare", "/bin/serve --port 80"),
        env={"WORD": 'two "words" 100%', "LINES": "a\nb"},
        user="app",
        after=("db", "network.target"),
        requires=("db",),
        on_failure=("alarm",),
        timeout_sec=0,
        watchdog_sec=5,
        ready_signal=True,
        restart=RestartPolicy("on-failure", 1.5, 3, 60),
    )
    found = values(render(spec))
    assert found["Type"] == ["notify"]
    assert (found["ExecStartPre"], found["ExecStart"]) == (["/bin/prepare"], ["/bin/serve --port 80"])
    assert found["After"] == ["db.service network.target"]
    assert (found["Requires"], found["OnFailure"], found["User"]) == (["db.service"], ["alarm.service"], ["app"])
    assert (found["TimeoutSec"], found["WatchdogSec"]) == (["infinity"], ["5"])
    assert (found["Restart"], found["RestartSec"]) == (["on-failure"], ["1.5"])
    assert (found["StartLimitBurst"], found["StartLimitIntervalSec"]) == (["3"], ["60"])
    assert found["WantedBy"] == ["multi-user.target"]
    read = [syntax.expand(word, lambda _: None) for value in found["Environment"] for word in syntax.words(value)]
    assert read == ["LINES=a\nb", 'WORD=two "words" 100%']


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("/bin/echo 'a b' c", ("/bin/echo", "a b", "c")),
        ("/bin/bash -c 'echo one\necho two'", ("/bin/bash", "-c", "echo one\necho two")),
        ("/bin/echo a \\\n  b", ("/bin/echo", "a", "b")),
        ('/bin/echo "it\'s"', ("/bin/echo", "it's")),
    ],
)
def test_a_command_means_the_same_in_the_file(line: str, argv: tuple[str, ...]) -> None:
    text = render(UnitSpec("one", "oneshot", (line,)))
    (command,) = parse(values(text)["ExecStart"][0], lambda _: None)
    assert command.argv == argv


def test_prefixes_and_variables_of_commands() -> None:
    (first, second) = parse("-@/bin/sh name $MANY ${MANY} $$ ; +/bin/true", lambda _: None)
    assert (first.ignored, first.executable, second.privileged) == (True, "/bin/sh", True)
    assert first.arguments({"MANY": "a b"}) == ("name", "a", "b", "a b", "$")


def test_a_patch_says_what_changes_alone() -> None:
    found = values(render_patch(UnitPatch("web", exec=("/bin/other",), env={"A": "b"})))
    assert found == {"Environment": ['"A=b"'], "ExecStartPre": [""], "ExecStart": ["", "/bin/other"]}


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("name", UnitSpec("", "service", ("/bin/true",))),
        ("name", UnitSpec("a/b", "service", ("/bin/true",))),
        ("name", UnitSpec("x" * 300, "service", ("/bin/true",))),
        ("exec", UnitSpec("a", "service", ())),
        ("exec", UnitSpec("a", "service", (" ",))),
        ("env", UnitSpec("a", "service", ("/bin/true",), env={"A=B": "c"})),
        ("user", UnitSpec("a", "service", ("/bin/true",), user="x\nExecStart=/bin/sh")),
        ("after", UnitSpec("a", "service", ("/bin/true",), after=("",))),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_field(field: str, spec: UnitSpec) -> None:
    with pytest.raises(InvalidUnit) as refused:
        check(spec)
    assert refused.value.field == field


def test_a_name_without_its_kind_is_a_service() -> None:
    assert [unit_name(name) for name in ("a", "a.service", "b.target", "c@1")] == [
        "a.service", "a.service", "b.target", "c@1.service",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("1min 30s", 90.0), ("100ms", 0.1), ("2h", 7200.0), ("infinity", None)]
)
def test_spans_of_time(text: str, seconds: float | None) -> None:
    assert syntax.seconds(text) == seconds


def test_lines_go_on_and_comments_between_are_left_out() -> None:
    text = "# one\n[Service]\nExecStart=/bin/echo a \\\n# two\n  b\nstray\n;three\nRestart = always\n"
    assert list(syntax.settings(text)) == [("Service", "ExecStart", "/bin/echo a  b"), ("Service", "Restart", "always")]
