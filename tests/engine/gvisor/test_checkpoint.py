"""Checkpoints on disk: whole or refused, never half."""

import dataclasses
import json
import os
from pathlib import Path

import pytest

from moonpool.engine.gvisor import Capabilities, Driver
from moonpool.engine.gvisor import checkpoint as images
from moonpool.engine.gvisor.digests import Digests
from moonpool.engine.gvisor.linux import host_takes_free_memory, memory_filesystem
from moonpool.errors import CheckpointCorrupt, CheckpointIncompatible, CheckpointRefused, EngineError

HERE = Capabilities(
    version="release-20260101.0",
    flags=("--network=sandbox",),
    checkpoint_flags=(),
    restore_flags=(),
    platform="systrap",
    architecture="x86_64",
    cpu_features=("avx2", "sse2"),
)


@pytest.fixture
def image(tmp_path):
    partial = images.partial_folder(tmp_path / "image")
    (partial / "pages.img").write_bytes(b"p" * 5000)
    (partial / "checkpoint.img").write_bytes(b"c" * 300)
    images.publish(partial, tmp_path / "image", HERE, digests=Digests(), extra={"key": "value"})
    return tmp_path / "image"


class TestManifest:
    def test_whole_and_of_this_machine_it_passes(self, image):
        images.verify(image, HERE, digests=Digests())
        assert images.load(image)["extra"] == {"key": "value"}
        assert [entry.name for entry in image.parent.iterdir()] == ["image"]

    @pytest.mark.parametrize("name", ["pages.img", "checkpoint.img"])
    def test_a_truncated_file_is_found_without_checksums(self, image, name):
        with (image / name).open("r+b") as file:
            file.truncate(100)
        with pytest.raises(CheckpointCorrupt, match=f"{name} has 100 bytes instead of"):
            images.verify(image, HERE)

    def test_a_missing_file_is_found(self, image):
        (image / "pages.img").unlink()
        with pytest.raises(CheckpointCorrupt, match=r"pages.img has None bytes"):
            images.verify(image, HERE)

    def test_a_changed_byte_is_found_by_checksum(self, image):
        (image / "pages.img").write_bytes(b"p" * 4999 + b"q")
        images.verify(image, HERE)
        with pytest.raises(CheckpointCorrupt, match="checksum"):
            images.verify(image, HERE, digests=Digests())

    @pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"format": 1}'])
    def test_no_manifest_or_half_of_one_is_corrupt(self, image, text):
        (image / "manifest.json").unlink()
        if text is not None:
            (image / "manifest.json").write_text(text)
        with pytest.raises(CheckpointCorrupt):
            images.verify(image, HERE)

    def test_a_manifest_of_a_later_format_is_incompatible(self, image):
        manifest = json.loads((image / "manifest.json").read_text()) | {"format": 2}
        (image / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(CheckpointIncompatible):
            images.verify(image, HERE)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            ({"version": "release-20260202.0"}, "by runsc release-20260101.0, here is release-20260202.0"),
            ({"flags": ("--network=none",)}, "with the flags --network=sandbox"),
            ({"architecture": "aarch64"}, "on x86_64, this is aarch64"),
            ({"cpu_features": ("sse2",)}, "on a processor with avx2, which this one lacks"),
        ],
    )
    def test_another_machine_is_told_from_this_one(self, image, change, told):
        with pytest.raises(CheckpointIncompatible, match=told):
            images.verify(image, dataclasses.replace(HERE, **change))

    def test_a_richer_processor_is_fine(self, image):
        images.verify(image, dataclasses.replace(HERE, cpu_features=("avx2", "avx512f", "sse2")))

    def test_a_new_one_replaces_the_old(self, image):
        partial = images.partial_folder(image)
        (partial / "pages.img").write_bytes(b"new")
        images.publish(partial, image, HERE, digests=None, extra={})
        images.verify(image, HERE, digests=Digests())
        assert sorted(entry.name for entry in image.iterdir()) == ["manifest.json", "pages.img"]

    def test_what_was_cut_off_is_swept(self, image):
        images.partial_folder(image)
        images.sweep(image.parent)
        assert [entry.name for entry in image.parent.iterdir()] == ["image"]


