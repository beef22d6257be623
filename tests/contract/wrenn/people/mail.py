"""A real mail server on loopback, that keeps what it is given."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "moonpool", "mail password"


class MailServer:
    def __init__(self) -> None:
        self.port = 0
        self.mails: asyncio.Queue[tuple[list[str], EmailMessage]] = asyncio.Queue()
        self.refusing = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refusing:
            return "554 Not today"
        message = cast(EmailMessage, message_from_bytes(envelope.original_content or b"", policy=policy.default))
        self.mails.put_nowait((envelope.rcpt_tos, message))
        return "250 OK"

    async def token(self, to: str) -> str:
        """That of the next mail, which goes to ``to`` and nobody else."""
        recipients, message = await self.mails.get()
        assert recipients == [to]
        assert message["To"] == to
        return message.get_content().partition("?token=")[2].split()[0]


def known(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right)


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    mail, loop = MailServer(), asyncio.get_running_loop()

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Passwords without TLS: on loopback, in a test.
            return SMTP(
                mail, hostname="localhost", authenticator=known, auth_required=True, auth_require_tls=False, loop=loop
            )

    server = await loop.create_server(protocol, "127.0.0.1", 0)
    async with server:
        mail.port = server.sockets[0].getsockname()[1]
        yield mail
