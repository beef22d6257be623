"""Making users and groups, in a root that holds nothing but the files that tell of them."""

import asyncio
import fcntl
from pathlib import Path

import pytest

from moonpool import errors
from moonpool.guest.client import AgentClient

PASSWD = "root:x:0:0:root:/root:/bin/bash\n# a comment\nann:x:1000:1000:,,,:/home/ann:/bin/bash\n+::::::\n"
GROUP = "root:x:0:\nsudo:x:27:ann\nann:x:1000:\ncrew:x:1500:\n"


@pytest.fixture
async def image(agent: AgentClient, tmp_path: Path) -> Path:
    """The agent is in there."""
    root = tmp_path / "image"
    etc = root / "etc"
    (etc / "skel").mkdir(parents=True)
    for name in ("bin", "home", "root", "tmp", "dev", "proc", "sys"):
        (root / name).mkdir()
    (root / "bin/bash").touch()
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text(GROUP)
    (etc / "shadow").write_text("root:*:1::::::\n")
    (etc / "shadow").chmod(0o600)
    (etc / "skel/.profile").write_text("hello\n")
    await agent.enter(str(root))
    return root


def rows(file: Path) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split(":") for line in file.read_text().splitlines()}


class TestUsers:
    async def test_new(self, agent: AgentClient, image: Path) -> None:
        await agent.ensure_user("dev")
        assert (image / "etc/passwd").read_text() == PASSWD + "dev:x:1001:1001::/home/dev:/bin/bash\n"
        assert (image / "etc/group").read_text() == GROUP + "dev:x:1001:\n"
        assert rows(image / "etc/shadow")["dev"][1] == "!"
        assert (image / "etc/shadow").stat().st_mode & 0o777 == 0o600
        for made in (image / "home/dev", image / "home/dev/.profile"):
            assert (made.stat().st_uid, made.stat().st_gid) == (1001, 1001)
        assert await agent.stat("~", user="dev")

    async def test_as_told(self, agent: AgentClient, image: Path) -> None:
        await agent.ensure_user("dev", uid=4000, gid=1500, home="/srv/d/dev", shell="/bin/zsh", groups=["sudo", "1000"])
        assert rows(image / "etc/passwd")["dev"] == ["dev", "x", "4000", "1500", "", "/srv/d/dev", "/bin/zsh"]
        groups = rows(image / "etc/group")
        assert groups["sudo"][3] == "ann,dev"
        assert groups["ann"][3] == "dev"
        assert "dev" not in groups
        assert (image / "srv/d/dev").stat().st_uid == 4000

    async def test_a_number_for_its_own_group(self, agent: AgentClient, image: Path) -> None:
        await agent.ensure_user("dev", gid=3000)
        assert rows(image / "etc/group")["dev"][2] == "3000"

    async def test_of_the_system(self, agent: AgentClient, image: Path) -> None:
        await agent.ensure_user("daemon", system=True)
        assert rows(image / "etc/passwd")["daemon"][2:] == ["999", "999", "", "/", "/bin/sh"]

    async def test_again(self, agent: AgentClient, image: Path) -> None:
        for _ in range(2):
            await agent.ensure_user("dev", uid=1001, groups=["crew"], sudo=True)
            first = [(image / "etc" / name).read_text() for name in ("passwd", "group", "shadow")]
        await agent.ensure_user("dev")
        assert [(image / "etc" / name).read_text() for name in ("passwd", "group", "shadow")] == first

    async def test_what_it_lacks(self, agent: AgentClient, image: Path) -> None:
        await agent.ensure_user("ann", shell="/bin/sh", home="/home/other", groups=["crew"])
        assert rows(image / "etc/passwd")["ann"] == ["ann", "x", "1000", "1000", ",,,", "/home/other", "/bin/sh"]
        assert rows(image / "etc/group")["crew"][3] == "ann"
        assert (image / "home/other").stat().st_uid == 1000

    async def test_a_full_name(self, agent: AgentClient, image: Path) -> None:
        for name in ("Ada L.", "Ada"):
            await agent.ensure_user("ada", full_name=name)
            assert rows(image / "etc/passwd")["ada"][4] == name
        await agent.ensure_user("ada")
        assert rows(image / "etc/passwd")["ada"][4] == "Ada"
        with pytest.raises(errors.InvalidInput):
            await agent.ensure_user("eve", full_name="x:0:0")

    async def test_may_become_root(self, agent: AgentClient, image: Path) -> None:
        await agent.ensure_user("dev.x", sudo=True)
        rule = image / "etc/sudoers.d/dev_x"
        assert rule.read_text() == "dev.x ALL=(ALL:ALL) NOPASSWD: ALL\n"
        assert rule.stat().st_mode & 0o777 == 0o440
        assert rows(image / "etc/group")["sudo"][3] == "ann,dev.x"

    async def test_many_at_once(self, agent: AgentClient, image: Path) -> None:
        await asyncio.gather(*(agent.ensure_user(f"u{number}", sudo=True) for number in range(20)))
        numbers = [row[2] for name, row in rows(image / "etc/passwd").items() if name.startswith("u")]
        assert sorted(map(int, numbers)) == list(range(1001, 1021))
        assert len(rows(image / "etc/group")["sudo"][3].split(",")) == 21

    async def test_an_image_without_any(self, agent: AgentClient, image: Path) -> None:
        for name in ("passwd", "group", "shadow"):
            (image / "etc" / name).unlink()
        await agent.ensure_user("dev", sudo=True)
        assert rows(image / "etc/passwd")["dev"][1:] == ["!", "1000", "1000", "", "/home/dev", "/bin/bash"]
        assert rows(image / "etc/group")["sudo"] == ["sudo", "x", "999", "dev"]
        assert (image / "etc/passwd").stat().st_mode & 0o777 == 0o644

    async def test_a_home_that_is_there_is_left(self, agent: AgentClient, image: Path) -> None:
        (image / "home/dev").mkdir()
        await agent.ensure_user("dev")
        assert (image / "home/dev").stat().st_uid == 0
        assert not list((image / "home/dev").iterdir())

    @pytest.mark.parametrize(
        "wanted",
        [
            {"name": "ann", "uid": 1001},
            {"name": "ann", "gid": 1500},
            {"name": "dev", "uid": 1000},
            {"name": "crew", "gid": 3000},
        ],
    )
    async def test_conflicts(self, agent: AgentClient, image: Path, wanted: dict[str, object]) -> None:
        with pytest.raises(errors.Conflict):
            await agent.ensure_user(**wanted)  # type: ignore[arg-type]
        assert (image / "etc/passwd").read_text() == PASSWD

    async def test_no_such_group(self, agent: AgentClient, image: Path) -> None:
        with pytest.raises(errors.UserNotFound):
            await agent.ensure_user("dev", groups=["crew", "missing"])
        assert (image / "etc/passwd").read_text() == PASSWD

    @pytest.mark.parametrize(
        "wanted",
        [
            {"name": ""},
            {"name": "a:b"},
            {"name": "a\nb"},
            {"name": "-x"},
            {"name": "../x"},
            {"name": "1000"},
            {"name": "x" * 33},
            {"name": "dev", "uid": -1},
            {"name": "dev", "uid": 2**32},
            {"name": "dev", "home": "/a:b"},
            {"name": "dev", "home": "relative"},
            {"name": "dev", "shell": "/bin/sh\nroot::0:0::/:/bin/sh"},
        ],
    )
    async def test_nonsense(self, agent: AgentClient, image: Path, wanted: dict[str, object]) -> None:
        with pytest.raises(errors.InvalidInput):
            await agent.ensure_user(**wanted)  # type: ignore[arg-type]
        assert (image / "etc/passwd").read_text() == PASSWD


