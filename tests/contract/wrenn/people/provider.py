"""A login provider on loopback: GitHub's API and OpenID Connect's, as far as a login goes."""

import asyncio
import base64
import hashlib
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "moonpool-at-provider", "client: secret+%"


@dataclass
class Person:
    id: int = 7
    name: str = "Olga"
    email: str = "olga@example.com"
    verified: bool = True


@dataclass
class Provider:
    """``person`` is who signs in; ``claims`` are changes to the ID token's; a code is good once, with its verifier.
    ``method`` is the one way in which the client may say who it is; with ``userinfo`` the ID token tells a subject
    alone, and all else is told there. ``strange_keys`` are published beside the one that signs."""

    url: str = ""
    person: Person = field(default_factory=Person)
    claims: dict[str, Any] = field(default_factory=dict)
    signer: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    denying: bool = False
    method: str = "client_secret_post"
    methods: list[str] | None = field(default_factory=lambda: ["client_secret_post"])
    userinfo: dict[str, Any] | None = None
    strange_keys: list[dict[str, Any]] = field(default_factory=list)

    def routes(self) -> list[Route]:
        return [
            Route("/login/oauth/authorize", self.authorize),
            Route("/login/oauth/access_token", self.token, methods=["POST"]),
            Route("/api/user", self.user),
            Route("/api/user/emails", self.emails),
            Route("/userinfo", self.about),
            Route("/.well-known/openid-configuration", self.metadata),
            Route("/jwks", self.keys),
        ]

    async def authorize(self, request: Request) -> Response:
        """The person agrees at once."""
        asked = dict(request.query_params)
        assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (CLIENT, "code", "S256")
        back = {"state": asked["state"]}
        if self.denying:
            return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({**back, 'error': 'access_denied'})}")
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({**back, 'code': code})}")

    async def token(self, request: Request) -> Response:
        sent = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        asked = self.codes.get(sent.get("code", ""))
        openid = asked is not None and "openid" in asked["scope"]
        if not self.is_client(request, sent, self.method if openid else "client_secret_post"):
            return JSONResponse({"error": "invalid_client"}, 401, {"WWW-Authenticate": "Basic"})
        asked = self.codes.pop(sent.get("code", ""), None)
        if asked is None or sent["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "bad_verification_code"})
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        told = {"access_token": "at", "token_type": "bearer"}
        if "openid" in asked["scope"]:
            told["id_token"] = self.id_token(asked["nonce"])
        return JSONResponse(told)

    def is_client(self, request: Request, sent: dict[str, str], method: str) -> bool:
        """In the one way, and in no other beside it."""
        if method == "client_secret_post":
            named = (sent.get("client_id"), sent.get("client_secret"))
            return named == (CLIENT, SECRET) and "authorization" not in request.headers
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        client, _, secret = base64.b64decode(encoded).decode().partition(":")
        return (kind, unquote(client), unquote(secret)) == ("Basic", CLIENT, SECRET) and "client_secret" not in sent

    def id_token(self, nonce: str) -> str:
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": str(self.person.id),
            "exp": int(time.time()) + 300,
            "nonce": nonce,
        }
        if self.userinfo is None:
            claims |= {"email": self.person.email, "email_verified": self.person.verified, "name": self.person.name}
        return jwt.encode({"alg": "ES256", "kid": "one"}, {**claims, **self.claims}, self.signer)

    async def user(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer at"
        return JSONResponse({"id": self.person.id, "login": "olga", "name": self.person.name})

    async def emails(self, request: Request) -> Response:
        return JSONResponse([{"email": self.person.email, "primary": True, "verified": self.person.verified}])

    async def about(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer at"
        return JSONResponse({"sub": str(self.person.id), "email": self.person.email, **(self.userinfo or {})})

    async def metadata(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/login/oauth/authorize",
                "token_endpoint": f"{self.url}/login/oauth/access_token",
                "jwks_uri": f"{self.url}/jwks",
                "userinfo_endpoint": f"{self.url}/userinfo",
                **({} if self.methods is None else {"token_endpoint_auth_methods_supported": self.methods}),
            }
        )

    async def keys(self, request: Request) -> Response:
        own = json.loads(json.dumps(self.signer.as_dict(private=False)))
        return JSONResponse({"keys": [*self.strange_keys, own]})


@asynccontextmanager
async def provider_server() -> AsyncIterator[Provider]:
    provider = Provider()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        provider.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            Starlette(routes=provider.routes()), log_level="warning", lifespan="off", timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listener]))
        yield provider
        server.should_exit = True
        await serving
