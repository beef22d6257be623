"""What is in the base image, tried by running it."""

import subprocess
from collections.abc import Callable, Iterator

import pytest

from moonpool.engine.images import Image
from moonpool.engine.storage import Kind, Pool

Run = Callable[..., str]
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# In a mount namespace of its own: programs need /proc and /dev, and the pool forbids set-user-id and devices.
ENTER = """
pool=$1 root=$2
shift 2
mount -o remount,bind,suid,dev "$pool"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
exec chroot "$@"
"""


@pytest.fixture(scope="module")
def run(shared_pool: Pool, base: Image) -> Iterator[Run]:
    root = shared_pool.snapshot(base.path, Kind.SANDBOXES, "tried", limit_bytes=512 * 1024**2)

    def run_in_image(script: str, *, user: str = "root", home: str = "/root") -> str:
        numbers = ["--userspec=root", "--groups="]
        if user != "root":
            groups = run_in_image(f"id -G {user} | tr ' ' ,").strip()
            numbers = [f"--userspec={user}", f"--groups={groups}"]
        inside = ["env", "-i", PATH, "LANG=C.UTF-8", f"HOME={home}", "bash", "-euc", f"cd; {script}"]
        command = ["unshare", "--net", "--mount", "--propagation", "slave", "sh", "-euc", ENTER, "sh"]
        command += [str(shared_pool.path), str(root), *numbers, str(root), *inside]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield run_in_image
    shared_pool.delete(Kind.SANDBOXES, "tried")


@pytest.mark.parametrize(
    "command",
    [
        "python3 --version", "python --version", "pip --version", "node --version", "npm --version", "npx --version",
        "tsx --version", "esbuild --version", "git --version", "curl --version", "unzip -v", "sudo --version",
        "pylsp --version",
        "typescript-language-server --version", "tsc --version",
        "ssh -V", "ip -V", "ps --version", "less --version", "vi --version", "apt-get --version",
    ],
)  # fmt: skip
def test_the_program_is_there_and_starts(run: Run, command: str) -> None:
    run(command)


@pytest.mark.parametrize("user", ["daytona", "wrenn-user", "user"])
def test_a_user_has_a_home_a_shell_and_no_password(run: Run, user: str) -> None:
    name, home, shell = run(f"getent passwd {user} | cut -d: -f1,6,7").strip().split(":")
    assert (name, home, shell) == (user, f"/home/{user}", "/bin/bash")
    assert run(f"stat -c %U {home}").strip() == user
    assert run(f"getent shadow {user} | cut -d: -f2").strip() == "!"
    assert run("touch file; stat -c %U file; rm file", user=user, home=home).strip() == user


@pytest.mark.parametrize("user", ["daytona", "wrenn-user", "user"])
def test_sudo_asks_for_no_password(run: Run, user: str) -> None:
    assert run("sudo -n id -u", user=user, home=f"/home/{user}").strip() == "0"


def test_sudo_does_not_ask_for_a_host_name_that_does_not_resolve(run: Run) -> None:
    """No name server is configured in the image, and the name is in no file."""
    answer = run("unshare --uts sh -c 'hostname no-such-name; sudo -n -u daytona id -un'")
    assert answer.strip() == "daytona"


def test_python_packages_can_be_installed_by_everyone(run: Run) -> None:
    run("test ! -e /usr/lib/python3*/EXTERNALLY-MANAGED")
    script = "python3 -m venv env && env/bin/python -c 'import sys; print(sys.prefix)'"
    assert run(script, user="daytona", home="/home/daytona").strip() == "/home/daytona/env"
    run(
        "touch /usr/local/lib/python3.11/dist-packages/probe /usr/local/bin/probe", user="daytona", home="/home/daytona"
    )


