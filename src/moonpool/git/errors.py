"""What git can answer, told apart. Each keeps git's own words as its message."""

from moonpool.errors import GuestError


class GitFailed(GuestError):
    code = "git_failed"
    default = "git failed"


class GitMissing(GitFailed):
    code = "git_missing"
    default = "git is not installed in this sandbox"
    default_hint = "Install it in the sandbox, or use an image that has it."


class GitTimeout(GitFailed):
    code = "git_timeout"
    default = "git did not end in time"


class RepositoryNotFound(GitFailed):
    """The path is no repository, or the remote has none at that address."""

    code = "git_repository_not_found"
    default = "Repository not found"


class RepositoryExists(GitFailed):
    code = "git_repository_exists"
    default = "The folder exists already and is not empty"


class AuthenticationFailed(GitFailed):
    code = "git_authentication_failed"
    default = "The remote wants other credentials"
    default_hint = "Give a username and a password or token that the remote accepts."


class RemoteForbids(GitFailed):
    code = "git_forbidden"
    default = "The remote does not allow this with these credentials"


class BranchNotFound(GitFailed):
    """Also for a commit, tag or other revision that is not there."""

    code = "git_branch_not_found"
    default = "Branch not found"


class BranchExists(GitFailed):
    code = "git_branch_exists"
    default = "A branch of this name exists already"


class RemoteExists(GitFailed):
    code = "git_remote_exists"
    default = "A remote of this name exists already"
    default_hint = "Ask for it to be overwritten, or take another name."


class PushRejected(GitFailed):
    code = "git_push_rejected"
    default = "The remote has commits that this repository has not"
    default_hint = "Pull first."


class RemoteRejected(GitFailed):
    """A hook, a protected branch or a quota of the remote."""

    code = "git_remote_rejected"
    default = "The remote refused the push"


class DirtyWorktree(GitFailed):
    code = "git_dirty_worktree"
    default = "There are changes that this would overwrite"
    default_hint = "Commit, restore or stash them first."


class MergeConflict(GitFailed):
    code = "git_merge_conflict"
    default = "There are conflicts to resolve"
    default_hint = "Resolve them and commit, or run 'git merge --abort'."


class NothingToCommit(GitFailed):
    code = "git_nothing_to_commit"
    default = "Nothing is staged"
    default_hint = "Add files first, or allow an empty commit."


class TransportFailed(GitFailed):
    code = "git_transport_failed"
    default = "The remote cannot be reached"
