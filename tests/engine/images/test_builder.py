from moonpool.engine.images.builder import PHASES, STEPS_EXPECTED, report

LINES = [
    "I: automatically chosen mode: root",
    "I: running apt-get update...",
    "Get:1 http://deb.debian.org/debian bookworm InRelease [151 kB]",
    "I: downloading packages with apt...",
    *(f"Get:{number} http://deb.debian.org/debian bookworm/main amd64 x" for number in range(2 * STEPS_EXPECTED)),
    "I: extracting archives...",
    "I: installing essential packages...",
    "I: installing remaining packages inside the chroot...",
    "Unpacking sudo (1.9.13p3-1+deb12u2) ...",
    "Setting up sudo (1.9.13p3-1+deb12u2) ...",
    "I: running --customize-hook directly: ...",
    "I: creating tarball...",
    "I: done",
]


def test_progress_only_goes_forward_and_names_every_phase() -> None:
    seen: list[tuple[str, float]] = []
    assert list(report((line + "\n" for line in LINES), lambda text, part: seen.append((text, part)))) == LINES
    fractions = [part for _, part in seen]
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] <= fractions[-1] < 1
    assert list(dict.fromkeys(text for text, _ in seen)) == [phase.text for phase in PHASES]


def test_every_package_moves_it() -> None:
    seen: list[float] = []
    list(report(["I: installing remaining packages\n", "Unpacking a\n", "other\n"], lambda _, part: seen.append(part)))
    assert len(seen) == 2
    assert seen[0] < seen[1]
