"""Git's operations. Those of a remote go on only while their client waits."""

from enum import StrEnum
from typing import TypeVar

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox import git_models as models
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.errors import InvalidInput
from moonpool.git.credentials import credentials_of
from moonpool.git.model import Clone, Commit, ConfigScope, FileState, ResetMode, Status
from moonpool.git.service import SandboxGit

CREATED, NO_CONTENT = 201, 204
DEFAULT_HOST, DEFAULT_PROTOCOL = "github.com", "https"

STATES = {
    FileState.UNMODIFIED: "Unmodified",
    FileState.UNTRACKED: "Untracked",
    FileState.MODIFIED: "Modified",
    FileState.ADDED: "Added",
    FileState.DELETED: "Deleted",
    FileState.RENAMED: "Renamed",
    FileState.COPIED: "Copied",
    FileState.UNMERGED: "Updated but unmerged",
}

Choice = TypeVar("Choice", bound=StrEnum)


def git(call: Call) -> SandboxGit:
    return call.tools.git.on(call.principal, call.sandbox)


async def init(call: Call) -> Response:
    request = await call.body(models.InitRequest)
    await git(call).init(request.path, bare=bool(request.bare), branch=request.initial_branch)
    return Response(status_code=CREATED)


async def clone(call: Call) -> Response:
    request = await call.body(models.CloneRequest)
    wanted = Clone(
        url=request.url,
        path=request.path,
        branch=request.branch or None,
        commit=request.commit_id or None,
        depth=request.depth or None,
        credentials=credentials_of(request.username, request.password),
        verify_tls=not request.insecure_skip_tls,
    )
    await call.unless_gone(git(call).clone(wanted))
    return Response()


async def status(call: Call) -> Response:
    return json_response(status_document(await call.unless_gone(git(call).status(call.query("path")))))


def status_document(status: Status) -> dict[str, object]:
    return {
        "currentBranch": status.branch,
        "fileStatus": [
            {
                "name": file.name,
                "staging": STATES[file.staging],
                "worktree": STATES[file.worktree],
                "extra": file.old_name,
            }
            for file in status.files
        ],
        "ahead": status.ahead,
        "behind": status.behind,
        "branchPublished": status.published,
        "detached": status.detached,
        "upstream": status.upstream,
    }


async def history(call: Call) -> Response:
    commits = await call.unless_gone(git(call).history(call.query("path")))
    return json_response(
        [
            {
                "hash": commit.hash,
                "message": commit.message,
                "author": commit.author,
                "email": commit.email,
                "timestamp": commit.timestamp,
            }
            for commit in commits
        ]
    )


async def list_branches(call: Call) -> Response:
    branches = await git(call).branches(call.query("path"))
    return json_response({"branches": branches.names, "current": branches.current})


async def create_branch(call: Call) -> Response:
    request = await call.body(models.NameRequest)
    await git(call).create_branch(request.path, request.name)
    return Response(status_code=CREATED)


async def delete_branch(call: Call) -> Response:
    request = await call.body(models.NameRequest)
    await git(call).delete_branch(request.path, request.name)
    return Response(status_code=NO_CONTENT)


async def checkout(call: Call) -> Response:
    request = await call.body(models.CheckoutRequest)
    await git(call).checkout(request.path, request.branch)
    return Response()


async def add(call: Call) -> Response:
    request = await call.body(models.AddRequest)
    await git(call).add(request.path, request.files)
    return Response()


async def commit(call: Call) -> Response:
    request = await call.body(models.CommitRequest)
    made = Commit(request.message, request.author, request.email, bool(request.allow_empty))
    return json_response({"hash": await git(call).commit(request.path, made)})


async def reset(call: Call) -> Response:
    request = await call.body(models.ResetRequest)
    mode = choice(ResetMode, request.mode, "mode") if request.mode else None
    await git(call).reset(request.path, mode=mode, target=request.target or None, files=request.files or ())
    return Response()


async def restore(call: Call) -> Response:
    request = await call.body(models.RestoreRequest)
    places = {"staged": bool(request.staged), "worktree": bool(request.worktree)}
    await git(call).restore(request.path, request.files, source=request.source or None, **places)
    return Response()


async def list_remotes(call: Call) -> Response:
    remotes = await git(call).remotes(call.query("path"))
    return json_response({"remotes": [{"name": remote.name, "url": remote.url} for remote in remotes]})


async def add_remote(call: Call) -> Response:
    request = await call.body(models.AddRemoteRequest)
    options = {"fetch": bool(request.fetch), "overwrite": bool(request.overwrite)}
    await call.unless_gone(git(call).add_remote(request.path, request.name, request.url, **options))
    return Response(status_code=CREATED)


async def push(call: Call) -> Response:
    request = await call.body(models.PushRequest)
    pushing = git(call).push(
        request.path,
        remote=request.remote or None,
        branch=request.branch or None,
        set_upstream=bool(request.set_upstream),
        credentials=credentials_of(request.username, request.password),
    )
    await call.unless_gone(pushing)
    return Response()


async def pull(call: Call) -> Response:
    request = await call.body(models.PullRequest)
    pulling = git(call).pull(
        request.path,
        remote=request.remote or None,
        branch=request.branch or None,
        credentials=credentials_of(request.username, request.password),
    )
    await call.unless_gone(pulling)
    return Response()


async def get_config(call: Call) -> Response:
    given = call.connection.query_params
    scope = config_scope(given.get("scope"))
    value = await git(call).config(call.query("key"), scope=scope, path=given.get("path"))
    return json_response({"value": value})


async def set_config(call: Call) -> Response:
    request = await call.body(models.ConfigRequest)
    values = {request.key: request.value}
    await git(call).set_config(values, scope=config_scope(request.scope), path=request.path)
    return Response()


async def configure_user(call: Call) -> Response:
    request = await call.body(models.ConfigureUserRequest)
    values = {"user.name": request.name, "user.email": request.email}
    await git(call).set_config(values, scope=config_scope(request.scope), path=request.path)
    return Response()


async def authenticate(call: Call) -> Response:
    request = await call.body(models.AuthenticateRequest)
    credentials = credentials_of(request.username, request.password)
    if credentials is None:
        raise InvalidInput("username and password are required", field="password")
    host, protocol = request.host or DEFAULT_HOST, request.protocol or DEFAULT_PROTOCOL
    await git(call).remember(credentials, host=host, protocol=protocol)
    return Response()


def config_scope(text: str | None) -> ConfigScope:
    return choice(ConfigScope, text or ConfigScope.GLOBAL, "scope")


def choice(kind: type[Choice], text: str, field: str) -> Choice:
    try:
        return kind(text)
    except ValueError:
        raise InvalidInput(f"{field} must be one of {', '.join(kind)}", field=field) from None
