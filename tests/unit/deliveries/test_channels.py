"""Each kind of channel, in the words of its receiver."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest
from standardwebhooks import Webhook

from moonpool.deliveries.model import Provider
from moonpool.errors import InvalidInput, NameTaken
from moonpool.store.database import Store
from tests.conftest import ManualClock
from tests.receivers import HttpReceiver
from tests.unit.deliveries.conftest import Sending, started

EVENTS = ["sandbox.created"]
TOKEN = "12345:abcdefghijklmnop"
TEXT = "[Moonpool] sandbox.created"


@pytest.fixture
async def sending(store: Store, clock: ManualClock, receiver: HttpReceiver) -> AsyncIterator[Sending]:
    async with AsyncExitStack() as stack:
        yield await started(stack, store, clock, f"http://127.0.0.1:{receiver.port}")


def configurations(receiver: HttpReceiver) -> dict[Provider, Mapping[str, str]]:
    here = receiver.url
    simple = (Provider.DISCORD, Provider.SLACK, Provider.TEAMS, Provider.GOOGLECHAT)
    matrix = {"homeserver_url": f"http://127.0.0.1:{receiver.port}/", "access_token": "t0k", "room_id": "!room:example"}
    return {
        **{provider: {"webhook_url": f"{here}/{provider}"} for provider in simple},
        Provider.TELEGRAM: {"bot_token": TOKEN, "chat_id": "-100"},
        Provider.MATRIX: matrix,
        Provider.WEBHOOK: {"url": here, "secret": "a word of the user's"},
    }


EXPECTED: Mapping[Provider, tuple[str, str, Mapping[str, Any]]] = {
    Provider.DISCORD: ("POST", "/hook/discord", {"content": TEXT, "allowed_mentions": {"parse": []}}),
    Provider.SLACK: ("POST", "/hook/slack", {"text": TEXT}),
    Provider.GOOGLECHAT: ("POST", "/hook/googlechat", {"text": TEXT}),
    Provider.TELEGRAM: ("POST", f"/bot{TOKEN}/sendMessage", {"chat_id": "-100", "text": TEXT}),
    Provider.MATRIX: ("PUT", "/_matrix/client/v3/rooms/%21room%3Aexample/", {"msgtype": "m.notice", "body": TEXT}),
    Provider.WEBHOOK: ("POST", "/hook", {"event": "sandbox.created", "id": "box"}),
}


async def test_every_kind_is_told(sending: Sending, receiver: HttpReceiver) -> None:
    for provider, config in configurations(receiver).items():
        await sending.channels.create(sending.admin, str(provider), provider, config, EVENTS)
    await sending.tell("box")
    got = await receiver.wait(len(Provider))
    for method, path, body in EXPECTED.values():
        assert body in [json.loads(one.body) for one in got if one.path.startswith(path) and one.method == method]
    (card,) = [json.loads(one.body) for one in got if one.path == "/hook/teams"]
    assert card["attachments"][0]["content"]["body"][0]["text"] == TEXT
    (matrix,) = [one for one in got if one.method == "PUT"]
    assert matrix.headers["authorization"] == "Bearer t0k"
    (hook,) = [one for one in got if one.path == "/hook"]
    signer = Webhook(b"a word of the user's")
    assert hook.headers["webhook-signature"] == signer.sign(hook.headers["webhook-id"], sending.clock.now(), hook.body)


async def test_a_test_keeps_nothing(sending: Sending, receiver: HttpReceiver) -> None:
    for provider, config in configurations(receiver).items():
        await sending.channels.test(sending.admin, provider, config)
    assert len(receiver.got) == len(Provider)
    assert sending.channels.list(sending.admin) == []
    receiver.status = 404
    with pytest.raises(InvalidInput, match="answered 404"):
        await sending.channels.test(sending.admin, Provider.SLACK, {"webhook_url": receiver.url})


async def test_failures_are_tried_again(sending: Sending, receiver: HttpReceiver) -> None:
    receiver.status = 502
    config = {"webhook_url": receiver.url}
    made, secret = await sending.channels.create(sending.admin, "slack", Provider.SLACK, config, EVENTS)
    assert secret is None
    await sending.tell("box")
    await receiver.wait(1)
    receiver.status = 200
    while (known := sending.book.get(made.id)) is None or known.failing_since is None:
        await sending.tell("noise", team="another team")
    sending.pass_time(5)
    await receiver.wait(2)


async def test_rotation_replaces_everything(sending: Sending, receiver: HttpReceiver) -> None:
    made, secret = await sending.channels.create(
        sending.admin, "hook", Provider.WEBHOOK, {"url": receiver.url + "/old"}, EVENTS
    )
    assert secret is not None
    assert secret.startswith("whsec_")
    changed, other = await sending.channels.rotate(sending.admin, made.id, {"url": receiver.url + "/new"})
    assert other not in (None, secret)
    assert sending.book.open(changed) == {"url": receiver.url + "/new", "secret": other}
    await sending.tell("box")
    assert (await receiver.wait(1))[0].path == "/hook/new"


IMPOSSIBLE: list[tuple[Provider, Mapping[str, str]]] = [
    (Provider.SLACK, {}),
    (Provider.SLACK, {"url": "https://example.com"}),
    (Provider.SLACK, {"webhook_url": "https://10.0.0.1/"}),
    (Provider.SLACK, {"webhook_url": "https://example.com", "more": "x"}),
    (Provider.DISCORD, {"webhook_url": ""}),
    (Provider.TELEGRAM, {"bot_token": "x/../y", "chat_id": "1"}),
    (Provider.TELEGRAM, {"bot_token": TOKEN, "chat_id": "a b"}),
    (Provider.MATRIX, {"homeserver_url": "https://192.168.0.1", "access_token": "t", "room_id": "!a:b"}),
    (Provider.MATRIX, {"homeserver_url": "https://example.com", "access_token": "a\r\nb", "room_id": "!a:b"}),
    (Provider.MATRIX, {"homeserver_url": "https://example.com", "access_token": "t", "room_id": "!a/../b"}),
    (Provider.WEBHOOK, {"url": "https://example.com", "secret": "whsec_!"}),
]


async def test_configurations_that_cannot_be(sending: Sending) -> None:
    for provider, config in IMPOSSIBLE:
        with pytest.raises(InvalidInput):
            await sending.channels.create(sending.admin, "name", provider, config, EVENTS)
        with pytest.raises(InvalidInput):
            await sending.channels.test(sending.admin, provider, config)


async def test_names_are_taken_once(sending: Sending, receiver: HttpReceiver) -> None:
    config = {"webhook_url": receiver.url}
    await sending.channels.create(sending.admin, "one", Provider.SLACK, config, EVENTS)
    with pytest.raises(NameTaken):
        await sending.channels.create(sending.admin, "one", Provider.DISCORD, config, EVENTS)
    two, _ = await sending.channels.create(sending.admin, "two", Provider.SLACK, config, EVENTS)
    with pytest.raises(NameTaken):
        await sending.channels.update(sending.admin, two.id, "one", EVENTS)
    for name, events in (("", EVENTS), ("a\nb", EVENTS), ("x" * 101, EVENTS), ("three", []), ("three", ["no"])):
        with pytest.raises(InvalidInput):
            await sending.channels.update(sending.admin, two.id, name, events)
