"""Around a dialect's application: changes and refusals go into the audit log, after the answer and off its path."""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moonpool.audit.model import Deed
from moonpool.audit.service import AuditService
from moonpool.clock import Clock
from moonpool.dialects.common.authentication import asker_of
from moonpool.dialects.common.deeds import CHANGING, Act, act_of

MAX_ANSWER = 64 * 1024  # bytes of a JSON answer that are looked into
REFUSALS = frozenset({401, 403, 429})
UNROUTED = frozenset({404, 405})
ACT = "moonpool.act"  # in the scope of a request: its Act, where its path does not tell it


class Audited:
    """``api`` is the dialect's name."""

    def __init__(self, application: ASGIApp, api: str, audit: AuditService, clock: Clock) -> None:
        self._application = application
        self._api = api
        self._audit = audit
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        watched = Watched(send, changing=scope.get("method") in CHANGING)
        try:
            await self._application(scope, receive, watched)
        except Exception:
            watched.status = watched.status or 500
            raise
        finally:
            self._note(scope, watched)

    def _note(self, scope: Scope, answer: "Watched") -> None:
        """A request whose client was gone before an answer is not known to have done anything."""
        refused = answer.status in REFUSALS
        if not refused and not (scope.get("method") in CHANGING and answer.status):
            return
        parameters = scope.get("path_params") or {}
        if answer.status in UNROUTED and not scope.get("endpoint"):
            return
        act: Act = scope.get(ACT) or act_of(scope.get("method", "GET"), scope["path"], parameters)
        if refused or not act.inside:
            self._audit.note(self._deed(scope, act, answer))

    def _deed(self, scope: Scope, act: Act, answer: "Watched") -> Deed:
        asker = asker_of(scope)
        client = scope.get("client")
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
        return Deed(
            api=self._api,
            action=act.action,
            target_type=act.target_type,
            target_id=act.target_id,
            status=answer.status,
            at=self._clock.now(),
            team_id=asker.team_id if asker else None,
            user_id=asker.user_id if asker else None,
            key_id=asker.key_id if asker else None,
            address=client[0] if client else None,
            agent=agent.decode("latin-1"),
            request_id=structlog.contextvars.get_contextvars().get("request_id"),
            answer=bytes(answer.body),
            details=act.details,
        )


class Watched:
    """A ``send`` that keeps the status and, of what changes something, the beginning of a JSON answer."""

    def __init__(self, send: Send, *, changing: bool) -> None:
        self.status = 0
        self.body = bytearray()
        self._send = send
        self._changing = changing
        self._json = False

    async def __call__(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            content_type = next((value for name, value in message.get("headers", ()) if name == b"content-type"), b"")
            self._json = (self._changing or self.status in REFUSALS) and content_type.startswith(b"application/json")
        elif self._json and (body := message.get("body")) and len(self.body) < MAX_ANSWER:
            self.body += body[: MAX_ANSWER - len(self.body)]
        await self._send(message)
