"""What can go wrong with language servers."""

from moonpool.errors import GuestError

LAST_WORDS = 2000  # bytes of what a server that ended had written about it


class LanguageNotSupported(GuestError):
    code = "language_not_supported"
    default = "There is no language server for this language"


class LanguageServerMissing(GuestError):
    code = "language_server_missing"
    default = "The language server is not installed in this sandbox"
    default_hint = "Install it in the sandbox, or use an image that has it."


class LanguageServerNotStarted(GuestError):
    code = "language_server_not_started"
    default = "No language server runs for this project"
    default_hint = "Start it first."


class LanguageServerFailed(GuestError):
    """It ended, or it answered with an error of its own."""

    code = "language_server_failed"
    default = "The language server failed"


class LanguageServerTimeout(GuestError):
    code = "language_server_timeout"
    default = "The language server did not answer in time"


class RequestNotOffered(GuestError):
    code = "language_request_not_offered"
    default = "This language server does not offer that"


class LanguageServerGone(LanguageServerFailed):
    code = "language_server_gone"
    default = "The language server ended"


class ClientTooSlow(GuestError):
    code = "language_client_too_slow"
    default = "The client does not read what the language server says"


class TooManyClients(GuestError):
    code = "language_clients_too_many"
    default = "Too many clients are connected to this language server"
    default_hint = "Close one that is not needed any more."


def gone(complaints: bytes) -> LanguageServerGone:
    """With the last of what the server had written to standard error."""
    said = complaints[-LAST_WORDS:].decode(errors="replace").strip()
    return LanguageServerGone(f"The language server ended: {said}" if said else LanguageServerGone.default)
