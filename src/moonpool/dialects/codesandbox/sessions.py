"""Sessions: a Linux user each, with a home of their own, all of them in the one workspace."""

import re
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from moonpool.dialects.codesandbox.addresses import pitcher_url
from moonpool.dialects.codesandbox.call import Authenticated, Call
from moonpool.dialects.codesandbox.details import details_of
from moonpool.dialects.codesandbox.errors import success
from moonpool.dialects.codesandbox.mapping import USER, WORKSPACE
from moonpool.dialects.codesandbox.pitcher.tokens import Grant
from moonpool.dialects.codesandbox.requests import parse
from moonpool.dialects.codesandbox.schemas import Permission, VMCreateSessionRequest
from moonpool.dialects.codesandbox.steps import insist
from moonpool.errors import FileOperationFailed, InvalidInput, SandboxNotFound
from moonpool.guest.client import AgentClient
from moonpool.guest.model import ProcessSpec
from moonpool.sandboxes.model import Sandbox, SandboxState

USER_PREFIX = "csb-"  # so that no session becomes a user whom the image has already
GROUP = "workspace"  # of those who may write in it
SHELL = "/bin/bash"
MAX_SESSION_ID = 20  # characters, as the SDK has it; a Linux user's name has at most 32
TOKEN = re.compile(r"[A-Za-z0-9_.~-]+")
PRIVATE = 0o600
PRIVATE_FOLDER = 0o700

# Everything there becomes the group's, and folders hand the group on to what is made in them. Git refuses a repository
# that another user has made, unless the configuration of all users says otherwise: a user's own the SDK writes anew.
SHARE = f"""
chgrp -R {GROUP} {WORKSPACE} && chmod -R g+rwX {WORKSPACE} && find {WORKSPACE} -type d -exec chmod g+s {{}} + || exit
grep -qsF 'directory = {WORKSPACE}' /etc/gitconfig || printf '[safe]\\n\\tdirectory = {WORKSPACE}\\n' >> /etc/gitconfig
"""

router = APIRouter()


@router.post("/vm/{id}/sessions")
async def create_session(request: Request, call: Authenticated, id: str) -> Response:
    """For a session that was there already as well, with a new token; a VM that does not run is not found."""
    body = await parse(request, VMCreateSessionRequest)
    check(body)

    async def prepare(found: Sandbox) -> Sandbox:
        if found.state is not SandboxState.RUNNING:
            raise SandboxNotFound(f"The VM is not running, it is {found.state}")
        async with call.services.sandboxes.session(call.principal, found.id) as session:
            await make_user(session.agent, body)
        return found

    return success(session_json(call, await insist(call, id, prepare), body))


def check(body: VMCreateSessionRequest) -> None:
    if len(body.session_id) > MAX_SESSION_ID:
        raise InvalidInput(f"session_id: at most {MAX_SESSION_ID} characters", field="session_id")
    for name in ("git_user_name", "git_user_email", "git_access_token"):
        value = getattr(body, name)
        if value is not None and not value.isprintable():
            raise InvalidInput(f"{name}: printable characters on one line only", field=name)
    if body.git_access_token and not TOKEN.fullmatch(body.git_access_token):
        raise InvalidInput("git_access_token: no token has such characters", field="git_access_token")


def user_of(body: VMCreateSessionRequest) -> str:
    return USER_PREFIX + body.session_id


def home_of(user: str) -> str:
    return f"/home/{user}"


async def make_user(agent: AgentClient, body: VMCreateSessionRequest) -> None:
    """Who may only read is in no group that could write."""
    user = user_of(body)
    await agent.mkdir(WORKSPACE, user=USER)
    await agent.ensure_group(GROUP)
    groups = (GROUP,) if body.permission is Permission.write else ()
    await agent.ensure_user(user, home=home_of(user), shell=SHELL, groups=groups)
    if (await agent.stat(WORKSPACE, user=USER)).group != GROUP:
        await share_workspace(agent)
    if body.git_user_name or body.git_user_email or body.git_access_token:
        await configure_git(agent, user, body)


async def share_workspace(agent: AgentClient) -> None:
    done = await agent.run(ProcessSpec(shell=SHARE, user=USER, cwd="/", merge_output=True), output_limit=4096)
    if done.exit_code:
        raise FileOperationFailed(f"The workspace cannot be shared: {done.stdout.decode(errors='replace')[:500]}")


async def configure_git(agent: AgentClient, user: str, body: VMCreateSessionRequest) -> None:
    """The token is in a file of the user's alone, where the SDK keeps such things too."""
    private = f"{home_of(user)}/.private"
    if body.git_access_token:
        await agent.mkdir(private, PRIVATE_FOLDER, user=user)
        line = f"https://x-access-token:{body.git_access_token}@github.com\n"
        await write_private(agent, f"{private}/.gitcredentials", line, user)
    await write_private(agent, f"{home_of(user)}/.gitconfig", git_config(body), user)


async def write_private(agent: AgentClient, path: str, text: str, user: str) -> None:
    async with agent.write(path, mode=PRIVATE, user=user) as writer:
        await writer.write(text.encode())


def git_config(body: VMCreateSessionRequest) -> str:
    """The workspace is root's; git trusts no other's folder unless told so."""
    lines = ["[user]"]
    if body.git_user_name:
        lines.append(f"\tname = {quoted(body.git_user_name)}")
    if body.git_user_email:
        lines.append(f"\temail = {quoted(body.git_user_email)}")
    lines += ["[init]", "\tdefaultBranch = main", "[safe]", f"\tdirectory = {WORKSPACE}"]
    if body.git_access_token:
        lines += ["[credential]", "\thelper = store --file ~/.private/.gitcredentials"]
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def session_json(call: Call, sandbox: Sandbox, body: VMCreateSessionRequest) -> dict[str, Any]:
    user = user_of(body)
    permission = Permission.read if details_of(sandbox).is_frozen else body.permission
    grant = Grant(
        sandbox_id=sandbox.id,
        team_id=sandbox.team_id,
        user=user,
        home=home_of(user),
        workspace=WORKSPACE,
        permission=permission.value,
        session_id=body.session_id,
        key_id=call.principal.key_id,
    )
    return {
        "username": user,
        "pitcher_token": call.shared.tokens.mint(grant),
        "pitcher_url": pitcher_url(call.origin, sandbox.id),
        "user_workspace_path": WORKSPACE,
        "capabilities": [],
        "permissions": {"read": True, "write": permission is Permission.write},
    }
