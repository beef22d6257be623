import hashlib
from pathlib import Path

import pytest

from moonpool.engine.images.wheels import PURE, SCIPY, WHEELS, Wheel, collect
from moonpool.errors import EngineError


def digest_of(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=32).hexdigest()


def test_each_architecture_has_the_same() -> None:
    first, *others = ([wheel.requirement for wheel in wheels] for wheels in WHEELS.values())
    assert all(other == first for other in others)
    assert len({wheel.requirement for wheel in SCIPY.values()}) == 1
    for machine, wheels in WHEELS.items():
        assert all(f"_{machine}.whl" in wheel.file for wheel in (*wheels, SCIPY[machine]))
    assert all(wheel.file.endswith("-none-any.whl") for wheel in PURE)


def test_the_address_is_made_of_the_digest() -> None:
    wheel = Wheel("six-1.17.0-py2.py3-none-any.whl", "b7ce14" + 58 * "0")
    assert wheel.url == f"https://files.pythonhosted.org/packages/b7/ce/14{58 * '0'}/six-1.17.0-py2.py3-none-any.whl"


def test_what_is_collected_can_be_installed_by_name(tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "one_two-1.0-py3-none-any.whl").write_bytes(b"wheel")
    collect([Wheel("one_two-1.0-py3-none-any.whl", digest_of(b"wheel"))], tmp_path / "wheels", downloads)
    assert (tmp_path / "wheels/requirements.txt").read_text() == "one_two==1.0\n"
    assert (tmp_path / "wheels/one_two-1.0-py3-none-any.whl").read_bytes() == b"wheel"


def test_a_file_that_pypi_does_not_have_is_named(tmp_path: Path) -> None:
    wheel = Wheel("no_such_package_of_moonpool-0.0-py3-none-any.whl", digest_of(b""))
    with pytest.raises(EngineError, match=r"Cannot fetch https://files\.pythonhosted\.org/.*no_such_package"):
        collect([wheel], tmp_path / "wheels", tmp_path / "downloads")
