"""Daytona's toolbox: what is done inside a sandbox, at ``/toolbox/{sandboxId}/...``.

Old clients reach the same operations behind the platform's own address, ``/api/toolbox/{sandboxId}/toolbox/...``.
"""

from starlette.routing import BaseRoute, Route, WebSocketRoute

from moonpool.dialects.common.services import Services
from moonpool.dialects.daytona.toolbox.application import Toolbox
from moonpool.dialects.daytona.toolbox.call import Tools

PATHS = ("/toolbox/{sandbox_id}/{path:path}", "/api/toolbox/{sandbox_id}/toolbox/{path:path}")


def create_routes(services: Services) -> list[BaseRoute]:
    """Routes for the Daytona application; put first, they are found first. They answer their own errors."""
    toolbox = Toolbox(Tools.of(services))
    return [kind(path, toolbox) for path in PATHS for kind in (Route, WebSocketRoute)]