@pytest.mark.parametrize("user", ["root", "daytona"])
def test_what_most_code_imports_is_there(run: Run, user: str) -> None:
    """Fonts were looked for beforehand: to do so takes seconds."""
    home = "/root" if user == "root" else f"/home/{user}"
    script = "import numpy, pandas, requests; from PIL import Image; from matplotlib import pyplot; pyplot.plot([1])"
    fonts = "cat ~/.cache/matplotlib/* | sha256sum; ls ~/.cache/matplotlib"
    before = run(fonts, user=user, home=home)
    code = f"{script}; pyplot.savefig('picture.png'); print(pyplot.get_backend())"
    assert run(f'python3 -c "{code}"', user=user, home=home).strip() == "agg"
    assert run(fonts, user=user, home=home) == before
    run("python3 -m pip check", user=user, home=home)


def test_pip_exchanges_what_is_there(run: Run) -> None:
    script = """
    mkdir -p six/src && cd six && echo "__version__ = 'own'" > src/six.py
    printf '[project]\nname = "six"\nversion = "99"\n[tool.setuptools]\npackage-dir = {"" = "src"}\n' > pyproject.toml
    printf 'py-modules = ["six"]\n' >> pyproject.toml
    pip wheel --quiet --no-index --no-build-isolation --wheel-dir . .
    pip install --quiet --no-index --no-compile ./six-99*.whl
    python3 -Bc 'import six; print(six.__version__)'
    """
    assert run(script, user="daytona", home="/home/daytona").strip() == "own"


def test_node_packages_are_installed_where_programs_are_found(run: Run) -> None:
    script = """
    mkdir -p tool && cd tool && printf '#!/bin/sh\\necho installed' > run && chmod +x run
    echo '{"name": "probe-tool", "version": "1.0.0", "bin": {"probe-tool": "run"}}' > package.json
    npm install --global --offline --install-links . >/dev/null && probe-tool
    """
    assert run(script, user="daytona", home="/home/daytona").strip() == "installed"


def test_typescript_runs(run: Run) -> None:
    script = """
    echo 'enum Size { Small = 1 } interface Box { size: Size } const box: Box = { size: Size.Small };
          console.log(box.size)' > box.ts
    tsx box.ts; esbuild --format=cjs box.ts | node -
    """
    assert run(script, user="user", home="/home/user").split() == ["1", "1"]


def test_text_is_utf_8(run: Run) -> None:
    assert run("python3 -c \"print('\N{SNOWMAN}')\"").strip() == "\N{SNOWMAN}"
    assert "LANG=C.UTF-8" in run("cat /etc/default/locale")


def test_mount_points_and_temporary_folders(run: Run) -> None:
    run("test -d /proc -a -d /dev -a -d /sys -a -d /.agent -a -d /mnt")
    assert run("stat -c %a /tmp /var/tmp").split() == ["1777", "1777"]


def test_nothing_of_the_machine_that_built_it_stays(run: Run) -> None:
    assert run("cat /etc/machine-id /etc/resolv.conf").strip() == ""
    assert run("cat /etc/hostname").strip() == "sandbox"
    assert run("find /var/log /var/cache/apt/archives /var/lib/apt/lists -type f ! -name lock").strip() == ""
    assert run("ls /usr/share/man /usr/share/locale 2>/dev/null | grep -v : || true").split() == []


def test_compiled_python_does_not_depend_on_time_stamps(run: Run) -> None:
    """The archive's are not those of the packages; bit 0 of the flags says that a hash of the source counts."""
    program = """
import importlib.util, pathlib, struct
roots = [*pathlib.Path("/usr/lib").glob("python3*"), *pathlib.Path("/usr/local/lib").glob("python3*")]
sources = [source for root in roots for source in root.glob("**/*.py")]
compiled = [pathlib.Path(importlib.util.cache_from_source(str(source))) for source in sources]
flags = [struct.unpack_from("<I", path.read_bytes(), 4)[0] for path in compiled if path.exists()]
assert len(flags) > 500 and all(flag & 1 for flag in flags), len(flags)
"""
    run(f"python3 - <<'END'\n{program}\nEND")
