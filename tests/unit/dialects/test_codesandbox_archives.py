"""Archives that the SDK uploads, as unzip reads them."""

import io
import zipfile

from moonpool.dialects.codesandbox.pitcher.archives import readable


def archive(*names: str, system: int = 0) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        for name in names:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = system, 0
            made.writestr(info, name)
    return data.getvalue()


def test_names_beyond_ascii_come_from_unix() -> None:
    names = ("plain.txt", "größe/", "größe/日本.txt")
    with zipfile.ZipFile(io.BytesIO(readable(archive(*names)))) as read:
        infos = read.infolist()
        assert [info.filename for info in infos] == list(names)
        assert [info.create_system for info in infos] == [0, 3, 3]
        assert [info.external_attr >> 16 for info in infos] == [0o600, 0o042775, 0o100664]
        assert read.read("größe/日本.txt").decode() == "größe/日本.txt"


def test_what_is_no_such_archive_stays() -> None:
    for content in (b"", b"PK", b"PK\x05\x06", bytes(1000), archive("größe", system=3), archive("a")[:-30]):
        assert readable(content) == content
    torn = bytearray(archive("größe"))
    torn[-6:-2] = b"\xff\xff\xff\x7f"  # Where the directory is said to begin.
    assert readable(torn) == torn
