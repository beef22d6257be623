"""The dialect's tables, held against the contract, the vendor's error codes and the core."""

import ast
import json
import re
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.dialects.freestyle.app import HANDLERS
from moonpool.dialects.freestyle.extensions import CreateVmRequest, Layer, SystemdUnitSpec
from moonpool.dialects.freestyle.layers import plan_of, template_hash
from moonpool.dialects.freestyle.mapping import (
    BAD_REQUESTS,
    ERRORS,
    LIMITS,
    STATES,
    FreestyleError,
    derived_id,
    new_id,
    status_and_code,
)
from moonpool.dialects.freestyle.operations import OPERATIONS
from moonpool.dialects.freestyle.persistence import TRAFFIC, idle_timers, stored
from moonpool.dialects.freestyle.schemas import LinuxGroupSpec, LinuxUserSpec, VmPersistence
from moonpool.dialects.freestyle.sizes import check_size
from moonpool.dialects.freestyle.terminals import plain_lines
from moonpool.dialects.freestyle.units import spec_of
from moonpool.dialects.freestyle.users import check_groups, check_users
from moonpool.sandboxes.model import SandboxState, Timers
from tests.contract.freestyle.generate import SCHEMAS_COMMAND, run

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "src/moonpool/dialects/freestyle"
CONTRACT = json.loads((ROOT / "tests/contract/freestyle.contract.json").read_text())
CODES = {
    code: current
    for code, _, current in (
        line.split("\t") for line in (ROOT / "tests/contract/freestyle-error-codes.tsv").read_text().splitlines()[1:]
    )
}


def test_table_is_the_contract() -> None:
    declared = {
        (operation["operationId"], method.upper(), path)
        for path, item in CONTRACT["paths"].items()
        for method, operation in item.items()
    }
    assert {(operation.id, operation.method, operation.path) for operation in OPERATIONS} == declared
    assert len(declared) == 37
    assert set(HANDLERS) == {operation.id for operation in OPERATIONS}


def test_models_are_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    made = tmp_path / "schemas.py"
    run(SCHEMAS_COMMAND.replace(str(PACKAGE.relative_to(ROOT) / "schemas.py"), str(made)))
    # What is compared is the code: where a line is broken depends on the folder that it is written to.
    assert ast.dump(ast.parse(made.read_text())) == ast.dump(ast.parse((PACKAGE / "schemas.py").read_text()))


def test_every_code_is_one_that_the_sdk_knows() -> None:
    """It repeats a create for ever on any other."""
    named = {code for _, code in ERRORS.values()} | set(BAD_REQUESTS.values()) | set(LIMITS.values())
    sources = "".join(path.read_text() for path in PACKAGE.glob("*.py") if path.name != "schemas.py")
    named |= set(re.findall(r'Error\(\s*\d+,\s*"([A-Z_]+)"', sources))
    assert len(named) >= 40
    assert named <= {code for code, status in CODES.items() if status != "-"}


@pytest.mark.parametrize(("status", "code"), sorted(set(ERRORS.values())))
def test_statuses_are_the_vendors(status: int, code: str) -> None:
    # It has no status of its own for a request that is too large or a feature that is missing.
    assert CODES[code] == str(status)


def test_every_state_has_a_name() -> None:
    assert set(STATES) == set(SandboxState)


def test_codes_of_an_operation() -> None:
    assert status_and_code(errors.InvalidInput(), "create_vm") == (400, "CREATE_VM_BAD_REQUEST")
    assert status_and_code(errors.InvalidInput(), "exec_await") == (400, "BAD_REQUEST")
    assert status_and_code(errors.LimitExceeded(field="memory"), "create_vm") == (403, "MEM_OVER_PLAN_LIMIT")


def test_ids_have_their_forms() -> None:
    assert re.fullmatch(r"sc-[a-z0-9]{20}", new_id("sc-"))
    assert re.fullmatch(r"sl-[a-z0-9]{16}", derived_id("sl-", "text", 16))
    assert derived_id("sc-", "one") == derived_id("sc-", "one") != derived_id("sc-", "other")


@pytest.mark.parametrize(
    ("size", "code"),
    [
        ((3, None, None), "CREATE_VM_VCPU_NOT_POWER_OF_TWO"),
        ((0, None, None), "CREATE_VM_VCPU_OUT_OF_RANGE"),
        ((None, 6, None), "CREATE_VM_MEM_NOT_POWER_OF_TWO"),
        ((None, 1 << 40, None), "CREATE_VM_MEM_OUT_OF_RANGE"),
        ((None, None, 0), "CREATE_VM_ROOTFS_OUT_OF_RANGE"),
    ],
)
def test_sizes(size: tuple[int | None, int | None, int | None], code: str) -> None:
    assert refusal(lambda: check_size("CREATE_VM", *size)) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"name": ""}, "SERVICE_NAME_EMPTY"),
        ({"name": "a/b"}, "SERVICE_NAME_INVALID_CHARS"),
        ({"name": "-a"}, "SERVICE_NAME_INVALID_PREFIX"),
        ({"name": "a" * 300}, "SERVICE_NAME_TOO_LONG"),
        ({"exec": []}, "EXEC_EMPTY"),
        ({"env": {"": "x"}}, "ENV_KEY_EMPTY"),
        ({"env": {"a=b": "x"}}, "ENV_KEY_CONTAINS_EQUALS"),
        ({"after": [""]}, "AFTER_ARRAY_CONTAINS_EMPTY"),
        ({"requires": [""]}, "REQUIRES_ARRAY_CONTAINS_EMPTY"),
        ({"onFailure": [""]}, "ON_FAILURE_ARRAY_CONTAINS_EMPTY"),
        ({"wantedBy": [""]}, "WANTED_BY_EMPTY"),
        ({"user": ""}, "USER_EMPTY"),
        ({"group": ""}, "GROUP_EMPTY"),
        ({"workdir": ""}, "WORKDIR_EMPTY"),
    ],
)
def test_services(change: dict[str, object], code: str) -> None:
    unit = SystemdUnitSpec.model_validate({"name": "a", "exec": ["/bin/true"], **change})
    assert refusal(lambda: spec_of(unit)) == code


