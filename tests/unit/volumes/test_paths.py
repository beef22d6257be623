"""Where a volume may be mounted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moonpool.errors import InvalidInput, LimitExceeded
from moonpool.hosts.model import MAX_MOUNTS, Mount
from moonpool.volumes.paths import check_path, check_subpath, check_together, free_slot


@pytest.mark.parametrize(
    ("path", "found"),
    [("/data", "/data"), ("/home/user/data/", "/home/user/data"), ("/mnt/größe", "/mnt/größe"), ("/usr/x", "/usr/x")],
)
def test_paths_that_are_taken(path: str, found: str) -> None:
    assert check_path(path) == found


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "//", "data", "./data", "/proc", "/proc/1", "/sys/fs", "/dev/shm", "/etc", "/lib64/x", "/.agent",
        "/.agent/lib", "/.volumes/0", "/data/../etc", "/data/./x", "/data//x", "/..", "/home", "/usr", "/tmp/",
        "/a\n", "/a\x00b", "/a\udce4", "/" + "x" * 256, "/" + "/".join(["x" * 200] * 6),
    ],
)  # fmt: skip
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_path(path)
    assert caught.value.field == "path"


@pytest.mark.parametrize(("subpath", "found"), [(None, None), ("", None), ("a", "a"), ("a/b/", "a/b")])
def test_subpaths_that_are_taken(subpath: str | None, found: str | None) -> None:
    assert check_subpath(subpath) == found


@pytest.mark.parametrize("subpath", ["/a", "..", "a/../b", "a//b", ".", "a/./b", "a\x00"])
def test_subpaths_that_are_refused(subpath: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_subpath(subpath)
    assert caught.value.field == "subpath"


@given(st.text(alphabet="./ab\x00"))
def test_no_path_leads_out(path: str) -> None:
    try:
        found = check_path(path)
    except InvalidInput:
        return
    assert found.startswith("/")
    assert not {"", ".", ".."} & set(found.split("/")[1:])


def mounts(*paths: str) -> list[Mount]:
    return [Mount("v", path, slot=slot) for slot, path in enumerate(paths)]


@pytest.mark.parametrize("paths", [("/a", "/a"), ("/a", "/a/b"), ("/a/b/c", "/x", "/a")])
def test_mounts_that_cover_each_other_are_refused(paths: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        check_together(mounts(*paths))


def test_mounts_beside_each_other_are_fine() -> None:
    check_together(mounts("/a", "/a-b", "/ab", "/b/a"))


def test_a_sandbox_has_so_many_volumes_at_most() -> None:
    with pytest.raises(LimitExceeded):
        check_together(mounts(*(f"/m{number}" for number in range(MAX_MOUNTS + 1))))
    assert free_slot({0, 2}) == 1
    with pytest.raises(LimitExceeded):
        free_slot(set(range(MAX_MOUNTS)))
