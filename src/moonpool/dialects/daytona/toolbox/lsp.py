"""Language servers' operations."""

from starlette.responses import Response

from moonpool.dialects.daytona.toolbox.call import Call, json_response
from moonpool.dialects.daytona.toolbox.models import (
    LspCompletionRequest,
    LspDocumentRequest,
    LspServerRequest,
)
from moonpool.languages.model import Position, Project, Symbol

ITEM_FIELDS = ("label", "kind", "detail", "documentation", "sortText", "filterText", "insertText")


async def start(call: Call) -> Response:
    request = await call.body(LspServerRequest)
    await call.unless_gone(call.tools.languages.start(call.principal, call.sandbox, project(request)))
    return Response()


async def stop(call: Call) -> Response:
    request = await call.body(LspServerRequest)
    await call.tools.languages.stop(call.principal, call.sandbox, project(request))
    return Response()


async def did_open(call: Call) -> Response:
    request = await call.body(LspDocumentRequest)
    await call.tools.languages.open(call.principal, call.sandbox, project(request), request.uri)
    return Response()


async def did_close(call: Call) -> Response:
    request = await call.body(LspDocumentRequest)
    await call.tools.languages.close(call.principal, call.sandbox, project(request), request.uri)
    return Response()


async def completions(call: Call) -> Response:
    request = await call.body(LspCompletionRequest)
    position = Position(request.position.line, request.position.character)
    context = request.context.model_dump(exclude_none=True) if request.context else None
    asking = call.tools.languages.completions(
        call.principal, call.sandbox, project(request), request.uri, position, context
    )
    found = await call.unless_gone(asking)
    items = [{name: item[name] for name in ITEM_FIELDS if item.get(name) is not None} for item in found.items]
    return json_response({"isIncomplete": found.incomplete, "items": items})


async def document_symbols(call: Call) -> Response:
    asking = call.tools.languages.document_symbols(call.principal, call.sandbox, asked(call), call.query("uri"))
    return json_response([symbol_document(symbol) for symbol in await call.unless_gone(asking)])


async def workspace_symbols(call: Call) -> Response:
    query = call.connection.query_params.get("query", "")
    asking = call.tools.languages.workspace_symbols(call.principal, call.sandbox, asked(call), query)
    return json_response([symbol_document(symbol) for symbol in await call.unless_gone(asking)])


def project(request: LspServerRequest) -> Project:
    return Project(request.languageId, request.pathToProject)


def asked(call: Call) -> Project:
    return Project(call.query("languageId"), call.query("pathToProject"))


def symbol_document(symbol: Symbol) -> dict[str, object]:
    return {"name": symbol.name, "kind": symbol.kind, "location": {"uri": symbol.uri, "range": symbol.range}}
