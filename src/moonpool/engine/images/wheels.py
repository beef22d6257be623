"""Python's packages of the images: wheels of PyPI.

Debian's own matplotlib brings SciPy, SymPy, Tk and the headers of Boost and OpenBLAS, half a gigabyte in all, and years
of age. NumPy is the last one that Debian's packages for it, which users may add, still work with.
"""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moonpool.engine.images.download import fetch

DIGEST_BYTES = 32


@dataclass(frozen=True)
class Wheel:
    """By its BLAKE2b, 64 hexadecimal digits, of which PyPI makes its address."""

    file: str
    digest: str

    @property
    def requirement(self) -> str:
        name, version = self.file.split("-")[:2]
        return f"{name}=={version}"

    @property
    def url(self) -> str:
        first, second, rest = self.digest[:2], self.digest[2:4], self.digest[4:]
        return f"https://files.pythonhosted.org/packages/{first}/{second}/{rest}/{self.file}"

    def matches(self, content: bytes) -> bool:
        return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest() == self.digest


def collect(wheels: Sequence[Wheel], folder: Path, downloads: Path) -> None:
    """Into ``folder``, with the ``requirements.txt`` by which pip installs them; from ``downloads`` where they are."""
    folder.mkdir(parents=True)
    for wheel in wheels:
        fetch(wheel.url, downloads / wheel.file, wheel.matches)
        shutil.copyfile(downloads / wheel.file, folder / wheel.file)
    folder.joinpath("requirements.txt").write_text("".join(f"{wheel.requirement}\n" for wheel in wheels))


PURE = (
    Wheel("cycler-0.12.1-py3-none-any.whl", "e705c19819d5e3d95294a6f5947fb9b9629efb316b96de511b418c53d245aae6"),
    Wheel("fonttools-4.68.0-py3-none-any.whl", "35744ea331ecc65ba05a58b1e4e8ccd604c8a15565f876dfbf93fc2a2ea2e22b"),
    Wheel("packaging-26.4-py3-none-any.whl", "ba7b5504f91c9c2733f693d7759e50ede5d27119d4da7e5836c46d3b5ff81d56"),
    Wheel("pyparsing-3.3.3-py3-none-any.whl", "38bbd215ee7c73b61497b28a5503f9f53523f294fcc936762b7caf90e0c1c2b5"),
    Wheel(
        "python_dateutil-2.9.0.post0-py2.py3-none-any.whl",
        "ec5756b9bcc3c9c6a792fcbaf139543cee77261f3651ca9da0c93f5c1221264b",
    ),
    Wheel("pytz-2026.6-py2.py3-none-any.whl", "b625564f3fc5b70c1398d706c51f2b1470d0ea0b1b2f96fee67877b6f5bdf3b6"),
    Wheel("six-1.17.0-py2.py3-none-any.whl", "b7ce149a00dd41f10bc29e5921b496af8b574d8413afcd5e30dfa0ed46c2cc5e"),
    Wheel("tzdata-2026.6-py2.py3-none-any.whl", "0a669a06c2227fedfd4919f0eaaa8b94377d9730882a7e4f95823c9a331ab5e1"),
)

WHEELS = {
    "x86_64": (
        Wheel(
            "contourpy-1.3.3-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
            "5f4b6157f24ca425b89fe2eb7e7be642375711ab671135be21e6faa100f7448c",
        ),
        Wheel(
            "kiwisolver-1.5.1-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
            "890005c2d0369ac322d22d5c05f84b5c4a6856fa6207fbae42869108a28f0383",
        ),
        Wheel(
            "matplotlib-3.11.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
            "2ea41ca765c63a60e3096ae2ad132eb25f6f7eab0377418cd0472808befd9665",
        ),
        Wheel(
            "numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
            "3ad0edc009c27b406c4f9cbc79274d6e46d634d139075492ad055e3d68445925",
        ),
        Wheel(
            "pandas-2.3.3-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
            "bfc963f8d545568d9ab91476b1818b4741f521646cbdd151c6efebf40d6de6f7",
        ),
        Wheel(
            "pillow-13.0.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
            "3646f509b74787f40ce0627501089d630b2c741b63b244c1f40b640b3b01e181",
        ),
    ),
    "aarch64": (
        Wheel(
            "contourpy-1.3.3-cp311-cp311-manylinux_2_26_aarch64.manylinux_2_28_aarch64.whl",
            "302edd4ced42fefac8470661d7cb7e264808425e6c5d56d175291e93890cce09",
        ),
        Wheel(
            "kiwisolver-1.5.1-cp311-cp311-manylinux_2_24_aarch64.manylinux_2_28_aarch64.whl",
            "c005c941a139f27438c1910d630fdc3ccfdab7c8407c72052299ead12ece086e",
        ),
        Wheel(
            "matplotlib-3.11.2-cp311-cp311-manylinux_2_26_aarch64.manylinux_2_28_aarch64.whl",
            "d73df28ca971a4ad0ed83ebdd60230b09d99de8b91aba47964fac3a81eb2e2ba",
        ),
        Wheel(
            "numpy-1.26.4-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
            "79ae7e5b85136806f9dadf4878bf73cf223fe5c2636818ba3ab1c585d0403164",
        ),
        Wheel(
            "pandas-2.3.3-cp311-cp311-manylinux_2_24_aarch64.manylinux_2_28_aarch64.whl",
            "fee4de154cbfeee13383ad58d23017da99390b91d73f8c11856f2095e813201b",
        ),
        Wheel(
            "pillow-13.0.0-cp311-cp311-manylinux_2_27_aarch64.manylinux_2_28_aarch64.whl",
            "5cee229b27472483a4801ea94990815e710391836afdf987b4b722b62bd75db6",
        ),
    ),
}

# Beyond those, of the code runner.
SEABORN = Wheel("seaborn-0.13.2-py3-none-any.whl", "831100d3c3dfc25ad54e731d91449895a79e4bf2384dc3ac01809010ba88f6d5")
SCIPY = {
    "x86_64": Wheel(
        "scipy-1.15.3-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "bd3789f19c8c05505d0601ed5650156e50eb881ae3918786c8fd7262b4ee66d3",
    ),
    "aarch64": Wheel(
        "scipy-1.15.3-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl",
        "56c51032cdb565f146109212153339f9cb8b993701e9fe56b1c97699eee12586",
    ),
}
