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
from urllib.parse import parse_qs, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "moonpool-at-provider", "client secret"


@dataclass
class Person:
    id: int = 7
    name: str = "Olga"
    email: str = "olga@example.com"
    verified: bool = True


@dataclass
class Provider:
    """``person`` is who signs in; ``claims`` are changes to the ID token's; a code is good once, with its verifier."""

    url: str = ""
    person: Person = field(default_factory=Person)
    claims: dict[str, Any] = field(default_factory=dict)
    signer: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    denying: bool = False

    def routes(self) -> list[Route]:
        return [
            Route("/login/oauth/authorize", self.authorize),
            Route("/login/oauth/access_token", self.token, methods=["POST"]),
            Route("/api/user", self.user),
            Route("/api/user/emails", self.emails),
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
        asked = self.codes.pop(sent.get("code", ""), None)
        if asked is None or sent["client_secret"] != SECRET or sent["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "bad_verification_code"})
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        told = {"access_token": "at", "token_type": "bearer"}
        if "openid" in asked["scope"]:
            told["id_token"] = self.id_token(asked["nonce"])
        return JSONResponse(told)

    def id_token(self, nonce: str) -> str:
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": str(self.person.id),
            "exp": int(time.time()) + 300,
            "nonce": nonce,
            "email": self.person.email,
            "email_verified": self.person.verified,
            "name": self.person.name,
        }
        return jwt.encode({"alg": "ES256", "kid": "one"}, {**claims, **self.claims}, self.signer)

    async def user(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer at"
        return JSONResponse({"id": self.person.id, "login": "olga", "name": self.person.name})

    async def emails(self, request: Request) -> Response:
        return JSONResponse([{"email": self.person.email, "primary": True, "verified": self.person.verified}])

    async def metadata(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/login/oauth/authorize",
                "token_endpoint": f"{self.url}/login/oauth/access_token",
                "jwks_uri": f"{self.url}/jwks",
            }
        )

    async def keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [json.loads(json.dumps(self.signer.as_dict(private=False)))]})


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