class TestRealOnes:
    def test_a_damaged_one_is_refused_before_anything_starts(self, engine, tmp_path):
        with engine.box() as box:
            engine.driver.checkpoint(box.name, tmp_path / "image")
        with (tmp_path / "image/pages.img").open("r+b") as file:
            file.truncate(4096)
        with pytest.raises(CheckpointCorrupt), engine.box(tmp_path / "image"):
            pass

    def test_damage_that_only_restoring_shows_is_told_as_damage(self, engine, tmp_path):
        with engine.box() as box:
            engine.driver.checkpoint(box.name, tmp_path / "image")
        path = tmp_path / "image/checkpoint.img"
        path.write_bytes(bytes(path.stat().st_size))
        with pytest.raises(CheckpointCorrupt, match="checksum"), engine.box(tmp_path / "image"):
            pass

    def test_one_of_another_runsc_is_refused(self, engine, tmp_path, agent_folder):
        with engine.box() as box:
            engine.driver.checkpoint(box.name, tmp_path / "image")
        other = Driver(engine.instance, engine.cgroups, agent_folder)
        other.capabilities = dataclasses.replace(other.capabilities, version="release-20260101.0")
        with pytest.raises(CheckpointIncompatible, match="by runsc"):
            other.verify(tmp_path / "image")

    def test_deleted_open_files_are_named_and_the_sandbox_goes_on(self, engine, tmp_path):
        with engine.entered() as (box, agent):
            agent.exec("import os; held = open('/scratch', 'w+'); held.write('x'); held.flush(); os.unlink('/scratch')")
            agent.close()
            with pytest.raises(CheckpointRefused, match="/scratch") as refused:
                engine.driver.checkpoint(box.name, tmp_path / "image")
            assert refused.value.details["paths"] == ["/scratch"]
            assert list(tmp_path.iterdir()) == []
            with box.agent() as agent:
                agent.exec("held.close()")
            engine.driver.checkpoint(box.name, tmp_path / "image")
            engine.driver.verify(tmp_path / "image", checksum=True)

    def test_a_disk_that_takes_no_more_refuses_it_and_the_sandbox_goes_on(self, engine, full_disk):
        with engine.box() as box:
            with pytest.raises(CheckpointRefused):
                engine.driver.checkpoint(box.name, full_disk / "image")
            assert list(full_disk.iterdir()) == []
            with box.agent() as agent:
                assert agent.ask("identity")

    def test_programs_with_connections_find_them_cut_and_go_on_serving(self, engine, tmp_path):
        """Those of the agent, which waits on an epoll set with them in it."""
        with engine.box() as box, box.agent() as first, box.agent() as second:
            assert first.ask("identity") == second.ask("identity"), "both are accepted"
            engine.driver.checkpoint(box.name, tmp_path / "image")
            first.abandon()
            second.abandon()
        with engine.box(tmp_path / "image") as box:
            for _ in range(3):
                with box.agent() as agent:
                    assert agent.ask("identity")

    def test_left_running_its_connections_are_cut_and_it_goes_on_serving(self, engine, tmp_path):
        with engine.box() as box, box.agent() as cut:
            engine.driver.checkpoint(box.name, tmp_path / "image", leave_running=True)
            cut.abandon()
            for _ in range(3):
                with box.agent() as agent:
                    assert agent.ask("identity")
            engine.driver.verify(tmp_path / "image", checksum=True)

    def test_connections_are_cut_for_a_folder_in_memory_too(self, engine):
        descriptor = memory_filesystem()
        try:
            image = Path(f"/proc/{os.getpid()}/fd/{descriptor}/image")
            with engine.box() as box, box.agent() as cut:
                engine.driver.checkpoint(box.name, image, leave_running=True)
                cut.abandon()
                with box.agent() as agent:
                    assert agent.ask("identity")
                engine.driver.verify(image, checksum=True)
        finally:
            os.close(descriptor)

    def test_connections_inside_the_sandbox_last(self, engine, tmp_path):
        with engine.box() as box:
            with box.agent() as agent:
                agent.exec("import socket; here = socket.create_server(('127.0.0.1', 7000))")
                agent.exec("near = socket.create_connection(('127.0.0.1', 7000)); far, _ = here.accept()")
            engine.driver.checkpoint(box.name, tmp_path / "image")
        with engine.box(tmp_path / "image") as box, box.agent() as agent:
            agent.exec("near.sendall(b'still here')")
            assert agent.eval("far.recv(100).decode()") == "still here"

    def test_a_checkpoint_of_a_dead_sandbox_is_an_error(self, engine, tmp_path):
        with engine.box() as box:
            engine.cgroups.kill(box.name)
            with pytest.raises(EngineError):
                engine.driver.checkpoint(box.name, tmp_path / "image")
            assert list(tmp_path.iterdir()) == []


class TestMemoryFilesystem:
    @pytest.mark.parametrize(
        ("features", "told"), [("0110010100", True), ("0110000100", False), ("", False), (None, False)]
    )
    def test_whether_the_host_takes_free_memory_stands_in_its_balloon(self, tmp_path, features, told):
        (tmp_path / "virtio0").mkdir()
        if features is not None:
            (tmp_path / "virtio0" / "features").write_text(features + "\n")
        assert host_takes_free_memory(tmp_path) is told
