"""Unit files on disk: where they are looked for, what they say, whether they are enabled."""

import contextlib
import fnmatch
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..users import read_small
from . import syntax, sysv
from .names import SUFFIXES, instance_of, is_template, template_of

CONFIGURED, RUNTIME = "/etc/systemd/system", "/run/systemd/system"
SEARCH = (
    "/run/systemd/generator.early",
    CONFIGURED,
    RUNTIME,
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)
COMPLETED = "/var/lib/sandbox-units/completed"  # a file for each unit that was removed since it had succeeded
MAX_FILE = 1 << 20  # bytes of one file that are read
SCRIPTS_TARGET = "multi-user.target"  # wants the services that are scripts
OWN_MARK = "# Written through the API."
# What systemd has by itself: milestones of a boot that a sandbox has behind it when its services start.
BUILT_IN = frozenset(
    f"{name}.target"
    for name in (
        "basic", "bluetooth", "cryptsetup", "default", "emergency", "exit", "final", "getty", "getty-pre", "graphical",
        "halt", "initrd", "integritysetup", "local-fs", "local-fs-pre", "multi-user", "network", "network-online",
        "network-pre", "nss-lookup", "nss-user-lookup", "paths", "poweroff", "printer", "reboot", "remote-fs",
        "remote-fs-pre", "rescue", "rpcbind", "shutdown", "sigpwr", "sleep", "slices", "smartcard", "sockets", "sound",
        "swap", "sysinit", "time-set", "time-sync", "timers", "umount", "veritysetup",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Definition:
    """What is known of a unit from its files. ``name`` is its own, which an alias leads to."""

    name: str
    load_state: str
    path: str | None = None
    dropins: tuple[str, ...] = ()
    error: str = ""
    values: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    own: bool = False

    def all(self, section: str, key: str) -> list[str]:
        """Every value that was assigned since the last empty assignment."""
        return self.values.get((section, key), [])

    def last(self, section: str, key: str, default: str = "") -> str:
        values = self.all(section, key)
        return values[-1] if values else default

    def names(self, section: str, key: str) -> list[str]:
        """The words of all its values."""
        return [word for value in self.all(section, key) for word in syntax.words(value)]


class Look:
    """What was seen of the folders and files so far."""

    def __init__(self) -> None:
        self.folders: dict[str, list[str]] = {}
        self.definitions: dict[str, Definition] = {}


_look: Look | None = None


@contextlib.contextmanager
def one_look() -> Iterator[None]:
    """Within the block everything is looked at once: a start asks for hundreds of files, most of which are not there,
    and each such question is a call of gVisor's to the outside. The block neither waits nor changes unit files."""
    global _look
    if _look is not None:
        yield
        return
    _look = Look()
    try:
        yield
    finally:
        _look = None


def find(name: str) -> str | None:
    """The first file or link of that very name."""
    for folder in SEARCH:
        path = f"{folder}/{name}"
        if os.path.lexists(path) if _look is None else name in _listed(folder):
            return path
    return None


def read(name: str) -> Definition:
    """The unit of that name, wherever an alias or a template leads."""
    if _look is None:
        return _read(name)
    if name not in _look.definitions:
        _look.definitions[name] = _read(name)
    return _look.definitions[name]


def _read(name: str) -> Definition:
    path = find(name)
    if path is None and instance_of(name):
        path = find(template_of(name))
    if path is None:
        return _without_file(name)
    if _is_mask(path):
        return Definition(name, "masked", path)
    target = _target(path)
    if target is not None and target != name and template_of(name) != target and not is_template(name):
        own = target.replace("@.", f"@{instance_of(name)}.") if is_template(target) else target
        if own != name:
            return read(own) if find(target) else _parsed(name, path)
    return _parsed(name, path)


def _without_file(name: str) -> Definition:
    if (script := sysv.script_of(name)) is not None:
        return Definition(name, "loaded", script, values=sysv.settings(script))
    dropins = _dropins(name)
    if name in BUILT_IN or dropins:
        return _parsed(name, None) if name in BUILT_IN else Definition(name, "not-found")
    return Definition(name, "not-found")


def _parsed(name: str, path: str | None) -> Definition:
    dropins = tuple(_dropins(name))
    values: dict[tuple[str, str], list[str]] = {}
    own = False
    for source in (path, *dropins):
        if source is None:
            continue
        text = read_small(source, MAX_FILE).decode(errors="replace")
        own = own or (source == path and text.startswith(OWN_MARK))
        for section, key, value in syntax.settings(text):
            if value:
                values.setdefault((section, key), []).append(value)
            else:
                values[section, key] = []
    if path is not None and not os.path.isfile(path):
        return Definition(name, "not-found")
    return Definition(name, "loaded", path, dropins, values=values, own=own)


def _dropins(name: str) -> list[str]:
    """By file name, the first folder's winning; a link to /dev/null takes one out."""
    found: dict[str, str] = {}
    folders = [f"{name}.d"] if not instance_of(name) else [f"{name}.d", f"{template_of(name)}.d"]
    for folder in (f"{top}/{each}" for each in folders for top in SEARCH):
        for file in _listed(folder):
            if file.endswith(".conf"):
                found.setdefault(file, f"{folder}/{file}")
    return [path for _, path in sorted(found.items()) if not _is_mask(path)]


def linked(name: str, kind: str) -> list[str]:
    """Names in the folders ``NAME.wants`` or ``NAME.requires``."""
    folders = [f"{name}.{kind}"] if not instance_of(name) else [f"{name}.{kind}", f"{template_of(name)}.{kind}"]
    found = [file for folder in folders for top in SEARCH for file in _listed(f"{top}/{folder}")]
    if (name, kind) == (SCRIPTS_TARGET, "wants"):
        found += [each for each in sysv.started() if find(each) is None]
    return list(dict.fromkeys(file for file in found if file.endswith(SUFFIXES)))


def known() -> list[str]:
    """Names of all files, templates too."""
    return sorted({file for folder in SEARCH for file in _listed(folder) if file.endswith(SUFFIXES)})


def _listed(folder: str) -> list[str]:
    if _look is None:
        return _entries(folder)
    top, _, name = folder.rpartition("/")
    if top in SEARCH and name not in _listed(top):
        return []
    if folder not in _look.folders:
        _look.folders[folder] = _entries(folder)
    return _look.folders[folder]


def _entries(folder: str) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(os.listdir(folder))
    return []


def _is_mask(path: str) -> bool:
    if not os.path.islink(path):
        return os.path.isfile(path) and os.path.getsize(path) == 0 and path.startswith((CONFIGURED, RUNTIME))
    return os.path.realpath(path) == "/dev/null"


def _target(path: str) -> str | None:
    """The name that a link, over others, ends at; None for a file."""
    if not os.path.islink(path):
        return None
    target = os.path.basename(os.path.realpath(path))
    return target if target.endswith(SUFFIXES) else None


# -- enabling ----------------------------------------------------------------------------------------------------------


def file_state(name: str) -> str | None:
    """What ``systemctl is-enabled`` says; None where there is no file."""
    path = find(name) or (find(template_of(name)) if instance_of(name) else None)
    if path is None:
        return "generated" if sysv.script_of(name) else None
    if _is_mask(path):
        return "masked-runtime" if path.startswith(RUNTIME) else "masked"
    target = _target(path)
    if target is not None and target not in (name, template_of(name)):
        return "alias"
    for folder, state in ((CONFIGURED, "enabled"), (RUNTIME, "enabled-runtime")):
        if any(True for _ in _links_in(folder, name)):
            return state
    if path.startswith(RUNTIME):
        return "transient" if not _installs(name) else "disabled"
    if target is not None and not os.path.realpath(path).startswith(SEARCH):
        return "linked"
    return "disabled" if _installs(name) else "static"


def _installs(name: str) -> bool:
    definition = read(name)
    return any(definition.all("Install", key) for key in ("WantedBy", "RequiredBy", "Alias", "Also", "UpheldBy"))


def _links_in(folder: str, name: str) -> Iterator[str]:
    """Links that enable it: in folders of what wants it, and aliases."""
    for entry in _listed(folder):
        path = f"{folder}/{entry}"
        if entry.endswith((".wants", ".requires")):
            if os.path.islink(f"{path}/{name}"):
                yield f"{path}/{name}"
        elif os.path.islink(path) and entry != name and os.path.basename(os.readlink(path)) == name:
            yield path


def enable(name: str, *, runtime: bool = False) -> list[tuple[str, str]]:
    """Make the links that [Install] asks for, of other units named by ``Also=`` too; those that are new."""
    folder = RUNTIME if runtime else CONFIGURED
    made: list[tuple[str, str]] = []
    for each in _with_also(name):
        definition = read(each)
        path = find(each) or find(template_of(each))
        if path is None:
            continue
        instance = each
        if is_template(each):
            default = definition.last("Install", "DefaultInstance")
            if not default:
                continue
            instance = each.replace("@.", f"@{default}.")
        wanted = [(f"{folder}/{target}.wants/{instance}", path) for target in definition.names("Install", "WantedBy")]
        wanted += [
            (f"{folder}/{target}.requires/{instance}", path) for target in definition.names("Install", "RequiredBy")
        ]
        wanted += [(f"{folder}/{alias}", path) for alias in definition.names("Install", "Alias")]
        made += [(link, target) for link, target in wanted if _make_link(link, target)]
    return made


def _with_also(name: str) -> Iterable[str]:
    names = [name]
    for each in names:
        names += [other for other in read(each).names("Install", "Also") if other not in names and len(names) < 64]
    return names


def disable(name: str) -> list[str]:
    """Remove every link that enables it; those that were there."""
    removed = []
    for each in _with_also(name):
        for folder in (CONFIGURED, RUNTIME):
            for link in list(_links_in(folder, each)):
                os.unlink(link)
                removed.append(link)
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(link)) if link.startswith(f"{folder}/") and "." in link else None
    return removed


def mask(name: str, *, runtime: bool = False) -> str | None:
    """The link that was made; None when it is masked already. FileExistsError where a file is in its place."""
    link = f"{RUNTIME if runtime else CONFIGURED}/{name}"
    if os.path.lexists(link) and _is_mask(link):
        return None
    os.makedirs(os.path.dirname(link), exist_ok=True)
    os.symlink("/dev/null", link)
    return link


def unmask(name: str) -> list[str]:
    links = [f"{folder}/{name}" for folder in (CONFIGURED, RUNTIME)]
    removed = [link for link in links if os.path.islink(link) and _is_mask(link)]
    for link in removed:
        os.unlink(link)
    return removed


def write(name: str, text: str) -> None:
    """A file below the folder of the machine's own units; it appears whole."""
    path = f"{CONFIGURED}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(temporary, 0o644)
    os.rename(temporary, path)


def remove(name: str) -> bool:
    """Its file and drop-ins among the machine's own units; whether there was a file."""
    path = f"{CONFIGURED}/{name}"
    there = os.path.lexists(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    for file in _listed(f"{path}.d"):
        os.unlink(f"{path}.d/{file}")
    with contextlib.suppress(OSError):
        os.rmdir(f"{path}.d")
    return there


def complete(name: str) -> None:
    """It has done what it was for, once and for all: its file goes, and who requires it needs it no more."""
    disable(name)
    remove(name)
    os.makedirs(COMPLETED, exist_ok=True)
    with open(f"{COMPLETED}/{name}", "w"):
        pass


def is_completed(name: str) -> bool:
    return os.path.exists(f"{COMPLETED}/{name}")


def _make_link(link: str, target: str) -> bool:
    if os.path.islink(link) and os.readlink(link) == target:
        return False
    os.makedirs(os.path.dirname(link), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link)
    os.symlink(target, link)
    return True


def is_linkable(path: str) -> bool:
    return path.startswith("/") and os.path.isfile(path)


def link(name: str, path: str) -> bool:
    """Have a file elsewhere be the unit of that name; whether that is new."""
    return _make_link(f"{CONFIGURED}/{name}", path)


def matching(names: Iterable[str], pattern: str) -> list[str]:
    return [name for name in names if fnmatch.fnmatchcase(name, pattern)]
