"""One request, with all that its handler needs."""

from dataclasses import dataclass

from moonpool.dialects.codesandbox.pitcher.client import Client
from moonpool.dialects.codesandbox.pitcher.hub import Hub
from moonpool.dialects.codesandbox.pitcher.params import Params
from moonpool.dialects.codesandbox.pitcher.tokens import Grant


@dataclass(frozen=True)
class Call:
    """``number`` is the request's id."""

    client: Client
    hub: Hub
    params: Params
    number: int | None

    @property
    def grant(self) -> Grant:
        return self.client.grant

    def hold(self, subject: str) -> None:
        """What is told of it, a shell by its id or ``PORTS``, comes after the response, with a little time between."""
        self.client.hold(subject, self.number)