class TestGroups:
    async def test_new(self, agent: AgentClient, image: Path) -> None:
        (image / "etc/gshadow").write_text("root:*::\n")
        await agent.ensure_group("team")
        await agent.ensure_group("inner", system=True)
        await agent.ensure_group("told", 77)
        groups = rows(image / "etc/group")
        assert [groups[name][2] for name in ("team", "inner", "told")] == ["1001", "999", "77"]
        assert set(rows(image / "etc/gshadow")) == {"root", "team", "inner", "told"}

    async def test_again(self, agent: AgentClient, image: Path) -> None:
        await agent.ensure_group("crew")
        await agent.ensure_group("crew", 1500)
        assert (image / "etc/group").read_text() == GROUP

    @pytest.mark.parametrize(("name", "gid"), [("crew", 1501), ("team", 27)])
    async def test_conflicts(self, agent: AgentClient, image: Path, name: str, gid: int) -> None:
        with pytest.raises(errors.Conflict):
            await agent.ensure_group(name, gid)
        assert (image / "etc/group").read_text() == GROUP


async def test_waits_for_other_programs(agent: AgentClient, image: Path) -> None:
    with open(image / "etc/.pwd.lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        making = asyncio.ensure_future(agent.ensure_group("team"))
        await agent.ping()
        assert (image / "etc/group").read_text() == GROUP
        fcntl.lockf(lock, fcntl.LOCK_UN)
        await making
    assert "team" in rows(image / "etc/group")
