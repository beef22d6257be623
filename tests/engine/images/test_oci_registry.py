"""Images out of a real registry on this machine's loopback, with and without a password; and what is not reached."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moonpool.engine.images.oci import (
    Credentials,
    Fetched,
    Fetching,
    FetchPolicy,
    ImageLimits,
    Registry,
    parse_reference,
    resolve,
)
from moonpool.engine.images.oci.gate import is_public, opened, where
from moonpool.engine.images.oci.reference import Reference
from moonpool.errors import (
    ImageForbidden,
    ImageInvalid,
    ImageNotFound,
    ImageTooLarge,
    ImageUnauthorized,
    ImageUnavailable,
    InvalidInput,
)
from tests.images import Entry, LayoutWriter, layout
from tests.registry import PASSWORD, USER, LoopbackRegistry, loopback_registry

LIMITS = ImageLimits(seconds=120)


@pytest.fixture(scope="module")
def registry() -> Iterator[LoopbackRegistry]:
    with loopback_registry() as running:
        yield running


@pytest.fixture(scope="module")
def private() -> Iterator[LoopbackRegistry]:
    with loopback_registry(authenticated=True) as running:
        yield running


def allowing(*registries: LoopbackRegistry) -> FetchPolicy:
    return FetchPolicy(insecure=frozenset(each.host for each in registries))


async def fetched(
    tmp_path: Path, source: Registry, policy: FetchPolicy, limits: ImageLimits = LIMITS
) -> tuple[Fetched, Path]:
    work, root = tmp_path / "work", tmp_path / "root"
    work.mkdir()
    root.mkdir()
    digest = await resolve(source, policy)
    exact = Registry(source.reference.at(digest), source.credentials)
    return await Fetching(work, root, policy, limits).run(exact, lambda line: None), root


def source_of(reference: str, credentials: Credentials | None = None) -> Registry:
    return Registry(parse_reference(reference), credentials)


class TestRegistry:
    async def test_by_tag_and_by_digest(self, tmp_path: Path, registry: LoopbackRegistry) -> None:
        name = registry.push(layout(tmp_path / "l", [Entry("a", b"1")], config={"Cmd": ["x"]}), "by/tag:1")
        digest = await resolve(source_of(name), allowing(registry))
        image, root = await fetched(tmp_path, source_of(f"{registry.host}/by/tag@{digest}"), allowing(registry))
        assert image.config.command == ("x",)
        assert (root / "a").read_bytes() == b"1"

    async def test_the_variant_of_this_machine(self, tmp_path: Path, registry: LoopbackRegistry) -> None:
        writer = LayoutWriter(tmp_path / "l")
        manifests = [writer.image([Entry("theirs")], architecture="s390x"), writer.image([Entry("ours")])]
        index = writer.blob(
            json.dumps({"schemaVersion": 2, "manifests": manifests}).encode(),
            "application/vnd.oci.image.index.v1+json",
        )
        name = registry.push(writer.finish(index), "multi:1", all=True)
        _, root = await fetched(tmp_path, source_of(name), allowing(registry))
        assert "ours" in os.listdir(root)

    async def test_what_docker_alone_says_is_kept(self, tmp_path: Path, registry: LoopbackRegistry) -> None:
        config = {"OnBuild": ["RUN x"], "Shell": ["/bin/x"], "Healthcheck": {"Test": ["NONE"]}}
        name = registry.push(layout(tmp_path / "l", [Entry("a")], config=config), "docker:1", docker=True)
        image, _ = await fetched(tmp_path, source_of(name), allowing(registry))
        assert (image.config.onbuild, image.config.shell) == (("RUN x",), ("/bin/x",))
        assert image.config.healthcheck == {"Test": ["NONE"]}
        assert os.listdir(tmp_path / "work") == []

    async def test_a_skopeo_that_cannot_stream(
        self, tmp_path: Path, registry: LoopbackRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = registry.push(layout(tmp_path / "l", [Entry("a", b"1")]), "copied:1")
        monkeypatch.setattr("moonpool.engine.images.oci.proxy.INITIALIZE", "NoSuchMethod")
        said: list[str] = []
        (tmp_path / "work").mkdir()
        (tmp_path / "root").mkdir()
        fetching = Fetching(tmp_path / "work", tmp_path / "root", allowing(registry), LIMITS)
        await fetching.run(source_of(name), said.append)
        assert (tmp_path / "root/a").read_text() == "1"
        assert any("Copying" in line for line in said)

    async def test_what_is_not_there(self, registry: LoopbackRegistry) -> None:
        with pytest.raises(ImageNotFound, match="There is no image"):
            await resolve(source_of(f"{registry.host}/none:1"), allowing(registry))

    async def test_credentials(self, tmp_path: Path, private: LoopbackRegistry) -> None:
        name, policy = private.push(layout(tmp_path / "l", [Entry("a")]), "mine:1"), allowing(private)
        for credentials in (None, Credentials(private.host, USER, "wrong")):
            with pytest.raises(ImageUnauthorized) as caught:
                await resolve(source_of(name, credentials), policy)
            assert "wrong" not in caught.value.message
        _, root = await fetched(tmp_path, source_of(name, Credentials(private.host, USER, PASSWORD)), policy)
        assert "a" in os.listdir(root)

    async def test_a_layer_that_was_changed_in_the_registry(self, tmp_path: Path, registry: LoopbackRegistry) -> None:
        content = os.urandom(50_000)
        name = registry.push(layout(tmp_path / "l", [Entry("changed", content)]), "changed:1")
        layer = max(registry.blobs(), key=lambda path: path.stat().st_mtime_ns * (path.stat().st_size > 40_000))
        layer.write_bytes(os.urandom(layer.stat().st_size))
        with pytest.raises((ImageInvalid, ImageUnavailable)):
            await fetched(tmp_path, source_of(name), allowing(registry))

    async def test_more_than_allowed(self, tmp_path: Path, registry: LoopbackRegistry) -> None:
        name = registry.push(layout(tmp_path / "l", [Entry("a", os.urandom(200_000))]), "large:1")
        with pytest.raises(ImageTooLarge):
            await fetched(tmp_path, source_of(name), allowing(registry), ImageLimits(download=100_000, seconds=60))


class TestGate:
    async def test_this_machine_must_be_allowed(self, registry: LoopbackRegistry) -> None:
        for host in (registry.host, registry.host.replace("localhost", "127.0.0.1")):
            with pytest.raises(ImageForbidden):
                await resolve(source_of(f"{host}/by/tag:1"), FetchPolicy())

    @pytest.mark.parametrize("host", ["10.1.2.3", "169.254.169.254", "192.168.0.1:5000", "172.17.0.1"])
    async def test_private_addresses_are_not_reached(self, host: str) -> None:
        with pytest.raises(ImageForbidden, match="private address"):
            await resolve(source_of(f"{host}/x:1"), FetchPolicy())

    async def test_nothing_else_is_there(self, registry: LoopbackRegistry) -> None:
        """What runs behind the gate finds no loopback of this machine, and no route."""
        port = int(registry.host.rpartition(":")[2])
        async with opened(FetchPolicy()) as gate:
            script = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
            command = ["nsenter", f"--net=/proc/self/fd/{gate.namespace}", "bash", "-c", script]
            process = await asyncio.to_thread(subprocess.run, command, pass_fds=[gate.namespace], capture_output=True)
        assert b"refused" in process.stderr

    @pytest.mark.parametrize(
        ("address", "public"),
        [
            ("8.8.8.8", True),
            ("2606:4700::1111", True),
            ("127.0.0.1", False),
            ("10.0.0.1", False),
            ("100.64.0.1", False),
            ("169.254.169.254", False),
            ("224.0.0.1", False),
            ("::1", False),
            ("fe80::1%eth0", False),
            ("::ffff:10.0.0.1", False),
            ("2002:0a00:0001::1", False),
            ("0.0.0.0", False),
        ],
    )
    def test_addresses(self, address: str, public: bool) -> None:
        assert is_public(address) is public

    def test_requests_to_a_proxy(self) -> None:
        assert where("CONNECT", "Example.com:443") == ("example.com", 443, "")
        assert where("GET", "http://a:5000/v2/?x") == ("a", 5000, "/v2/?x")
        assert where("GET", "http://a") == ("a", 80, "/")
        with pytest.raises(ValueError, match="proxy"):
            where("GET", "/v2/")


class TestReferences:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("python:3.12", Reference("docker.io", "library/python", "3.12", None)),
            ("me/app", Reference("docker.io", "me/app", "latest", None)),
            ("docker.io/python", Reference("docker.io", "library/python", "latest", None)),
            ("ghcr.io/a/b:c", Reference("ghcr.io", "a/b", "c", None)),
            ("localhost:5000/x", Reference("localhost:5000", "x", "latest", None)),
            (f"a@sha256:{'0' * 64}", Reference("docker.io", "library/a", None, f"sha256:{'0' * 64}")),
        ],
    )
    def test_names(self, text: str, expected: Reference) -> None:
        assert parse_reference(text) == expected

    @pytest.mark.parametrize(
        "text", ["", "A", "a b", "a:", "a@", "-x", "a/../b", "a@sha256:0", "a\n", "--help", "a:b:c/d", "x" * 600]
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(InvalidInput):
            parse_reference(text)
