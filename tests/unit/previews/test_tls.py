"""The listener with a certificate of its own: previews are HTTPS from end to end of the gateway."""

import asyncio
import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from moonpool.sandboxes.model import NewSandbox
from tests.conftest import ManualClock
from tests.unit.previews.apps import App, Client, Request
from tests.unit.previews.conftest import DOMAIN, Served, previewing, serving


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """For ``*.name``, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime(2020, 1, 1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{name}")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))
    return chain, private


async def test_a_preview_by_https(tmp_path: Path) -> None:
    chain, private = certificate(tmp_path, DOMAIN)
    clock = ManualClock()
    body = bytes(range(256)) * 20_000

    async def large(app: App, reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with (
        serving(tmp_path, clock, certificate=(chain, private)) as (application, machines, port),
        previewing(Served(application, machines, port, clock)) as previews,
    ):
        previews.app.behave = large
        sandbox = await previews.create(NewSandbox())
        host = previews.host(sandbox=sandbox)
        trust = ssl.create_default_context(cafile=str(chain))
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=host)
        client = Client(reader, writer)
        path = f"/?preview_token={sandbox.preview_token}"
        client.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = await client.answer()
        writer.close()
        assert answer.body == body
        assert "Secure; SameSite=None" in (answer.header("set-cookie") or "")
        assert previews.app.requests[0].header("x-forwarded-proto") == "https"


@pytest.mark.parametrize("missing", ["tls_key", "tls_certificate"])
async def test_one_without_the_other_is_a_mistake(missing: str, tmp_path: Path) -> None:
    from moonpool.config import Settings

    given = {"tls_certificate": tmp_path / "a", "tls_key": tmp_path / "b"}
    del given[missing]
    with pytest.raises(ValueError, match="TLS_KEY"):
        Settings(**given)
