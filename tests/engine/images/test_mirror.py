from pathlib import Path

from moonpool.engine.images.mirror import DEFAULT_MAIN, DEFAULT_SECURITY, Mirrors, choose_mirrors

DEB822 = """\
# comment
Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [signed-by=/x.gpg arch=amd64] https://line.example/debian bookworm main
deb-src https://source.example/debian bookworm main
deb https://extra.example/debian bookworm-security contrib
"""


def apt(tmp_path: Path, *, sources: str = "", one_line: str = "") -> Path:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(sources)
    (tmp_path / "sources.list").write_text(one_line)
    return tmp_path


def test_a_machine_without_sources_gets_debians_own(tmp_path: Path) -> None:
    assert choose_mirrors("bookworm", sources=tmp_path) == Mirrors(DEFAULT_MAIN, DEFAULT_SECURITY)


def test_the_machines_own_mirror_is_used(tmp_path: Path) -> None:
    found = choose_mirrors("bookworm", sources=apt(tmp_path, sources=DEB822))
    assert found == Mirrors("http://mirror.example/debian", "http://security.example/debian-security")


def test_the_old_format_is_read_too(tmp_path: Path) -> None:
    found = choose_mirrors("bookworm", sources=apt(tmp_path, one_line=ONE_LINE))
    assert found == Mirrors("https://line.example/debian", DEFAULT_SECURITY)


def test_another_release_is_no_mirror_for_this_one(tmp_path: Path) -> None:
    found = choose_mirrors("bookworm", sources=apt(tmp_path, sources=DEB822.replace("bookworm", "noble")))
    assert found == Mirrors(DEFAULT_MAIN, DEFAULT_SECURITY)


def test_a_disabled_source_is_not_used(tmp_path: Path) -> None:
    found = choose_mirrors("bookworm", sources=apt(tmp_path, sources="Enabled: no\n" + DEB822.split("\n", 1)[1]))
    assert found.main == DEFAULT_MAIN


def test_what_the_operator_wants_goes_first(tmp_path: Path) -> None:
    found = choose_mirrors("bookworm", "http://wanted.example/debian/", apt(tmp_path, sources=DEB822))
    assert found.main == "http://wanted.example/debian"


def test_updates_and_security_are_part_of_it() -> None:
    assert Mirrors("http://m/debian", "http://s/debian-security").sources("bookworm") == [
        "deb http://m/debian bookworm main",
        "deb http://m/debian bookworm-updates main",
        "deb http://s/debian-security bookworm-security main",
    ]
