"""What ADD fetches: a file of an address, or a git repository. A sandbox of the base image does it, which reaches
whatever sandboxes may reach and nothing else."""

import re
import shlex
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from moonpool.builds.dockerfile import Instruction

FOLDER = "/fetched"
HTTP = re.compile(r"https?://", re.IGNORECASE)
REPOSITORY = re.compile(r"(?:git|ssh)://|git@[\w.-]+:|https?://[^?#]+\.git(?:#|$)", re.IGNORECASE)
REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+@-]{0,250}")
CHECKSUM = re.compile(r"sha256:([0-9a-f]{64})")
NAME = re.compile(r"[^/\0]{1,200}")
# Not "git clone": a commit can be asked for as well as a branch, and nothing of the repository's is run.
CLONE = """\
set -e
git init -q {folder}
cd {folder}
git -c protocol.file.allow=never fetch -q --depth 1 -- {address} {ref}
git -c advice.detachedHead=false checkout -q FETCH_HEAD
git -c protocol.file.allow=never submodule update -q --init --recursive --depth 1
"""
FETCH = """\
set -e
mkdir {folder}
curl --fail --silent --show-error --location --max-redirs 10 --proto =http,https --proto-redir =http,https \\
    --remote-time --output {path} -- {address}
chmod 600 {path}
"""


@dataclass(frozen=True)
class Remote:
    """``script`` brings it; what is to be copied is at ``pattern`` afterwards. ``fixed``: it is never another."""

    address: str
    script: str
    pattern: str
    folder: bool
    fixed: bool = False


def is_remote(source: str) -> bool:
    return bool(HTTP.match(source) or REPOSITORY.match(source))


def remote_of(instruction: Instruction, source: str) -> Remote:
    """BuildInvalid for one that cannot be fetched."""
    return repository(instruction, source) if REPOSITORY.match(source) else file(instruction, source)


def repository(instruction: Instruction, source: str) -> Remote:
    address, _, fragment = source.partition("#")
    if not HTTP.match(address):
        raise instruction.wrong(
            f"ADD of {address} is not supported: builds have no keys for SSH",
            hint="Use the repository's https address.",
        )
    ref, _, folder = fragment.partition(":")
    ref = ref or "HEAD"
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    if not REF.fullmatch(ref) or ".." in parts:
        raise instruction.wrong(f"Not a branch, tag or commit and a folder: {fragment!r}", hint="As #main:docs.")
    script = CLONE.format(folder=FOLDER, address=shlex.quote(address), ref=shlex.quote(ref))
    if not instruction.is_set("keep-git-dir"):
        script += "find . -name .git -prune -exec rm -rf {} +\n"
    return Remote(source, script, "/".join((FOLDER, *(escaped(part) for part in parts))), folder=True)


def file(instruction: Instruction, source: str) -> Remote:
    try:
        name = unquote(urlsplit(source).path).rpartition("/")[2]
    except ValueError as error:
        raise instruction.wrong(f"Not an address: {source!r}") from error
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise instruction.wrong(f"The address {source} does not end with a file's name")
    path = shlex.quote(f"{FOLDER}/{name}")
    script = FETCH.format(folder=FOLDER, path=path, address=shlex.quote(source))
    checksum = instruction.flag("checksum")
    if checksum is not None:
        found = CHECKSUM.fullmatch(checksum)
        if found is None:
            raise instruction.wrong(f"--checksum takes sha256:..., not {checksum!r}")
        script += f"""test "$(sha256sum < {path} | cut -d ' ' -f 1)" = {found[1]} || {{
    echo "its checksum is another: sha256:$(sha256sum < {path} | cut -d ' ' -f 1)" >&2
    exit 1
}}
"""
    return Remote(source, script, f"{FOLDER}/{escaped(name)}", folder=False, fixed=checksum is not None)


def escaped(name: str) -> str:
    return re.sub(r"([\\*?\[])", r"\\\1", name)
