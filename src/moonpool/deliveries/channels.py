"""Use cases of channels: where a team is told of its events, in chats or by a webhook."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from moonpool.access.model import Principal, Scope
from moonpool.access.service import AccessService
from moonpool.clock import Clock
from moonpool.deliveries.book import ReceiverBook
from moonpool.deliveries.model import Kind, Provider, Receiver
from moonpool.deliveries.providers import SECRET, checked, letter_of, put, test_body
from moonpool.deliveries.signing import new_secret
from moonpool.errors import InvalidInput
from moonpool.ids import new_uuid
from moonpool.outbound import Outbound, Unreachable

MAX_NAME = 100  # characters
TEST = "test"


class ChannelService:
    """For a team's admins. No answer has anything of a configuration, but for a webhook's secret once."""

    def __init__(
        self,
        access: AccessService,
        book: ReceiverBook,
        outbound: Outbound,
        kinds: Collection[str],
        telegram: str,
        clock: Clock,
    ) -> None:
        self._access, self._book, self._outbound = access, book, outbound
        self._kinds, self._telegram, self._clock = kinds, telegram, clock

    def list(self, principal: Principal) -> list[Receiver]:
        self._access.require(principal, Scope.ADMIN)
        return self._book.of(principal.team_id, Kind.CHANNEL)

    def get(self, principal: Principal, channel: str) -> Receiver:
        """ReceiverNotFound."""
        self._access.require(principal, Scope.ADMIN)
        return self._book.find(principal.team_id, Kind.CHANNEL, channel)

    async def create(
        self, principal: Principal, name: str, provider: Provider, config: Mapping[str, str], events: Collection[str]
    ) -> tuple[Receiver, str | None]:
        """With the secret of a webhook. InvalidInput, NameTaken, LimitExceeded."""
        self._access.require(principal, Scope.ADMIN)
        kept = await self._kept(principal.team_id, provider, config)
        now = self._clock.now()
        receiver = Receiver(
            id=new_uuid(),
            team_id=principal.team_id,
            kind=Kind.CHANNEL,
            provider=provider,
            name=check_name(name),
            description="",
            events=self._checked(events),
            config=self._book.seal(kept),
            enabled=True,
            disabled_reason=None,
            failing_since=None,
            created_at=now,
            updated_at=now,
        )
        await self._book.add(receiver)
        return receiver, kept.get(SECRET)

    async def update(self, principal: Principal, channel: str, name: str, events: Collection[str]) -> Receiver:
        """InvalidInput, NameTaken. One that was disabled after long failure is enabled again."""
        old = self.get(principal, channel)
        name, wanted = check_name(name), self._checked(events)
        return await self._book.write(self._renewed(replace(old, name=name, events=wanted)))

    async def rotate(
        self, principal: Principal, channel: str, config: Mapping[str, str]
    ) -> tuple[Receiver, str | None]:
        """Another configuration instead of the old one. A webhook's secret that is made here is told."""
        old = self.get(principal, channel)
        kept = await self._kept(principal.team_id, old.provider, config)
        new = await self._book.write(self._renewed(replace(old, config=self._book.seal(kept))))
        return new, None if SECRET in config else kept.get(SECRET)

    async def delete(self, principal: Principal, channel: str) -> None:
        await self._book.remove(self.get(principal, channel))

    async def test(self, principal: Principal, provider: Provider, config: Mapping[str, str]) -> None:
        """Send a message by this configuration, and keep nothing. InvalidInput where it does not arrive."""
        self._access.require(principal, Scope.ADMIN)
        kept, now = await self._kept(principal.team_id, provider, config), self._clock.now()
        letter = letter_of(f"msg_{new_uuid().replace('-', '')}", now, TEST, test_body(now))
        post = put(provider, kept, letter, self._telegram)
        try:
            reply = await self._outbound.send(
                post.method, post.url, post.headers, post.content, owner=principal.team_id
            )
        except Unreachable as error:
            raise InvalidInput(f"The message was not delivered: {error}", field="config") from None
        if not reply.is_success:
            message = f"The message was not delivered: the receiver answered {reply.status}"
            raise InvalidInput(message, field="config")

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _kept(self, team_id: str, provider: Provider, config: Mapping[str, str]) -> dict[str, str]:
        kept = await checked(provider, config, partial(self._outbound.check, owner=team_id))
        if provider is Provider.WEBHOOK and SECRET not in kept:
            kept[SECRET] = new_secret()
        return kept

    def _renewed(self, receiver: Receiver) -> Receiver:
        now = self._clock.now()
        return replace(receiver, enabled=True, disabled_reason=None, failing_since=None, updated_at=now)

    def _checked(self, events: Collection[str]) -> tuple[str, ...]:
        if not events:
            raise InvalidInput("events: at least one", field="events")
        for event in events:
            if event not in self._kinds:
                hint = f"There are {', '.join(sorted(self._kinds))}."
                raise InvalidInput(f"events: no such event: {event[:50]!r}", field="events", hint=hint)
        return tuple(dict.fromkeys(events))


def check_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
        raise InvalidInput(f"name: 1 to {MAX_NAME} printable characters, no space at its ends", field="name")
    return name
