"""The files with which a sandbox is created."""

import base64
import binascii
import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from moonpool.dialects.codesandbox.call import Call
from moonpool.dialects.codesandbox.mapping import USER, WORKSPACE
from moonpool.dialects.codesandbox.schemas import Files
from moonpool.errors import InvalidInput
from moonpool.sandboxes.model import Sandbox

MAX_FILES = 10_000
MAX_PATH = 4000  # characters
PACKAGE = "package.json"


@dataclass(frozen=True)
class Package:
    """What a request says of package.json: ``entry`` is the file that runs first, unless the file itself names one."""

    entry: str | None = None
    dependencies: Mapping[str, str] | None = None


def contents(files: Mapping[str, Files], package: Package) -> dict[str, bytes]:
    """Bytes by absolute path. InvalidInput names the file that is wrong."""
    if len(files) > MAX_FILES:
        raise InvalidInput(f"At most {MAX_FILES} files", field="files")
    found = {normalised(path): data_of(path, file) for path, file in files.items()}
    if package.dependencies or package.entry:
        found[PACKAGE] = completed(found.get(PACKAGE, b"{}"), package)
    return {f"{WORKSPACE}/{path}": data for path, data in found.items()}


def normalised(path: str) -> str:
    """Relative to the workspace, which nothing leaves."""
    relative = posixpath.normpath(path.lstrip("/"))
    if not path or len(path) > MAX_PATH or path.endswith("/") or relative in (".", "..") or relative.startswith("../"):
        raise InvalidInput(f"files: {path[:128]!r} is no path of a file in the sandbox", field="files")
    return relative


def data_of(path: str, file: Files) -> bytes:
    if not file.is_binary:
        return (file.code or "").encode()
    try:
        return base64.b64decode(file.binary_content or "", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(f"files: {path[:128]!r}: binary_content is not Base64", field="files") from None


def completed(file: bytes, package: Package) -> bytes:
    try:
        document = json.loads(file)
        if package.entry:
            document.setdefault("main", package.entry)
        if package.dependencies:
            document.setdefault("dependencies", {}).update(package.dependencies)
    except (ValueError, AttributeError, RecursionError):
        message = f"files: {PACKAGE} is no JSON object that entry and npm_dependencies could be added to"
        raise InvalidInput(message, field="npm_dependencies") from None
    return json.dumps(document, indent=2, ensure_ascii=False).encode()


async def write_contents(call: Call, sandbox: Sandbox, files: Mapping[str, bytes]) -> None:
    async with call.services.sandboxes.session(call.principal, sandbox.id) as session:
        for path, data in files.items():
            async with session.agent.write(path, size=len(data), user=USER) as writer:
                await writer.write(data)
