"""The size of a desktop's screen, and recordings by their files' names."""

import pytest

from moonpool.desktop.recordings import recording_of
from moonpool.desktop.service import check_resolution
from moonpool.errors import InvalidInput
from moonpool.guest.model import FileInfo


@pytest.mark.parametrize("environment", [{}, {"VNC_RESOLUTION": ""}, {"VNC_RESOLUTION": "1024x768"}])
def test_sizes(environment: dict[str, str]) -> None:
    check_resolution(environment)


@pytest.mark.parametrize(
    "size", ["big", "1024", "1024x768x24", "0x768", "99999x768", "1024x768; id", "1024x\u0667\u0666\u0668"]
)
def test_sizes_that_are_none(size: str) -> None:
    with pytest.raises(InvalidInput, match="VNC_RESOLUTION"):
        check_resolution({"VNC_RESOLUTION": size})


@pytest.mark.parametrize(
    "name", ["abcdefghijkl_99999999T999999Z.mp4", "abcdefghijkl_20250230T000000Z_x.mp4", "film.mp4"]
)
def test_files_that_are_no_recordings(name: str) -> None:
    info = FileInfo(
        path=f"/home/daytona/recordings/{name}",
        name=name,
        kind="file",
        size=1,
        mode=0o644,
        uid=1000,
        gid=1000,
        owner="daytona",
        group="daytona",
        modified_at=0.0,
    )
    assert recording_of(info, set()) is None
