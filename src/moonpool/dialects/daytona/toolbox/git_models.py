"""What the toolbox's git operations take; as ``models.py``, written by hand."""

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StrictStr

from moonpool.dialects.daytona.wire import WireModel

MAX_DEPTH = 2**31 - 1  # commits

Depth = Annotated[StrictInt, Field(ge=0, le=MAX_DEPTH)]


class RepositoryRequest(WireModel):
    path: StrictStr


class AddRequest(RepositoryRequest):
    files: list[StrictStr]


class NameRequest(RepositoryRequest):
    name: StrictStr


class CheckoutRequest(RepositoryRequest):
    branch: StrictStr


class InitRequest(RepositoryRequest):
    bare: StrictBool | None = None
    initial_branch: StrictStr | None = None


class CommitRequest(RepositoryRequest):
    message: StrictStr
    author: StrictStr
    email: StrictStr
    allow_empty: StrictBool | None = None


class ResetRequest(RepositoryRequest):
    mode: StrictStr | None = None
    target: StrictStr | None = None
    files: list[StrictStr] | None = None


class RestoreRequest(RepositoryRequest):
    files: list[StrictStr]
    staged: StrictBool | None = None
    worktree: StrictBool | None = None
    source: StrictStr | None = None


class AddRemoteRequest(NameRequest):
    url: StrictStr
    fetch: StrictBool | None = None
    overwrite: StrictBool | None = None


class WithCredentials(RepositoryRequest):
    username: StrictStr | None = None
    password: StrictStr | None = Field(default=None, repr=False)


class CloneRequest(WithCredentials):
    url: StrictStr
    branch: StrictStr | None = None
    commit_id: StrictStr | None = None
    depth: Depth | None = None
    insecure_skip_tls: StrictBool | None = None


class PullRequest(WithCredentials):
    remote: StrictStr | None = None
    branch: StrictStr | None = None


class PushRequest(PullRequest):
    set_upstream: StrictBool | None = None


class ConfigRequest(WireModel):
    key: StrictStr
    value: StrictStr
    scope: StrictStr | None = None
    path: StrictStr | None = None


class ConfigureUserRequest(WireModel):
    name: StrictStr
    email: StrictStr
    scope: StrictStr | None = None
    path: StrictStr | None = None


class AuthenticateRequest(WireModel):
    """``host`` and ``protocol``: github.com and https where they are not given."""

    username: StrictStr
    password: StrictStr = Field(repr=False)
    host: StrictStr | None = None
    protocol: StrictStr | None = None