@pytest.mark.parametrize(
    ("users", "code"),
    [
        ([{"name": "a"}, {"name": "a"}], "DUPLICATE_USER_NAME"),
        ([{"name": "a", "uid": 70000}], "USER_UID_OUT_OF_RANGE"),
        ([{"name": "a", "uid": 1500, "system": True}], "USER_SYSTEM_FLAG_MISMATCH"),
        ([{"name": "a", "home": "x"}], "USER_HOME_INVALID"),
        ([{"name": "a", "shell": "x"}], "USER_SHELL_INVALID"),
        ([{"name": "a", "groups": [""]}], "USER_GROUP_EMPTY"),
    ],
)
def test_users(users: list[dict[str, object]], code: str) -> None:
    assert refusal(lambda: check_users([LinuxUserSpec.model_validate(user) for user in users])) == code


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([""], "GROUP_NAME_EMPTY"),
        (["a" * 40], "GROUP_NAME_TOO_LONG"),
        (["A B"], "GROUP_NAME_INVALID_CHARS"),
        (["root"], "GROUP_NAME_RESERVED"),
        (["a", "a"], "DUPLICATE_GROUP_NAME"),
    ],
)
def test_groups(names: list[str], code: str) -> None:
    assert refusal(lambda: check_groups([LinuxGroupSpec(name=name) for name in names])) == code


def test_three_ways_to_say_the_same() -> None:
    files = {"/a": {"content": "x"}}
    inner = {"additionalFiles": files, "vcpuCount": 2}
    forms = [
        {"spec": {"snapshot": inner, "memSizeGb": 4}, "workdir": "/w"},
        {"template": inner, "memSizeGb": 4, "workdir": "/w"},
        {"spec": {"memSizeGb": 4, "workdir": "/other"}, "template": inner, "workdir": "/w"},
    ]
    for form in forms:
        request = CreateVmRequest.model_validate(form)
        plan = plan_of(request, request.spec, request.template, "CREATE_VM")
        assert [layer.vcpuCount for layer in plan.layers] == [2]
        assert (plan.top.memSizeGb, plan.top.workdir, plan.base) == (4, "/w", None)
    hashes = {template_hash(Layer.model_validate({**inner, **more}), "base") for more in ({}, {"skipCache": True})}
    assert len(hashes) == 1
    assert template_hash(Layer.model_validate({**inner, "discriminator": "d"}), "base") not in hashes
    assert template_hash(Layer.model_validate(inner), "another") not in hashes


def test_a_layer_of_sizes_alone_is_no_layer() -> None:
    request = CreateVmRequest.model_validate({"template": {"vcpuCount": 2, "snapshotId": "sc-x"}, "systemd": {}})
    plan = plan_of(request, request.spec, request.template, "CREATE_VM")
    assert (plan.layers, plan.top.vcpuCount, plan.base) == ((), 2, "sc-x")


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"spec": {"snapshot": {}, "snapshotId": "sc-x"}}, "CONFLICTING_SPEC_SOURCES_ERROR"),
        ({"spec": {"baseImage": {"dockerfileContent": "FROM debian\nNO"}}}, "CREATE_VM_BAD_REQUEST"),
        (
            {
                "gitRepos": [{"repo": "https://a/b", "path": "x"}],
                "git": {"repos": [{"repo": "https://a/b", "path": "x"}]},
            },
            "INVALID_GIT_REPO_SPEC_ERROR",
        ),
        ({"systemd": {"services": [{"name": "a", "exec": ["b"]}] * 2}}, "SERVICE_ALREADY_EXISTS"),
    ],
)
def test_plans_that_cannot_be(form: dict[str, object], code: str) -> None:
    request = CreateVmRequest.model_validate(form)
    assert refusal(lambda: plan_of(request, request.spec, request.template, "CREATE_VM")) == code


def test_persistence_is_timers() -> None:
    ephemeral = stored(VmPersistence.model_validate({"type": "ephemeral"}))
    assert idle_timers(Timers(), 60, None) == Timers(auto_pause=60, activity_bytes=TRAFFIC)
    assert idle_timers(Timers(), None, None) == Timers(activity_bytes=TRAFFIC)
    stopped = Timers(auto_stop=60, auto_delete=0, activity_bytes=TRAFFIC)
    assert idle_timers(Timers(), 60, ephemeral) == stopped
    paused = Timers(auto_pause=60, auto_delete=0, activity_bytes=TRAFFIC)
    assert idle_timers(Timers(), 60, {**ephemeral, "deleteEvent": "OnStop"}) == paused


def test_plain_lines_of_a_terminal() -> None:
    assert plain_lines("\x1b[31mred\x1b[0m\r\n10%\r100%\r\n\x1b]0;title\x07end") == ["red", "100%", "end"]


def refusal(work: object) -> str:
    with pytest.raises(FreestyleError) as refused:
        work()  # type: ignore[operator]
    return refused.value.code
