"""Layers of images as they are unpacked, whatever they say: by the contained program itself, on an ordinary folder."""

import gzip
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from moonpool.engine.images.oci import Archive, Fetched, Fetching, FetchPolicy, ImageConfig, ImageLimits
from moonpool.engine.images.oci.copying import Placement, Selection, copy, look, make_folders, unpack_archive
from moonpool.errors import BuildInvalid, ImageError, ImageInvalid, ImageNotFound, ImageTooLarge
from tests.images import Entry, LayoutWriter, folder, layout, link, tarred

LIMITS = ImageLimits(download=64 << 20, unpacked=32 << 20, files=1000, seconds=60)
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q"], input=data, capture_output=True, check=True).stdout


@pytest.fixture
def unpacked(tmp_path: Path, root: Path) -> Callable[..., Any]:
    async def unpack(*layers: Iterable[Entry] | bytes, limits: ImageLimits = LIMITS, **settings: Any) -> Fetched:
        source = layout(tmp_path / "layout", *layers, **settings)
        (tmp_path / "work").mkdir()
        return await Fetching(tmp_path / "work", root, FetchPolicy(), limits).run(Archive(source), lambda line: None)

    return unpack


class TestLayers:
    async def test_owners_modes_links_and_attributes(self, unpacked: Callable[..., Any], root: Path) -> None:
        await unpacked(
            [
                folder("d", 0o700),
                Entry("d/suid", b"x", 0o4755, owner=(5, 6)),
                Entry("d/hard", kind=tarfile.LNKTYPE, link="d/suid"),
                link("d/soft", "/etc/nowhere"),
                Entry("d/pipe", kind=tarfile.FIFOTYPE),
                Entry("d/marked", b"y", xattrs={"user.note": "z"}),
            ]
        )
        suid = (root / "d/suid").lstat()
        assert (stat.S_IMODE(suid.st_mode), suid.st_uid, suid.st_gid, suid.st_nlink) == (0o4755, 5, 6, 2)
        assert stat.S_IMODE((root / "d").stat().st_mode) == 0o700
        assert os.readlink(root / "d/soft") == "/etc/nowhere"
        assert stat.S_ISFIFO((root / "d/pipe").lstat().st_mode)
        assert os.getxattr(root / "d/marked", "user.note") == b"z"

    async def test_whiteouts_hide_what_is_below_alone(self, unpacked: Callable[..., Any], root: Path) -> None:
        await unpacked(
            [folder("a"), Entry("a/old"), folder("b"), Entry("b/old"), folder("b/sub"), Entry("b/sub/old"), Entry("c")],
            [
                Entry("a/.wh.old"),
                Entry("a/new"),
                Entry("b/.wh..wh..opq"),
                Entry("b/new"),
                Entry(".wh.c"),
                Entry(".wh.no"),
            ],
        )
        assert sorted(os.listdir(root / "a")) == sorted(os.listdir(root / "b")) == ["new"]
        assert not (root / "c").exists()

    async def test_an_opaque_folder_keeps_what_its_own_layer_brought_first(
        self, unpacked: Callable[..., Any], root: Path
    ) -> None:
        await unpacked(
            [folder("b/sub"), Entry("b/sub/old")], [Entry("b/sub/new"), Entry("b/.wh..wh..opq"), Entry("b/after")]
        )
        assert sorted(os.listdir(root / "b")) == ["after", "sub"]
        assert os.listdir(root / "b/sub") == ["new"]

    async def test_a_later_layer_puts_another_kind_in_its_place(self, unpacked: Callable[..., Any], root: Path) -> None:
        await unpacked([folder("x"), Entry("x/y"), Entry("z")], [Entry("x", b"file"), folder("z"), Entry("z/in")])
        assert (root / "x").read_bytes() == b"file"
        assert (root / "z/in").is_file()

    async def test_zeros_become_holes(self, unpacked: Callable[..., Any], root: Path) -> None:
        await unpacked([Entry("big", bytes(8 << 20) + b"end")])
        assert (root / "big").read_bytes() == bytes(8 << 20) + b"end"
        assert (root / "big").stat().st_blocks * 512 < 1 << 20

    async def test_zstd(self, unpacked: Callable[..., Any], root: Path) -> None:
        await unpacked([Entry("a", b"b")], compress=zstd, kind=ZSTD)
        assert (root / "a").read_bytes() == b"b"

    async def test_links_stay_inside(self, unpacked: Callable[..., Any], root: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        await unpacked(
            [link("way", str(outside)), link("up", "../" * 20 + str(outside).lstrip("/"))],
            [Entry("way/one", b"1"), Entry("up/two", b"2")],
        )
        assert os.listdir(outside) == []

    async def test_the_configuration_is_kept(self, unpacked: Callable[..., Any]) -> None:
        config = {
            "Entrypoint": ["/e"],
            "Cmd": ["c"],
            "Env": ["A=b=c"],
            "User": "1:2",
            "WorkingDir": "/w",
            "ExposedPorts": {"80/tcp": {}},
            "Labels": {"l": "m"},
        }
        fetched = await unpacked([Entry("a")], config=config)
        assert fetched.config == ImageConfig(("/e",), ("c",), {"A": "b=c"}, "1:2", "/w", ("80/tcp",), (), {"l": "m"})
        assert fetched.config.document().items() >= config.items()


class TestHostileLayers:
    @pytest.mark.parametrize(
        ("entries", "kind", "words"),
        [
            ([Entry("../../x")], ImageInvalid, "leads out of the image"),
            ([Entry("a/../../x")], ImageInvalid, "leads out of the image"),
            ([Entry("x", kind=tarfile.BLKTYPE)], ImageInvalid, "device node at '/x'"),
            ([Entry("x", kind=tarfile.CHRTYPE)], ImageInvalid, "device node at '/x'"),
            ([Entry("x", kind=tarfile.LNKTYPE, link="/etc/shadow")], ImageInvalid, "hard link to something"),
            ([Entry(".wh..")], ImageInvalid, "impossible name"),
            ([Entry("a/" * 300 + "x")], ImageInvalid, "too long"),
            ([Entry(f"{n}") for n in range(1001)], ImageTooLarge, "more files than allowed"),
            ([Entry("bomb", bytes(33 << 20))], ImageTooLarge, "larger than allowed"),
            (b"nonsense" * 200, ImageInvalid, "not a tar archive"),
        ],
    )
    async def test_they_are_refused(
        self, unpacked: Callable[..., Any], entries: Any, kind: type[ImageError], words: str
    ) -> None:
        with pytest.raises(kind, match=words):
            await unpacked(entries)

    async def test_device_nodes_below_dev_are_left_out(self, unpacked: Callable[..., Any], root: Path) -> None:
        await unpacked([folder("dev"), Entry("dev/null", kind=tarfile.CHRTYPE)])
        assert os.listdir(root / "dev") == []

    async def test_a_bomb_that_is_no_archive_ends_as_well(self, unpacked: Callable[..., Any]) -> None:
        with pytest.raises(ImageTooLarge):
            await unpacked(tarred([Entry("a")]) + bytes(120 << 20))

    @pytest.mark.parametrize("cut", [20, 2000])
    async def test_a_layer_that_is_cut_short(self, unpacked: Callable[..., Any], cut: int) -> None:
        with pytest.raises(ImageInvalid, match="too early"):
            await unpacked([Entry("a", os.urandom(100_000))], compress=lambda data: gzip.compress(data)[:-cut])

    @pytest.mark.parametrize("compress", [gzip.compress, zstd])
    async def test_a_file_that_is_shorter_than_its_manifest_says(
        self, tmp_path: Path, root: Path, compress: Callable[[bytes], bytes]
    ) -> None:
        kind = {"kind": ZSTD} if compress is zstd else {}
        source = layout(tmp_path / "layout", [Entry("a", os.urandom(100_000))], compress=compress, **kind)
        layer = max((source / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        os.truncate(layer, layer.stat().st_size - 2000)
        (tmp_path / "work").mkdir()
        with pytest.raises(ImageInvalid, match="cut short: 2000 bytes"):
            await Fetching(tmp_path / "work", root, FetchPolicy(), LIMITS).run(Archive(source), lambda line: None)

    async def test_a_layer_that_is_another_one(self, tmp_path: Path, root: Path) -> None:
        source = layout(tmp_path / "layout", [Entry("a", b"b")])
        blobs = sorted((source / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        layer = next(path for path in blobs if path.read_bytes()[:2] == b"\x1f\x8b")
        layer.write_bytes(gzip.compress(tarred([Entry("a", b"c")]))[: layer.stat().st_size].ljust(layer.stat().st_size))
        (tmp_path / "work").mkdir()
        with pytest.raises(ImageInvalid):
            await Fetching(tmp_path / "work", root, FetchPolicy(), LIMITS).run(Archive(source), lambda line: None)

    async def test_a_manifest_that_lies(self, unpacked: Callable[..., Any]) -> None:
        def change(manifest: dict[str, Any]) -> None:
            manifest["layers"] = []

        with pytest.raises(ImageInvalid, match="do not name the same layers"):
            await unpacked([Entry("a")], change=change)


class TestArchitectures:
    async def test_the_one_of_this_machine_is_taken(self, tmp_path: Path, root: Path) -> None:
        writer = LayoutWriter(tmp_path / "layout")
        foreign = writer.image([Entry("theirs")], architecture="mips64le")
        source = writer.finish(foreign, writer.image([Entry("ours")]))
        (tmp_path / "work").mkdir()
        await Fetching(tmp_path / "work", root, FetchPolicy(), LIMITS).run(Archive(source), lambda line: None)
        assert "ours" in os.listdir(root)

    async def test_one_for_other_machines_alone(self, tmp_path: Path, root: Path) -> None:
        writer = LayoutWriter(tmp_path / "layout")
        source = writer.finish(writer.image([Entry("theirs")], architecture="mips64le"))
        with pytest.raises(ImageNotFound, match="no variant for linux/"):
            await Fetching(tmp_path, root, FetchPolicy(), LIMITS).run(Archive(source), lambda line: None)


class TestCopies:
    """What COPY and ADD come down to."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        source = tmp_path / "source"
        (source / "d/sub").mkdir(parents=True)
        (source / "d/a.txt").write_text("a")
        (source / "d/.hidden").write_text("h")
        (source / "d/sub/b").write_text("b")
        (source / "secret").symlink_to("/etc/passwd")
        (source / "loop").symlink_to(".." + "/.." * 20 + str(tmp_path))
        return source

    async def copied(self, source: Path, root: Path, *patterns: str, extract: bool = False, **placement: Any) -> None:
        await copy(source, Selection(patterns, extract=extract), root, Placement(**placement), LIMITS)

    async def test_a_folder_gives_its_contents(self, source: Path, root: Path) -> None:
        await self.copied(source, root, "d", target="/to")
        assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == [
            "to/.hidden",
            "to/a.txt",
            "to/sub/b",
        ]

    async def test_a_file_gets_a_name_or_goes_into_a_folder(self, source: Path, root: Path) -> None:
        await self.copied(source, root, "d/a.txt", target="/x/y", as_file=True)
        assert (root / "x/y").read_text() == "a"
        await self.copied(source, root, "d/a.txt", target="/x", as_file=True)
        assert (root / "x/a.txt").read_text() == "a"

    async def test_wildcards_take_hidden_files_too(self, source: Path, root: Path) -> None:
        await self.copied(source, root, "d/*", target="/")
        assert {".hidden", "a.txt", "b"} <= set(os.listdir(root))

    async def test_owner_by_the_targets_own_names(self, source: Path, root: Path) -> None:
        (root / "etc").mkdir()
        (root / "etc/passwd").write_text("me:x:7:8::/:/bin/sh\n")
        await self.copied(source, root, "d/a.txt", target="/f", as_file=True, owner="me")
        assert ((root / "f").stat().st_uid, (root / "f").stat().st_gid) == (7, 8)
        with pytest.raises(ImageInvalid, match="no 'you'"):
            await self.copied(source, root, "d/a.txt", target="/g", as_file=True, owner="you")

    async def test_new_folders_belong_to_the_owner_too(self, source: Path, root: Path) -> None:
        (root / "there").mkdir()
        await self.copied(source, root, "d", target="/there/new", owner="7:8")
        assert [(root / name).stat().st_uid for name in ("there", "there/new", "there/new/sub")] == [0, 7, 7]

    async def test_what_is_left_out(self, source: Path, root: Path) -> None:
        selection = Selection(("d", "secret*"), exclude=("**/.*", "sub", "!sub/b", "secret"))
        await copy(source, selection, root, Placement("/to"), LIMITS)
        assert sorted(str(path.relative_to(root / "to")) for path in (root / "to").rglob("*")) == [
            "a.txt",
            "sub",
            "sub/b",
        ]

    async def test_folders_are_kept_where_that_is_wanted(self, source: Path, root: Path) -> None:
        (source / "d/sub").chmod(0o700)
        await copy(source, Selection(("./d/**/b", "d/./a.txt"), parents=True), root, Placement("/to"), LIMITS)
        assert sorted(str(path.relative_to(root / "to")) for path in (root / "to").rglob("*")) == [
            "a.txt",
            "d",
            "d/sub",
            "d/sub/b",
        ]
        assert stat.S_IMODE((root / "to/d/sub").stat().st_mode) == 0o700

    async def test_patterns_are_as_go_has_them(self, source: Path, root: Path) -> None:
        for name in ("[id]", "i", "^"):
            (source / name).write_text(name)
        await self.copied(source, root, r"\[id\]", target="/escaped", as_file=True)
        assert (root / "escaped").read_text() == "[id]"
        await self.copied(source, root, "[^a-h]", target="/class/")
        assert sorted(os.listdir(root / "class")) == ["^", "i"]
        await self.copied(source, root, "d/sub/../a.txt", target="/dots", as_file=True)
        assert (root / "dots").read_text() == "a"

    async def test_modes_as_chmod_has_them(self, source: Path, root: Path) -> None:
        await copy(source, Selection(("d",), mode="go-rwx,u+X,+t"), root, Placement("/to"), LIMITS)
        modes = [stat.S_IMODE((root / "to" / name).stat().st_mode) for name in ("a.txt", "sub")]
        assert modes == [0o1600, 0o1700]

    async def test_a_link_that_leads_nowhere(self, source: Path, root: Path) -> None:
        await self.copied(source, root, "secret*", target="/to/")
        assert os.readlink(root / "to/secret") == "/etc/passwd"

    @pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
    async def test_archives_are_taken_apart(self, source: Path, root: Path, compression: str) -> None:
        with tarfile.open(source / "x", f"w:{compression}") as archive:
            archive.add(source / "d/a.txt", "in/a.txt")
        await self.copied(source, root, "x", target="/to", extract=True)
        assert (root / "to/in/a.txt").read_text() == "a"

    async def test_names_of_one_file_stay_names_of_one_file(self, source: Path, root: Path) -> None:
        (source / "d/sub/again").hardlink_to(source / "d/sub/b")
        (source / "e").mkdir()
        (source / "e/again").hardlink_to(source / "d/sub/b")
        (source / "e/b").write_text("another")
        await self.copied(source, root, "d/sub", "e", target="/to")
        assert (root / "to/again").read_text() == "b"
        assert (root / "to/b").read_text() == "another"
        await self.copied(source, root, "d/sub", target="/pair")
        assert (root / "pair/b").samefile(root / "pair/again")

    async def test_an_empty_folder(self, source: Path, root: Path) -> None:
        (source / "empty").mkdir()
        await self.copied(source, root, "empty", target="/a/b", folders=("/a/b",), owner="7:8")
        assert (root / "a/b").stat().st_uid == 7

    async def test_what_is_of_another_kind_is_not_replaced(self, source: Path, root: Path) -> None:
        (root / "usr/sub").mkdir(parents=True)
        (root / "sub").symlink_to("usr/sub")
        (root / "file").write_text("f")
        for pattern, target, before in (("d", "/", "link"), ("d", "/file/x", "file"), ("d/a.txt", "/file/x", "file")):
            with pytest.raises(BuildInvalid, match=f"is a {before} there, and a folder here"):
                await self.copied(source, root, pattern, target=target, strict=True)
        (root / "to/a.txt").mkdir(parents=True)
        with pytest.raises(BuildInvalid, match="is a folder there, and a file here"):
            await self.copied(source, root, "d", target="/to", strict=True)
        assert (root / "sub").is_symlink()

    async def test_a_link_in_the_target_is_followed(self, source: Path, root: Path) -> None:
        (root / "app").symlink_to("/data/app")
        await self.copied(source, root, "d", target="/app/", strict=True)
        assert (root / "data/app/a.txt").read_text() == "a"
        assert (root / "app").is_symlink()

    async def test_links_lead_nowhere_else(self, source: Path, root: Path, tmp_path: Path) -> None:
        with pytest.raises(BuildInvalid, match="secret is not there"):
            await self.copied(source, root, "secret", target="/")
        with pytest.raises(BuildInvalid):
            await self.copied(source, root, "loop/source/d", target="/")
        with pytest.raises(BuildInvalid, match="leads out"):
            await self.copied(source, root, "../root", target="/")
        (root / "out").symlink_to(tmp_path)
        await self.copied(source, root, "d/a.txt", target="/out/f", as_file=True)
        assert not (tmp_path / "f").exists()

    async def test_what_is_not_there(self, source: Path, root: Path) -> None:
        for pattern, words in (("no", "no is not there"), ("no*", "matches nothing")):
            with pytest.raises(BuildInvalid, match=words):
                await look(source, Selection((pattern,)), 60)

    async def test_a_digest_is_of_contents_and_modes_and_not_of_times(self, source: Path) -> None:
        selection = Selection(("d",))
        first = await look(source, selection, 60)
        os.utime(source / "d/a.txt", (1, 1))
        assert await look(source, selection, 60) == first
        (source / "d/a.txt").chmod(0o700)
        second = await look(source, selection, 60)
        (source / "d/a.txt").write_text("b")
        assert len({first.digest, second.digest, (await look(source, selection, 60)).digest}) == 3

    async def test_more_than_allowed(self, source: Path, root: Path) -> None:
        (source / "big").write_bytes(bytes(33 << 20))
        with pytest.raises(ImageTooLarge):
            await self.copied(source, root, "big", target="/")

    async def test_folders_and_archives(self, root: Path, tmp_path: Path) -> None:
        await make_folders(root, ["/a/b"], "7:8", LIMITS)
        (tmp_path / "context.tar").write_bytes(tarred([Entry("f", b"1", owner=(9, 9)), Entry(".wh.f", b"2")]))
        await unpack_archive(tmp_path / "context.tar", root, LIMITS)
        assert [(root / name).stat().st_uid for name in ("a", "a/b")] == [7, 7]
        assert ((root / "f").stat().st_uid, (root / ".wh.f").read_bytes()) == (0, b"2")
