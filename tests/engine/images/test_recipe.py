from dataclasses import replace
from pathlib import Path

import pytest

from moonpool.engine.images.code_runner import code_runner_recipe
from moonpool.engine.images.recipe import NodePackage, RootFile, base_recipe, desktop_recipe, host_certificates


def test_equal_recipes_have_equal_digests() -> None:
    assert base_recipe().digest == base_recipe().digest
    assert len(base_recipe().digest) == 64


def test_further_packages_are_added_once() -> None:
    plain, more = base_recipe(), base_recipe(["python3-matplotlib", "git", "python3-matplotlib"])
    assert sorted(more.packages) == sorted([*plain.packages, "python3-matplotlib"])
    assert more.digest != plain.digest == base_recipe(["git"]).digest
    for recipe in (desktop_recipe, code_runner_recipe):
        assert "python3-scipy" in recipe(["python3-scipy"]).packages
        assert len(set(recipe(["git"]).packages)) == len(recipe().packages)


@pytest.mark.parametrize(
    "change",
    [
        {"suite": "trixie"},
        {"epoch": 1},
        {"packages": ("bash",)},
        {"files": (RootFile("/etc/motd", "hello\n"),)},
        {"users": ()},
        {"customise": "#!/bin/sh\n"},
        {"dpkg_options": ()},
        {"architecture": "other"},
    ],
)
def test_every_change_changes_the_digest(change: dict[str, object]) -> None:
    recipe = base_recipe()
    assert replace(recipe, **change).digest != recipe.digest  # type: ignore[arg-type]


def test_every_node_package_is_pinned_by_a_strong_hash() -> None:
    for package in base_recipe().node_packages:
        assert package.integrity.startswith("sha512-")
        assert package.version[0].isdigit()


def test_a_scoped_package_has_its_own_kind_of_address() -> None:
    package = NodePackage("@esbuild/linux-x64", "1.2.3", "sha512-x", "somewhere")
    assert package.url == "https://registry.npmjs.org/@esbuild/linux-x64/-/linux-x64-1.2.3.tgz"


def test_the_three_users_are_there_with_numbers_of_their_own() -> None:
    users = base_recipe().users
    assert [user.name for user in users] == ["daytona", "wrenn-user", "user"]
    assert len({user.number for user in users}) == 3


def test_certificates_of_the_host_are_taken_along(tmp_path: Path) -> None:
    (tmp_path / "office.crt").write_text("certificate")
    (tmp_path / "notes.txt").write_text("not one")
    found = host_certificates(tmp_path)
    assert [(file.path, file.text) for file in found] == [
        ("/usr/local/share/ca-certificates/office.crt", "certificate")
    ]
    assert host_certificates(tmp_path / "absent") == ()
