"""Who gets in to a preview, by what, and what of that the app gets to see."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest

from moonpool.access.model import Scope
from moonpool.errors import DomainTaken, InvalidInput, PreviewTokenNotFound
from moonpool.sandboxes.model import NewSandbox, Sandbox
from moonpool.store.tables import preview_links, preview_tokens
from tests.unit.app.conftest import KEY
from tests.unit.previews.apps import Answer
from tests.unit.previews.conftest import DOMAIN, Previews
from tests.unit.sandboxes.conftest import STRANGER

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def ask(previews: Previews, sandbox: Sandbox, path: str = "/", *headers: str, method: str = "GET") -> Answer:
    return await previews.ask(path, *headers, host=previews.host(sandbox=sandbox), method=method)


def seen(previews: Previews) -> str:
    """Everything that the app got of the last request."""
    request = previews.app.requests[-1]
    return "\n".join([request.line, *(f"{name}: {value}" for name, value in request.headers)])


async def test_a_private_preview_says_nothing_without_a_token(previews: Previews) -> None:
    private = await previews.create()
    denied = await ask(previews, private)
    unknown = await previews.ask(host=f"{previews.app.port}-{'a' * 20}.{DOMAIN}")
    assert (denied.status, denied.body) == (unknown.status, unknown.body)
    assert (denied.status, denied.header("www-authenticate")) == (401, "Bearer")
    assert previews.app.requests == []


@pytest.mark.parametrize("header", ["X-Daytona-Preview-Token", "csb-preview-token"])
@pytest.mark.parametrize("own", [True, False])
async def test_tokens_in_headers(previews: Previews, header: str, own: bool) -> None:
    private = await previews.create()
    token = private.preview_token
    if not own:
        token = (await previews.core.previews.create_token(previews.admin, private.id, None)).secret
    assert (await ask(previews, private, "/", f"{header}: {token}")).body == b"hello"
    assert token not in seen(previews)
    assert header.lower() not in seen(previews)


@pytest.mark.parametrize("parameter", ["DAYTONA_SANDBOX_AUTH_KEY", "preview_token"])
async def test_tokens_in_the_query_become_a_cookie(previews: Previews, parameter: str) -> None:
    private = await previews.create()
    token = (await previews.core.previews.create_token(previews.admin, private.id, None)).secret
    answer = await ask(previews, private, f"/p?a=%2F&{parameter}={quote(token)}&b=")
    assert (answer.status, previews.app.requests[-1].line) == (200, "GET /p?a=%2F&b= HTTP/1.1")
    cookie = answer.header("set-cookie") or ""
    assert "HttpOnly" in cookie
    assert token not in cookie
    value = cookie.partition(";")[0]
    assert (await ask(previews, private, "/", f"Cookie: own=1; {value}; wrenn_sid=session; other=2")).status == 200
    assert previews.app.requests[-1].header("cookie") == "own=1; other=2"
    other = await previews.create()
    assert (await ask(previews, other, "/", f"Cookie: {value}")).status == 401
    await previews.core.previews.revoke_tokens(previews.admin, private.id)
    assert (await ask(previews, private, "/", f"Cookie: {value}")).status == 401


async def test_cookies_with_the_token_itself(previews: Previews) -> None:
    private = await previews.create()
    token = (await previews.core.previews.create_token(previews.admin, private.id, None)).secret
    assert (await ask(previews, private, "/", f"Cookie: csb_preview_token={token}")).status == 200
    assert previews.app.requests[-1].header("cookie") is None


async def test_a_cookie_ends_by_itself_and_cannot_be_made(previews: Previews) -> None:
    private = await previews.create()
    answer = await ask(previews, private, f"/?preview_token={private.preview_token}")
    value = (answer.header("set-cookie") or "").partition(";")[0]
    name, _, seal = value.partition("=")
    by, expires, signature = seal.split(".")
    for forged in (f"{by}.{int(expires) + 9}.{signature}", f"own.{expires}.", "own", "..", f"{by}.{expires}.\udcff"):
        line = f"Cookie: {name}={forged}".encode("utf-8", "surrogateescape").decode("latin-1")
        assert (await ask(previews, private, "/", line)).status == 401
    assert (await ask(previews, private, "/", f"Cookie: {value}")).status == 200
    previews.clock.advance(3601)
    assert (await ask(previews, private, "/", f"Cookie: {value}")).status == 401


async def test_the_own_token_is_another_one_after_a_restart(previews: Previews) -> None:
    private = await previews.create()
    answer = await ask(previews, private, f"/?preview_token={private.preview_token}")
    cookie = (answer.header("set-cookie") or "").partition(";")[0]
    await previews.core.sandboxes.stop(previews.admin, private.id)
    await previews.core.sandboxes.start(previews.admin, private.id)
    assert (await ask(previews, private, "/", f"Cookie: {cookie}")).status == 401
    assert (await ask(previews, private, "/", f"x-daytona-preview-token: {private.preview_token}")).status == 401


async def test_a_token_of_another_sandbox_opens_nothing(previews: Previews) -> None:
    one, other = await previews.create(), await previews.create()
    token = (await previews.core.previews.create_token(previews.admin, one.id, None)).secret
    for wrong in (token, one.preview_token, "", "x" * 5000, "é"):
        assert (await ask(previews, other, "/", f"csb-preview-token: {wrong}")).status == 401


async def test_a_token_expires(previews: Previews) -> None:
    private = await previews.create()
    soon = previews.clock.now() + timedelta(seconds=5)
    token = (await previews.core.previews.create_token(previews.admin, private.id, soon)).secret
    assert (await ask(previews, private, "/", f"csb-preview-token: {token}")).status == 200
    previews.clock.advance(6)
    assert (await ask(previews, private, "/", f"csb-preview-token: {token}")).status == 401


async def test_the_last_use_of_a_token_is_written(previews: Previews) -> None:
    private = await previews.create()
    made = await previews.core.previews.create_token(previews.admin, private.id, None)
    await ask(previews, private, "/", f"csb-preview-token: {made.secret}")
    await previews.core.previews.doors.flush()
    [token] = await previews.core.previews.list_tokens(previews.admin, private.id)
    assert token.last_used_at == previews.clock.now()


@pytest.mark.parametrize("header", ["Authorization: Bearer", "X-API-Key:"])
async def test_keys_open_previews_of_their_team_and_no_app_sees_one(previews: Previews, header: str) -> None:
    private = await previews.create()
    for sandbox in (private, previews.sandbox):
        assert (await ask(previews, sandbox, "/", f"{header} {KEY}")).status == 200
        assert KEY not in seen(previews)
    assert (await ask(previews, private, "/", f"{header} wrong")).status == 401


async def test_what_is_no_key_is_the_app_s(previews: Previews) -> None:
    for header in ("Authorization: Bearer app-token", "Authorization: Basic dTpw", "X-API-Key: of-the-app"):
        assert (await previews.ask("/", header)).status == 200
        assert header.partition(" ")[2] in seen(previews)


async def test_a_key_without_the_scope_opens_nothing(previews: Previews) -> None:
    private = await previews.create()
    made = await previews.core.access.create_key(previews.admin, private.id, [Scope.KEYS_READ])
    assert (await ask(previews, private, "/", f"Authorization: Bearer {made.secret}")).status == 401


async def test_signed_links(previews: Previews) -> None:
    private = await previews.create()
    links = previews.core.previews.links
    made = await links.create(previews.admin, private.id, previews.app.port, 60)
    host = f"{previews.app.port}-{made.token}.{DOMAIN}"
    assert (await previews.ask(host=host)).body == b"hello"
    assert (await previews.ask(host=f"{previews.app.port + 1}-{made.token}.{DOMAIN}")).status == 403
    previews.clock.advance(61)
    assert b"link_expired" in (await previews.ask(host=host)).body
    again = await links.create(previews.admin, private.id, previews.app.port, 60)
    host = f"{previews.app.port}-{again.token}.{DOMAIN}"
    assert (await previews.ask(host=host)).status == 200
    await links.expire(previews.admin, private.id, previews.app.port, again.token)
    assert (await previews.ask(host=host)).status == 403
    with pytest.raises(PreviewTokenNotFound):
        await links.expire(previews.admin, private.id, previews.app.port, again.token)
    for port, seconds in ((0, 60), (65536, 60), (80, 0), (80, 86401)):
        with pytest.raises(InvalidInput):
            await links.create(previews.admin, private.id, port, seconds)


async def test_secrets_are_stored_hashed(previews: Previews) -> None:
    private = await previews.create()
    token = (await previews.core.previews.create_token(previews.admin, private.id, None)).secret
    link = (await previews.core.previews.links.create(previews.admin, private.id, 80, 60)).token
    store = previews.core.previews._store
    async with store.reading() as connection:
        for table, secret in ((preview_links, link), (preview_tokens, token)):
            rows = [str(row) for row in await connection.execute(table.select())]
            assert rows
            assert not any(secret in row for row in rows)


async def test_domains_of_users(previews: Previews) -> None:
    private, links = await previews.create(), previews.core.previews.links
    await links.map_domain(previews.admin, private.id, "Shop.Example.com.", previews.app.port)
    assert (await previews.ask(host="shop.example.com")).body == b"hello"
    assert (await previews.ask(host="SHOP.example.com:8080")).body == b"hello"
    [mapping] = await links.mappings(previews.admin, private.id)
    doors = previews.core.previews.doors
    doors.mapped([replace(mapping, team_id=STRANGER.team_id)])
    with pytest.raises(DomainTaken):
        await links.map_domain(previews.admin, private.id, "shop.example.com", 80)
    doors.mapped([mapping])
    for bad in ("", "localhost", "1.2.3.4", "a..b", "-a.com", f"x.{DOMAIN}", DOMAIN, "test", "a b.com", "a.com/"):
        with pytest.raises(InvalidInput):
            await links.map_domain(previews.admin, private.id, bad, 80)
    await previews.core.sandboxes.destroy(previews.admin, private.id)
    assert (await previews.ask(host="shop.example.com", path="/healthz")).header("x-request-id")  # The APIs' own.
    other = await previews.create()
    await links.map_domain(previews.admin, other.id, "shop.example.com", previews.app.port)
    assert (await previews.ask(host="shop.example.com")).status == 200
    await links.unmap_domain(previews.admin, "shop.example.com")
    assert previews.core.previews.doors.mapping("shop.example.com") is None


async def test_the_path_form_keeps_apps_and_apis_apart(previews: Previews) -> None:
    """They share an address there, so the app gets no cookies, sets none, and its pages have an origin of their own."""

    async def behave(app: object, reader: object, writer: asyncio.StreamWriter, request: object) -> None:
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nSet-Cookie: wrenn_sid=1\r\nContent-Length: 0\r\n\r\n")

    previews.app.behave = behave
    path = f"/preview/{previews.sandbox.id}/{previews.app.port}"
    answer = await previews.ask(f"{path}/a%2Fb?c", "Cookie: wrenn_sid=secret", host="127.0.0.1")
    assert previews.app.requests[-1].line == "GET /a%2Fb?c HTTP/1.1"
    assert "secret" not in seen(previews)
    assert answer.header("set-cookie") is None
    assert answer.header("location") == f"{path}/next"
    assert "sandbox" in (answer.header("content-security-policy") or "")
    assert "allow-same-origin" not in (answer.header("content-security-policy") or "")
    for url, line in ((path, "GET / HTTP/1.1"), (f"{path}?x", "GET /?x HTTP/1.1")):
        await previews.ask(url, host="127.0.0.1")
        assert previews.app.requests[-1].line == line
    private = await previews.create()
    assert (await previews.ask(f"/preview/{private.id}/80/", host="127.0.0.1")).status == 401
    link = await previews.core.previews.links.create(previews.admin, private.id, previews.app.port, 60)
    assert (await previews.ask(f"/preview/{link.token}/{previews.app.port}/", host="127.0.0.1")).status == 302


async def test_apps_set_cookies_for_their_own_address_alone(previews: Previews) -> None:
    async def behave(app: object, reader: object, writer: asyncio.StreamWriter, request: object) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Domain=previews.test; Path=/; Secure\r\n"
            b"Set-Cookie: b=domain\r\nContent-Length: 0\r\n\r\n"
        )

    previews.app.behave = behave
    assert (await previews.ask()).all("set-cookie") == ["a=1; Path=/; Secure", "b=domain"]


async def test_trusted_hosts_may_ask_from_their_pages_and_embed(previews: Previews) -> None:
    private = await previews.create()
    await previews.core.previews.replace_hosts(previews.admin, ["https://ide.example.com", "*.example.org"])
    question = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: csb-preview-token")
    try:
        for origin in ("https://ide.example.com", "http://a.example.org"):
            answer = await ask(previews, private, "/", f"Origin: {origin}", *question, method="OPTIONS")
            assert (answer.status, answer.header("access-control-allow-origin")) == (204, origin)
            token = f"csb-preview-token: {private.preview_token}"
            answer = await ask(previews, private, "/", f"Origin: {origin}", token)
            assert answer.header("access-control-allow-origin") == origin
            policy = answer.header("content-security-policy")
            assert policy == "frame-ancestors 'self' https://ide.example.com *.example.org"
        for origin in ("https://evil.com", "https://ide.example.com.evil.com", "http://ide.example.com", "null"):
            answer = await ask(previews, private, "/", f"Origin: {origin}", *question, method="OPTIONS")
            assert (answer.status, answer.header("access-control-allow-origin")) == (401, None)
        assert previews.app.requests[-1].line.startswith("GET")
    finally:
        await previews.core.previews.replace_hosts(previews.admin, [])


async def test_who_is_told_to_be_unnoticed_is_no_use(previews: Previews) -> None:
    previews.clock.advance(100)
    await previews.ask("/", "X-Daytona-Skip-Last-Activity-Update: true")
    before = (await previews.core.sandboxes.get(previews.admin, previews.sandbox.id)).last_activity_at
    assert before < previews.clock.now()
    await previews.ask()
    after = (await previews.core.sandboxes.get(previews.admin, previews.sandbox.id)).last_activity_at
    assert after == previews.clock.now()
    assert "skip" not in seen(previews)


async def test_ids_with_another_api_s_prefix(previews: Previews) -> None:
    host = f"{previews.app.port}-cl-{previews.sandbox.id}.{DOMAIN}"
    assert (await previews.ask(host=host)).status == 200
    assert (await previews.ask(host=f"{previews.sandbox.id}-{previews.app.port}.{DOMAIN}")).status == 200


async def test_a_destroyed_sandbox_is_gone(previews: Previews) -> None:
    public = await previews.create(NewSandbox(public=True))
    assert (await ask(previews, public)).status == 200
    await previews.core.sandboxes.destroy(previews.admin, public.id)
    assert (await ask(previews, public)).status == 401
