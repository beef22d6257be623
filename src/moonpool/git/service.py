"""Use cases of git in a sandbox. Each runs the sandbox's own ``git``; relative paths begin at the user's home."""

from collections.abc import Mapping, Sequence

from moonpool.access.model import Principal
from moonpool.errors import CommandNotFound, InvalidInput
from moonpool.git import credentials as secret
from moonpool.git.errors import (
    BranchNotFound,
    GitFailed,
    GitMissing,
    GitTimeout,
    NothingToCommit,
    RemoteExists,
    RepositoryNotFound,
)
from moonpool.git.model import (
    Branches,
    Clone,
    Commit,
    CommitInfo,
    ConfigScope,
    Credentials,
    Remote,
    ResetMode,
    Status,
)
from moonpool.git.outcomes import failure
from moonpool.git.parsing import HISTORY_FORMAT, history_of, remotes_of, status_of, text_of
from moonpool.guest.model import ProcessResult, ProcessSpec
from moonpool.processes.model import checked_text
from moonpool.processes.service import ProcessService

LOCAL_TIMEOUT = 300.0  # seconds for what needs no remote
REMOTE_TIMEOUT = 3600.0  # seconds
HISTORY_LIMIT = 10_000  # commits
NOT_SET = 1  # exit code of git config for a key that is not there
DEFAULT_REMOTE = "origin"
ROOT = "root"
ENVIRONMENT = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "GIT_PAGER": "cat"}


class GitService:
    """``path`` is a repository's folder. All raise RepositoryNotFound and GitMissing, and GitFailed with git's own
    words for what has no error of its own; those of a remote also AuthenticationFailed, RemoteForbids and
    TransportFailed. A caller that goes away ends git."""

    def __init__(self, processes: ProcessService) -> None:
        self._processes = processes

    def on(self, principal: Principal, sandbox: str) -> "SandboxGit":
        return SandboxGit(self._processes, principal, sandbox)


