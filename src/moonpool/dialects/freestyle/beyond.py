"""What Freestyle has beside VMs, and this server has not: each path is answered with what there is instead."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moonpool.dialects.freestyle.errors import envelope

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SDK = "This server speaks Freestyle's /v1: install freestyle@0.1.63 or freestyle-sandboxes"
REASONS = {
    "/v5": SDK,
    "/git/v1": "There are no hosted Git repositories here: clone yours from where they are",
    "/execute": "There are no serverless runs here: run the code in a VM",
    "/web/v1": "There are no web deployments here: serve from a VM, on a domain that is mapped to it",
    "/dns/v1": "This server manages no DNS: set records where your domain is kept",
    "/v1/cron": "There are no schedules here: use a systemd timer in a VM",
    "/v1/vpcs": "VMs have no private networks here",
}
"""By prefix."""


async def refuse(request: Request) -> Response:
    prefix = next(prefix for prefix in REASONS if request.url.path.startswith(prefix))
    return envelope(404, "NOT_FOUND", REASONS[prefix])


def routes() -> list[Route]:
    return [Route(f"{prefix}{{rest:anything}}", refuse, methods=METHODS) for prefix in REASONS]
