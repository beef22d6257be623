"""Recordings of the desktop, and the elements that its programs tell of."""

from starlette.responses import Response

from moonpool.desktop.accessibility import DEFAULT_LIMIT, DEPTH_LIMIT, Scope, Search
from moonpool.desktop.model import Recording
from moonpool.dialects.daytona.timestamps import timestamp
from moonpool.dialects.daytona.toolbox import desktop_models as models
from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.transfer import send_path

CREATED, NO_CONTENT = 201, 204
LARGEST_PID = 2**22


async def list_recordings(call: Call) -> Response:
    async with call.tools.desktop.recordings(call.principal, call.sandbox) as recordings:
        found = await recordings.all()
    return json_response({"recordings": [recording_document(recording) for recording in found]})


async def start_recording(call: Call) -> Response:
    request = await call.optional_body(models.StartRecordingRequest)
    async with call.tools.desktop.recordings(call.principal, call.sandbox) as recordings:
        return json_response(recording_document(await recordings.start(request.label or "")), CREATED)


async def stop_recording(call: Call) -> Response:
    request = await call.body(models.RecordingRequest)
    async with call.tools.desktop.recordings(call.principal, call.sandbox) as recordings:
        return json_response(recording_document(await recordings.stop(request.id)))


async def get_recording(call: Call) -> Response:
    async with call.tools.desktop.recordings(call.principal, call.sandbox) as recordings:
        return json_response(recording_document(await recordings.get(call.parameters["recording"])))


async def delete_recording(call: Call) -> Response:
    async with call.tools.desktop.recordings(call.principal, call.sandbox) as recordings:
        await recordings.delete(call.parameters["recording"])
    return Response(status_code=NO_CONTENT)


async def download_recording(call: Call) -> None:
    async with call.tools.desktop.recordings(call.principal, call.sandbox) as recordings:
        path = (await recordings.get(call.parameters["recording"])).path
    await send_path(call, path)


def recording_document(recording: Recording) -> dict[str, object]:
    document: dict[str, object] = {
        "id": recording.id,
        "fileName": recording.name,
        "filePath": recording.path,
        "startTime": timestamp(recording.started_at),
        "status": "recording" if recording.running else "completed",
    }
    if recording.ended_at is not None:
        document |= {"endTime": timestamp(recording.ended_at), "durationSeconds": recording.seconds}
    return document if recording.size_bytes is None else {**document, "sizeBytes": recording.size_bytes}


async def tree(call: Call) -> Response:
    given = call.connection.query_params
    depth = call.integer("maxDepth", 0, 0, DEPTH_LIMIT) if given.get("maxDepth") else None
    pid = call.integer("pid", 0, 1, LARGEST_PID) if given.get("pid") else None
    async with call.tools.desktop.accessibility(call.principal, call.sandbox) as elements:
        root, cut = await call.unless_gone(elements.tree(Scope(given.get("scope") or "all", pid), depth))
    return json_response({"root": root, "truncated": cut})


async def find(call: Call) -> Response:
    request = await call.body(models.FindNodesRequest)
    search = Search(
        role=request.role,
        name=request.name,
        match=request.nameMatch or "substring",
        states=tuple(request.states or ()),
        limit=request.limit or DEFAULT_LIMIT,
    )
    async with call.tools.desktop.accessibility(call.principal, call.sandbox) as elements:
        matches, cut = await call.unless_gone(elements.find(Scope(request.scope or "all", request.pid), search))
    return json_response({"matches": matches, "truncated": cut})


async def focus(call: Call) -> Response:
    request = await call.body(models.NodeRequest)
    async with call.tools.desktop.accessibility(call.principal, call.sandbox) as elements:
        await elements.focus(request.id)
    return json_response({})


async def invoke(call: Call) -> Response:
    request = await call.body(models.InvokeNodeRequest)
    async with call.tools.desktop.accessibility(call.principal, call.sandbox) as elements:
        await elements.invoke(request.id, request.action)
    return json_response({})


async def set_value(call: Call) -> Response:
    request = await call.body(models.NodeValueRequest)
    async with call.tools.desktop.accessibility(call.principal, call.sandbox) as elements:
        await elements.set_value(request.id, request.value or "")
    return json_response({})
