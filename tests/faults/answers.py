"""What the APIs answer when something goes wrong: each in its own envelope, whatever it was."""

from typing import Any

import httpx

PLATFORM = {"path", "timestamp", "statusCode", "error", "message", "source"}
TOOLBOX = {"statusCode", "message", "code", "source", "path", "method", "timestamp"}
WRENN = {"code", "message"}


def refused(answer: httpx.Response, *statuses: int) -> str:
    """The message of a refusal with one of these statuses, in the envelope of the API that was asked."""
    request = f"{answer.request.method} {answer.request.url}"[:200]
    assert answer.status_code in statuses, f"{request}: {answer.status_code} {answer.text[:500]}"
    document: dict[str, Any] = answer.json()
    path = answer.request.url.path
    if path.startswith("/api"):
        assert set(document) == PLATFORM, (request, document)
        assert document["statusCode"] == answer.status_code
    elif path.startswith("/toolbox"):
        assert set(document) == TOOLBOX, (request, document)
        assert document["statusCode"] == answer.status_code
    else:
        assert set(document) == {"error"}, (request, document)
        document = document["error"]
        assert set(document) == WRENN, (request, document)
    message = str(document["message"])
    assert message, request
    assert "Traceback" not in message, request
    return message


def accepted(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:500]}"
    return answer
