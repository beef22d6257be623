"""Operations on files, but for their content."""

from typing import Any

from starlette.responses import Response

from moonpool.dialects.common.bulk import json_list
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.file_words import file_document, is_folder
from moonpool.dialects.daytona.toolbox.models import ReplaceRequest
from moonpool.errors import InvalidInput, IsADirectory
from moonpool.files.paths import checked_mode

CREATED, NO_CONTENT = 201, 204
MAX_DEPTH = 64
WORK_FOLDER = "."
FOLDER_MODE = "755"


async def list_files(call: Call) -> Response:
    depth = call.integer("depth", 1, 1, MAX_DEPTH)
    path = call.connection.query_params.get("path") or WORK_FOLDER
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        entries = await files.entries(path, depth)
    return json_list(entries, file_document)


async def describe(call: Call) -> Response:
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        return json_response(file_document(await files.stat(call.query("path"))))


async def create_folder(call: Call) -> Response:
    """A folder that is there already is as good as a new one."""
    mode = checked_mode(call.connection.query_params.get("mode") or FOLDER_MODE)
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        await files.mkdir(call.query("path"), mode)
    return Response(status_code=CREATED)


async def delete(call: Call) -> Response:
    path, recursive = call.query("path"), call.flag("recursive")
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        if not recursive and is_folder(await files.stat(path, follow=False)):
            raise IsADirectory("cannot delete directory without recursive flag")
        await files.remove(path, recursive=recursive)
    return Response(status_code=NO_CONTENT)


async def move(call: Call) -> Response:
    """Into an existing folder nothing is moved and nothing existing is overwritten: that is a conflict."""
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        await files.move(call.query("source"), call.query("destination"), overwrite=False)
    return Response()


async def set_permissions(call: Call) -> Response:
    given = call.connection.query_params
    mode = checked_mode(given["mode"]) if given.get("mode") else None
    owner, group = given.get("owner") or None, given.get("group") or None
    if mode is None and owner is None and group is None:
        raise InvalidInput("mode, owner or group is required", field="mode")
    path = call.query("path")
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        if mode is not None:
            await files.set_mode(path, mode)
        if owner or group:
            await files.set_owner(path, owner, group)
    return Response()


async def search(call: Call) -> Response:
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        return json_response({"files": await files.search(call.query("path"), call.query("pattern"))})


async def find(call: Call) -> Response:
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        matches = await files.find(call.query("path"), call.query("pattern"))
    return json_response([{"file": match.file, "line": match.line, "content": match.content} for match in matches])


async def replace(call: Call) -> Response:
    request = await call.body(ReplaceRequest)
    async with call.tools.files.open(call.principal, call.sandbox) as files:
        results = await files.replace(request.files, request.pattern, request.newValue)
    return json_response([replace_document(result.file, result.error) for result in results])


def replace_document(file: str, error: str | None) -> dict[str, Any]:
    document: dict[str, Any] = {"file": file, "success": error is None}
    return document if error is None else {**document, "error": error}