class SandboxGit:
    """Git in one sandbox, for who asks."""

    def __init__(self, processes: ProcessService, principal: Principal, sandbox: str) -> None:
        self._processes = processes
        self._principal = principal
        self._sandbox = sandbox

    # -- repositories ----------------------------------------------------------------------------------------------

    async def init(self, path: str, *, bare: bool = False, branch: str | None = None) -> None:
        options = ["--bare"] if bare else []
        options += [f"--initial-branch={checked_name(branch, 'initial_branch')}"] if branch else []
        await self._git("init", "--quiet", *options, "--", checked_path(path))

    async def clone(self, wanted: Clone) -> None:
        """RepositoryExists, BranchNotFound; of a clone whose commit cannot be had nothing is left."""
        path = checked_path(wanted.path)
        url, inside = secret.split_address(checked_text(wanted.url, "url"))
        options = ["--branch", checked_name(wanted.branch, "branch")] if wanted.branch else []
        options += ["--depth", str(wanted.depth)] if wanted.depth else []
        options += ["--no-checkout"] if wanted.commit else []
        env = {} if wanted.verify_tls else {"GIT_SSL_NO_VERIFY": "true"}
        known = wanted.credentials or inside
        await self._remote(url, known, "clone", "--quiet", *options, "--", url, path, env=env)
        if wanted.commit:
            try:
                await self._detach(path, url, checked_name(wanted.commit, "commit_id"), wanted, known, env)
            except GitFailed:
                await self._run(("rm", "-rf", "--", path), timeout=LOCAL_TIMEOUT)
                raise

    async def _detach(
        self, path: str, url: str, commit: str, wanted: Clone, known: Credentials | None, env: Mapping[str, str]
    ) -> None:
        if wanted.depth:
            fetch = ("fetch", "--quiet", "--depth", str(wanted.depth), DEFAULT_REMOTE, commit)
            await self._remote(url, known, *fetch, path=path, env=env)
        await self._in(path, "checkout", "--quiet", "--detach", commit, "--")

    async def status(self, path: str) -> Status:
        """Untracked files are named each on its own."""
        result = await self._in(path, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all")
        status = status_of(result.stdout)
        if status.published or status.detached:
            return status
        reference = f"refs/remotes/{DEFAULT_REMOTE}/{status.branch}"
        found = await self._in(path, "show-ref", "--verify", "--quiet", reference, accept=(0, 1))
        return status if found.exit_code else with_published(status)

    async def history(self, path: str) -> list[CommitInfo]:
        """The newest first, HISTORY_LIMIT at most; nothing for a repository without commits."""
        head = await self._in(path, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", accept=(0, 1))
        if head.exit_code:
            return []
        log = ("log", "-z", f"--max-count={HISTORY_LIMIT}", f"--format={HISTORY_FORMAT}")
        return history_of((await self._in(path, *log)).stdout)

    # -- branches --------------------------------------------------------------------------------------------------

    async def branches(self, path: str) -> Branches:
        listed = await self._in(path, "for-each-ref", "--format=%(refname:short)", "refs/heads")
        current = await self._in(path, "symbolic-ref", "--quiet", "--short", "HEAD", accept=(0, 1))
        return Branches(tuple(text_of(listed.stdout).splitlines()), text_of(current.stdout).strip())

    async def create_branch(self, path: str, name: str) -> None:
        """From where the repository stands, and check it out; BranchExists."""
        await self._in(path, "checkout", "--quiet", "-b", checked_name(name, "name"), "--")

    async def delete_branch(self, path: str, name: str) -> None:
        """Merged or not. One that is checked out leaves its commit checked out without a branch. BranchNotFound."""
        if (await self.branches(path)).current == checked_name(name, "name"):
            await self._in(path, "checkout", "--quiet", "--detach")
        await self._in(path, "branch", "--quiet", "-D", "--", name)

    async def checkout(self, path: str, name: str) -> None:
        """A branch, also one that only a remote has, or a commit. BranchNotFound, DirtyWorktree."""
        await self._in(path, "checkout", "--quiet", checked_name(name, "branch"), "--")

    # -- changes ---------------------------------------------------------------------------------------------------

    async def add(self, path: str, files: Sequence[str]) -> None:
        result = await self._in(path, "add", "--", *checked_files(files), accept=(0, 128))
        if result.exit_code:
            said = text_of(result.stderr)
            raise GitFailed(said.strip()) if "did not match any files" in said else failure(said)

    async def commit(self, path: str, commit: Commit) -> str:
        """Of what is staged; its hash. NothingToCommit."""
        who = {"NAME": checked_text(commit.author, "author"), "EMAIL": checked_text(commit.email, "email")}
        if not commit.message.strip() or not commit.author.strip():
            raise InvalidInput("message and author must not be empty", field="message")
        env = {f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in who.items()}
        options = ["--allow-empty"] if commit.allow_empty else []
        message = checked_text(commit.message, "message").encode()
        result = await self._in(path, "commit", "--quiet", *options, "-F", "-", env=env, stdin=message, accept=(0, 1))
        if result.exit_code:
            said = both(result)
            error = failure(said)
            raise NothingToCommit if type(error) is GitFailed and not text_of(result.stderr).strip() else error
        return text_of((await self._in(path, "rev-parse", "HEAD")).stdout).strip()

    async def reset(
        self, path: str, *, mode: ResetMode | None = None, target: str | None = None, files: Sequence[str] = ()
    ) -> None:
        """To HEAD where no target is given. With files only their place in the index changes."""
        if files and mode not in (None, ResetMode.MIXED):
            raise InvalidInput("mode cannot be given together with files", field="mode", hint="Use restore for them.")
        options = [f"--{mode}"] if mode and not files else []
        options += [checked_name(target, "target")] if target else []
        await self._in(path, "reset", "--quiet", *options, "--", *(checked_files(files) if files else ()))

    async def restore(
        self,
        path: str,
        files: Sequence[str],
        *,
        staged: bool = False,
        worktree: bool = False,
        source: str | None = None,
    ) -> None:
        """The working tree where neither ``staged`` nor ``worktree`` is asked for."""
        options = ["--staged"] if staged else []
        options += ["--worktree"] if worktree else []
        options += [f"--source={checked_name(source, 'source')}"] if source else []
        await self._in(path, "restore", "--quiet", *options, "--", *checked_files(files))

    # -- remotes ---------------------------------------------------------------------------------------------------

    async def remotes(self, path: str) -> list[Remote]:
        names = ("config", "-z", "--get-regexp", r"^remote\..*\.url$")
        await self._in(path, "rev-parse", "--git-dir")
        return remotes_of((await self._in(path, *names, accept=(0, NOT_SET))).stdout)

    async def add_remote(self, path: str, name: str, url: str, *, fetch: bool = False, overwrite: bool = False) -> None:
        """RemoteExists, unless it may be overwritten."""
        checked_name(name, "name")
        checked_name(url, "url")
        if any(remote.name == name for remote in await self.remotes(path)):
            if not overwrite:
                raise RemoteExists(f"A remote named '{name}' exists already")
            await self._in(path, "remote", "set-url", "--", name, url)
        else:
            await self._in(path, "remote", "add", "--", name, url)
        if fetch:
            await self._remote(url, None, "fetch", "--quiet", "--", name, path=path)

    async def push(
        self,
        path: str,
        *,
        remote: str | None = None,
        branch: str | None = None,
        set_upstream: bool = False,
        credentials: Credentials | None = None,
    ) -> None:
        """The current branch, where none is named, to the same name. PushRejected, RemoteRejected, BranchNotFound."""
        name, what = checked_name(remote or DEFAULT_REMOTE, "remote"), checked_name(branch or "HEAD", "branch")
        options = ["--set-upstream"] if set_upstream else []
        url = await self._address(path, name, credentials, push=True)
        await self._remote(url, credentials, "push", *options, "--", name, what, path=path)

    async def pull(
        self,
        path: str,
        *,
        remote: str | None = None,
        branch: str | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """Fetch and merge: the upstream of the current branch, or else the remote's branch of the same name.
        MergeConflict, which is left to be resolved, and DirtyWorktree, which leaves all as it was."""
        current = (await self.branches(path)).current
        upstream = await self._upstream(path, current) if current else None
        name = checked_name(remote or (upstream[0] if upstream else DEFAULT_REMOTE), "remote")
        what = branch or (upstream[1] if upstream and upstream[0] == name else current)
        if not what:
            raise BranchNotFound("No branch is checked out", hint="Name the branch to pull.")
        url = await self._address(path, name, credentials, push=False)
        pull = ("pull", "--no-rebase", "--no-edit", "--", name, checked_name(what, "branch"))
        await self._remote(url, credentials, *pull, path=path)

    async def _upstream(self, path: str, branch: str) -> tuple[str, str] | None:
        """The remote and its branch that ``branch`` follows."""
        values = []
        for part in ("remote", "merge"):
            found = await self._in(path, "config", "--get", f"branch.{branch}.{part}", accept=(0, NOT_SET))
            values.append(text_of(found.stdout).strip())
        return (values[0], values[1].removeprefix("refs/heads/")) if all(values) else None

    async def _address(self, path: str, remote: str, credentials: Credentials | None, *, push: bool) -> str:
        """Asked for only where it decides who gets the credentials."""
        if credentials is None:
            return ""
        options = ("--push",) if push else ()
        return text_of((await self._in(path, "remote", "get-url", *options, "--", remote)).stdout).strip()

    # -- configuration ---------------------------------------------------------------------------------------------

    async def config(self, key: str, *, scope: ConfigScope = ConfigScope.GLOBAL, path: str | None = None) -> str | None:
        """None where the key is not set."""
        where = config_place(scope, path)
        result = await self._git(*where, "-z", "--get", checked_key(key), accept=(0, NOT_SET))
        return None if result.exit_code else text_of(result.stdout).removesuffix("\0")

    async def set_config(
        self, values: Mapping[str, str], *, scope: ConfigScope = ConfigScope.GLOBAL, path: str | None = None
    ) -> None:
        user = ROOT if scope is ConfigScope.SYSTEM else None
        for key, value in values.items():
            change = (*config_place(scope, path), "--replace-all", checked_key(key), checked_text(value, "value"))
            await self._git(*change, user=user)

    async def remember(self, credentials: Credentials, *, host: str, protocol: str) -> None:
        """Keep credentials in the clear in the user's home, for every later git in this sandbox."""
        if protocol not in secret.HTTP or not host or any(character in host for character in "\n\r\0/"):
            raise InvalidInput("host must be a host's name, and protocol http or https", field="host")
        await self.set_config({"credential.helper": "store"})
        about = f"protocol={protocol}\nhost={host}\n".encode() + secret.document(credentials)
        await self._git("credential", "approve", stdin=about)

    # -- running ---------------------------------------------------------------------------------------------------

    async def _in(
        self,
        path: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        accept: Sequence[int] = (0,),
    ) -> ProcessResult:
        return await self._git("-C", checked_path(path), *arguments, env=env, stdin=stdin, accept=accept)

    async def _git(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        accept: Sequence[int] = (0,),
        user: str | None = None,
    ) -> ProcessResult:
        command = ("git", *arguments)
        result = await self._run(command, env=env, stdin=stdin, timeout=LOCAL_TIMEOUT, user=user)
        if result.exit_code not in accept:
            raise failure(both(result))
        return result

    async def _remote(
        self,
        url: str,
        credentials: Credentials | None,
        *arguments: str,
        path: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run git with ``credentials`` for the origin of ``url`` alone."""
        arguments = ("-C", checked_path(path), *arguments) if path is not None else arguments
        variables, stdin, command = dict(env or {}), b"", ("git", *arguments)
        if credentials is not None:
            variables |= secret.environment(url)
            stdin, command = secret.document(credentials), ("sh", "-c", secret.WITH_CREDENTIALS, *command)
        result = await self._run(command, env=variables, stdin=stdin, timeout=REMOTE_TIMEOUT)
        if result.exit_code:
            raise failure(both(result))

    async def _run(
        self,
        command: tuple[str, ...],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float,
        user: str | None = None,
    ) -> ProcessResult:
        spec = ProcessSpec(argv=command, env={**ENVIRONMENT, **(env or {})}, timeout=timeout, user=user)
        try:
            result = await self._processes.run(self._principal, self._sandbox, spec, stdin=stdin)
        except CommandNotFound as error:
            raise GitMissing from error
        if result.timed_out:
            raise GitTimeout(f"git did not end within {timeout:.0f} seconds")
        return result


def both(result: ProcessResult) -> str:
    return text_of(result.stdout + b"\n" + result.stderr)


def with_published(status: Status) -> Status:
    return Status(status.branch, status.detached, status.upstream, status.ahead, status.behind, True, status.files)


def config_place(scope: ConfigScope, path: str | None) -> tuple[str, ...]:
    if scope is not ConfigScope.LOCAL:
        return ("config", f"--{scope}")
    if not path:
        raise InvalidInput("path is required for the scope 'local'", field="path")
    return ("-C", checked_path(path), "config", "--local")


def checked_path(path: str) -> str:
    if not path:
        raise RepositoryNotFound("path must not be empty")
    return checked_text(path, "path")


def checked_name(name: str, field: str) -> str:
    """A branch, commit or remote, which git must not take for an option."""
    if not name or name.startswith("-") or any(character in name for character in "\0\n"):
        raise InvalidInput(f"{field} must be a name that git allows", field=field)
    return name


def checked_key(key: str) -> str:
    section, _, name = checked_name(key, "key").rpartition(".")
    if not section or not name:
        raise InvalidInput("key must be a section and a name, like user.name", field="key")
    return key


def checked_files(files: Sequence[str]) -> Sequence[str]:
    if not files:
        raise InvalidInput("files must name at least one file", field="files")
    for file in files:
        checked_text(file, "files")
    return files
