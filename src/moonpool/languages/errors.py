"""What can go wrong with language servers."""

from moonpool.errors import GuestError


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
