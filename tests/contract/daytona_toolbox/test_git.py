"""Git's operations, with the machine's own git and a real remote behind HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import daytona_toolbox_api_client as sdk
import httpx
import pytest

from tests.contract.daytona_toolbox.conftest import each
from tests.contract.git_server import PASSWORD, USERNAME, GitServer, git, git_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUTHOR = {"author": "Ada", "email": "ada@example.org"}
WHO = {"username": USERNAME, "password": PASSWORD}


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitServer]:
    root = tmp_path_factory.mktemp("git")
    root.chmod(0o755)
    for folder in ("public", "private", "forbidden"):
        (root / folder).mkdir()
    with git_server(root) as server:
        server.repository("public/one.git", {"README.md": "hello\n", "a.txt": "a\n"})
        server.repository("private/two.git", {"secret.txt": "x\n"})
        yield server


async def post(client: httpx.AsyncClient, operation: str, status: int = 200, **body: Any) -> Any:
    return await call(client, "POST", operation, status, json=body)


async def get(client: httpx.AsyncClient, operation: str, status: int = 200, **query: str) -> Any:
    return await call(client, "GET", operation, status, params=query)


async def call(client: httpx.AsyncClient, method: str, operation: str, status: int, **options: Any) -> Any:
    answer = await client.request(method, f"/git/{operation}", **options)
    assert answer.status_code == status, answer.text
    if status >= 400:
        failure = sdk.ErrorResponse.from_dict(answer.json())
        assert failure is not None
        assert failure.source == "DAYTONA_DAEMON"
        return failure.code
    return answer.json() if answer.content else None


@each
async def repository(client: httpx.AsyncClient, home: Path) -> str:
    """With one commit on main."""
    await post(client, "init", 201, path="repo", initial_branch="main")
    await client.post("/files/upload-v2", params={"path": "repo/file.txt"}, files={"file": b"one\n"})
    await post(client, "add", path="repo", files=["."])
    await post(client, "commit", path="repo", message="first", **AUTHOR)
    return "repo"


async def write(client: httpx.AsyncClient, path: str, content: bytes) -> None:
    answer = await client.post("/files/upload-v2", params={"path": path}, files={"file": content})
    assert answer.status_code == 200, answer.text


async def execute(client: httpx.AsyncClient, command: str) -> str:
    answer = (await client.post("/process/execute", json={"command": command})).json()
    assert answer["exitCode"] == 0, answer
    return str(answer["result"])


class TestChanges:
    async def test_a_commit_and_what_the_history_says(self, client: httpx.AsyncClient, repository: str) -> None:
        await write(client, "repo/ünïcode name.txt", b"x")
        await post(client, "add", path="repo", files=["ünïcode name.txt"])
        made = await post(client, "commit", path="repo", message="second\n\nwith a body", **AUTHOR)
        newest, oldest = await get(client, "history", path="repo")
        assert sdk.GitCommitInfo.from_dict(newest) is not None
        assert newest["hash"] == made["hash"]
        assert (newest["message"], newest["author"], newest["email"]) == (
            "second\n\nwith a body",
            "Ada",
            AUTHOR["email"],
        )
        assert oldest["message"] == "first"

    async def test_nothing_staged(self, client: httpx.AsyncClient, repository: str) -> None:
        assert await post(client, "commit", 409, path="repo", message="none", **AUTHOR) == "CONFLICT"
        assert (await post(client, "commit", path="repo", message="none", allow_empty=True, **AUTHOR))["hash"]

    async def test_a_hook_that_refuses_a_commit_is_no_empty_commit(
        self, client: httpx.AsyncClient, repository: str
    ) -> None:
        await execute(client, "printf '#!/bin/sh\\necho no >&2; exit 1' >repo/.git/hooks/pre-commit")
        await execute(client, "chmod +x repo/.git/hooks/pre-commit; echo x >>repo/file.txt")
        await post(client, "add", path="repo", files=["."])
        assert await post(client, "commit", 400, path="repo", message="second", **AUTHOR) == "BAD_REQUEST"

    async def test_every_kind_of_change(self, client: httpx.AsyncClient, repository: str) -> None:
        for name in ("gone.txt", "old.txt"):
            await write(client, f"repo/{name}", f"some content of {name}\n".encode() * 4)
        await post(client, "add", path="repo", files=["."])
        await post(client, "commit", path="repo", message="more", **AUTHOR)
        await execute(client, "cd repo && rm gone.txt && git mv old.txt 'new name.txt' && echo two >>file.txt")
        await execute(client, "cd repo && echo staged >staged.txt && git add staged.txt && mkdir d && touch d/loose")
        status = await get(client, "status", path="repo")
        assert sdk.GitStatus.from_dict(status) is not None
        files = {file["name"]: (file["staging"], file["worktree"], file["extra"]) for file in status["fileStatus"]}
        assert files == {
            "file.txt": ("Unmodified", "Modified", ""),
            "gone.txt": ("Unmodified", "Deleted", ""),
            "new name.txt": ("Renamed", "Unmodified", "old.txt"),
            "staged.txt": ("Added", "Unmodified", ""),
            "d/loose": ("Untracked", "Untracked", ""),
        }
        assert (status["currentBranch"], status["branchPublished"], status["detached"]) == ("main", False, False)

    async def test_reset_and_restore(self, client: httpx.AsyncClient, repository: str, home: Path) -> None:
        await write(client, "repo/file.txt", b"two\n")
        await post(client, "add", path="repo", files=["file.txt"])
        await post(client, "reset", path="repo", files=["file.txt"])
        assert (await get(client, "status", path="repo"))["fileStatus"][0]["staging"] == "Unmodified"
        await post(client, "restore", path="repo", files=["file.txt"])
        assert (home / "repo/file.txt").read_text() == "one\n"
        await post(client, "commit", path="repo", message="empty", allow_empty=True, **AUTHOR)
        await write(client, "repo/file.txt", b"three\n")
        await post(client, "reset", path="repo", mode="hard", target="HEAD~1")
        assert (home / "repo/file.txt").read_text() == "one\n"
        assert len(await get(client, "history", path="repo")) == 1

    @pytest.mark.parametrize(
        ("operation", "body"),
        [
            ("reset", {"mode": "wild"}),
            ("reset", {"mode": "hard", "files": ["file.txt"]}),
            ("restore", {"files": []}),
            ("add", {"files": []}),
            ("add", {"files": ["no-such-file"]}),
            ("checkout", {"branch": "--orphan"}),
            ("commit", {"message": " ", **AUTHOR}),
            ("config", {"key": "nosection", "value": "x"}),
            ("config", {"key": "user.name", "value": "x", "scope": "elsewhere"}),
            ("config", {"key": "user.name", "value": "x", "scope": "local", "path": None}),
        ],
    )
    async def test_input_that_is_refused(
        self, client: httpx.AsyncClient, repository: str, operation: str, body: dict[str, Any]
    ) -> None:
        assert await post(client, operation, 400, **{"path": "repo", **body}) == "BAD_REQUEST"


class TestBranches:
    async def test_created_listed_checked_out_and_deleted(self, client: httpx.AsyncClient, repository: str) -> None:
        await post(client, "branches", 201, path="repo", name="feature/x")
        assert await get(client, "branches", path="repo") == {"branches": ["feature/x", "main"], "current": "feature/x"}
        await post(client, "checkout", path="repo", branch="main")
        await call(client, "DELETE", "branches", 204, json={"path": "repo", "name": "feature/x"})
        assert await get(client, "branches", path="repo") == {"branches": ["main"], "current": "main"}

    async def test_the_branch_one_is_on(self, client: httpx.AsyncClient, repository: str, home: Path) -> None:
        await call(client, "DELETE", "branches", 204, json={"path": "repo", "name": "main"})
        status = await get(client, "status", path="repo")
        assert (status["currentBranch"], status["detached"]) == ("HEAD", True)
        assert (home / "repo/file.txt").exists()

    async def test_what_is_not_there_or_there_already(self, client: httpx.AsyncClient, repository: str) -> None:
        assert await post(client, "branches", 409, path="repo", name="main") == "GIT_BRANCH_EXISTS"
        assert await post(client, "checkout", 404, path="repo", branch="nowhere") == "GIT_BRANCH_NOT_FOUND"
        missing = {"json": {"path": "repo", "name": "nowhere"}}
        assert await call(client, "DELETE", "branches", 404, **missing) == "GIT_BRANCH_NOT_FOUND"
        assert await get(client, "status", 404, path="nothing/here") == "GIT_REPO_NOT_FOUND"
        assert await get(client, "history", 404, path=".") == "GIT_REPO_NOT_FOUND"

    async def test_local_changes_are_not_overwritten(self, client: httpx.AsyncClient, repository: str) -> None:
        await post(client, "branches", 201, path="repo", name="other")
        await write(client, "repo/file.txt", b"other\n")
        await post(client, "add", path="repo", files=["."])
        await post(client, "commit", path="repo", message="other", **AUTHOR)
        await write(client, "repo/file.txt", b"local\n")
        assert await post(client, "checkout", 409, path="repo", branch="main") == "GIT_DIRTY_WORKTREE"

    async def test_a_repository_without_commits(self, client: httpx.AsyncClient, home: Path) -> None:
        await post(client, "init", 201, path="empty", initial_branch="trunk")
        assert await get(client, "history", path="empty") == []
        assert (await get(client, "status", path="empty"))["currentBranch"] == "trunk"
        await post(client, "init", 201, path="bare.git", bare=True)
        assert (home / "bare.git/HEAD").exists()


class TestRemotes:
    async def test_clone(self, client: httpx.AsyncClient, remote: GitServer, home: Path) -> None:
        await post(client, "clone", url=f"{remote.url}/public/one.git", path="work/one")
        assert (home / "work/one/README.md").read_text() == "hello\n"
        status = await get(client, "status", path="work/one")
        assert (status["branchPublished"], status["upstream"], status["ahead"]) == (True, "origin/main", 0)
        assert await get(client, "remotes", path="work/one") == {
            "remotes": [{"name": "origin", "url": f"{remote.url}/public/one.git"}]
        }

    async def test_a_commit_and_a_depth(self, client: httpx.AsyncClient, remote: GitServer, home: Path) -> None:
        bare = remote.repository("public/deep.git", {"f": "1"})
        first = git("-C", str(bare), "rev-parse", "main").strip()
        work = remote.root / "public/deep.git.work"
        (work / "f").write_text("2")
        remote.commit(work, "second")
        url = f"{remote.url}/public/deep.git"
        await post(client, "clone", url=url, path="first", commit_id=first)
        assert (home / "first/f").read_text() == "1"
        assert (await get(client, "status", path="first"))["detached"] is True
        await post(client, "clone", url=url, path="shallow", depth=1, branch="main")
        assert len(await get(client, "history", path="shallow")) == 1
        code = await post(client, "clone", 404, url=url, path="none", commit_id="f" * 40)
        assert code == "GIT_BRANCH_NOT_FOUND"
        assert not (home / "none").exists()
        assert await post(client, "clone", 404, url=url, path="none", branch="nope") == "GIT_BRANCH_NOT_FOUND"

    async def test_credentials_are_used_and_kept_nowhere(
        self, client: httpx.AsyncClient, remote: GitServer, home: Path
    ) -> None:
        url = f"{remote.url}/private/two.git"
        assert await post(client, "clone", 401, url=url, path="two") == "GIT_AUTH_FAILED"
        wrong = {"username": USERNAME, "password": "wrong"}
        assert await post(client, "clone", 401, url=url, path="two", **wrong) == "GIT_AUTH_FAILED"
        await post(client, "clone", url=url, path="two", **WHO)
        in_the_address = url.replace("//", f"//{USERNAME}:{PASSWORD}@")
        await post(client, "clone", url=in_the_address, path="three")
        assert (home / "three/secret.txt").exists()
        found = await client.get("/files/find", params={"path": ".", "pattern": PASSWORD})
        assert found.json() == []

    async def test_credentials_go_to_the_origin_alone(self, client: httpx.AsyncClient, remote: GitServer) -> None:
        await post(client, "clone", url=f"{remote.url}/private/two.git", path="four", **WHO)
        await execute(client, f"cd four && git submodule --quiet init && git config url.{remote.url}/.insteadOf x:")
        del remote.seen[:]
        other = remote.url.replace("127.0.0.1", "localhost")
        await post(client, "remotes", 201, path="four", name="other", url=f"{other}/private/two.git")
        assert await post(client, "pull", 401, path="four", remote="other", branch="main") == "GIT_AUTH_FAILED"
        assert set(remote.seen) == {""}

    async def test_push_pull_and_their_refusals(self, client: httpx.AsyncClient, remote: GitServer, home: Path) -> None:
        remote.repository("private/shared.git", {"f.txt": "1\n"})
        url = f"{remote.url}/private/shared.git"
        for name in ("mine", "theirs"):
            await post(client, "clone", url=url, path=name, **WHO)
        await self.change(client, "theirs", "theirs\n")
        await post(client, "push", path="theirs", **WHO)
        await self.change(client, "mine", "mine\n")
        assert (await get(client, "status", path="mine"))["ahead"] == 1
        assert await post(client, "push", 401, path="mine") == "GIT_AUTH_FAILED"
        assert await post(client, "push", 409, path="mine", **WHO) == "GIT_PUSH_REJECTED"
        await execute(client, "cd mine && git config user.name A && git config user.email a@example.org")
        assert await post(client, "pull", 409, path="mine", **WHO) == "GIT_MERGE_CONFLICT"
        unmerged = (await get(client, "status", path="mine"))["fileStatus"][0]
        assert unmerged["staging"] == "Updated but unmerged"
        await execute(client, "cd mine && git merge --abort && git reset -q --hard origin/main~1")
        await post(client, "pull", path="mine", **WHO)
        assert (home / "mine/f.txt").read_text() == "theirs\n"

    async def test_a_new_branch_with_its_upstream(
        self, client: httpx.AsyncClient, remote: GitServer, home: Path
    ) -> None:
        remote.repository("public/up.git", {"f.txt": "1\n"})
        await post(client, "clone", url=f"{remote.url}/public/up.git", path="up")
        await post(client, "branches", 201, path="up", name="feature")
        assert (await get(client, "status", path="up"))["branchPublished"] is False
        await post(client, "push", path="up", branch="feature", set_upstream=True)
        status = await get(client, "status", path="up")
        assert (status["upstream"], status["branchPublished"]) == ("origin/feature", True)
        assert await post(client, "push", 404, path="up", branch="nope") == "GIT_BRANCH_NOT_FOUND"

    async def test_a_remote_that_refuses(self, client: httpx.AsyncClient, remote: GitServer, home: Path) -> None:
        bare = remote.repository("public/guarded.git", {"f.txt": "1\n"})
        hook = bare / "hooks/pre-receive"
        hook.write_text("#!/bin/sh\necho protected >&2; exit 1\n")
        hook.chmod(0o755)
        await post(client, "clone", url=f"{remote.url}/public/guarded.git", path="guarded")
        await self.change(client, "guarded", "2\n")
        assert await post(client, "push", 422, path="guarded") == "GIT_REMOTE_REJECTED"

    async def test_remotes_that_are_not_there(self, client: httpx.AsyncClient, remote: GitServer, home: Path) -> None:
        async def clone(url: str, status: int) -> Any:
            return await post(client, "clone", status, url=url, path="x")

        assert await clone(f"{remote.url}/public/none.git", 404) == "GIT_REPO_NOT_FOUND"
        assert await clone("/no/such/folder", 404) == "GIT_REPO_NOT_FOUND"
        assert await clone("http://127.0.0.1:9/x.git", 502) == "GIT_TRANSPORT_FAILED"
        assert await clone("http://name.invalid/x.git", 502) == "GIT_TRANSPORT_FAILED"
        assert await clone(f"{remote.url}/forbidden/x.git", 403) == "FORBIDDEN"
        assert await clone("ext::sh -c touch% pwned", 502) == "GIT_TRANSPORT_FAILED"
        assert not (home / "pwned").exists()
        (home / "x").mkdir()
        (home / "x/file").touch()
        assert await clone(f"{remote.url}/public/one.git", 409) == "CONFLICT"

    async def test_remotes_are_added_and_replaced(
        self, client: httpx.AsyncClient, repository: str, remote: GitServer
    ) -> None:
        first = {"path": "repo", "name": "up", "url": "https://example.org/one.git"}
        await post(client, "remotes", 201, **first)
        assert await post(client, "remotes", 409, **first) == "CONFLICT"
        again = {**first, "url": f"{remote.url}/public/one.git", "overwrite": True, "fetch": True}
        await post(client, "remotes", 201, **again)
        assert (await get(client, "remotes", path="repo"))["remotes"] == [{"name": "up", "url": again["url"]}]
        assert "up/main" in await execute(client, "git -C repo branch --remotes")

    @staticmethod
    async def change(client: httpx.AsyncClient, path: str, content: str) -> None:
        await write(client, f"{path}/f.txt", content.encode())
        await post(client, "add", path=path, files=["f.txt"])
        await post(client, "commit", path=path, message="change", **AUTHOR)


class TestConfiguration:
    async def test_values_and_scopes(self, client: httpx.AsyncClient, repository: str) -> None:
        assert await get(client, "config", key="user.name") == {"value": None}
        await post(client, "config", key="user.name", value="Grace\nHopper")
        assert await get(client, "config", key="user.name") == {"value": "Grace\nHopper"}
        local = {"scope": "local", "path": "repo"}
        await post(client, "config/user", name="Local", email="l@example.org", **local)
        assert await get(client, "config", key="user.email", **local) == {"value": "l@example.org"}
        assert await get(client, "config", key="user.email") == {"value": None}

    async def test_remembered_credentials(self, client: httpx.AsyncClient, remote: GitServer, home: Path) -> None:
        host = remote.url.removeprefix("http://")
        await post(client, "credentials", host=host, protocol="http", **WHO)
        await post(client, "clone", url=f"{remote.url}/private/two.git", path="two")
        assert (home / "two/secret.txt").exists()
        assert (home / ".git-credentials").stat().st_mode & 0o777 == 0o600
        assert await post(client, "credentials", 400, host="a/b", **WHO) == "BAD_REQUEST"
        broken = {"username": "a\nhost=evil", "password": "x"}
        assert await post(client, "credentials", 400, **broken) == "BAD_REQUEST"
