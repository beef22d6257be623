"""How a password reaches git: through a pipe that one credential helper reads, and for one origin alone.

So it is in no argument, no environment and no file, git's own configuration included, and a remote that leads elsewhere
does not get it. A helper of the user's own is not asked beside it.
"""

from urllib.parse import unquote, urlsplit, urlunsplit

from moonpool.errors import InvalidInput
from moonpool.git.model import Credentials

# Git's standard input becomes descriptor 3, which its helpers inherit.
WITH_CREDENTIALS = 'exec 3<&0 </dev/null; exec git "$@"'
HELPER = '!f() { [ "$1" = get ] && cat <&3; }; f'
HTTP = ("http", "https")
DEFAULT_USERNAME = "git"  # for remotes that look at the token alone


def credentials_of(username: str | None, password: str | None) -> Credentials | None:
    """None where neither is given; InvalidInput for what would not fit into a line."""
    if not username and not password:
        return None
    for name, value in (("username", username), ("password", password)):
        if value and any(character in value for character in "\n\r\0"):
            raise InvalidInput(f"{name} must be a single line", field=name)
    return Credentials(username or DEFAULT_USERNAME, password or "")


def split_address(url: str) -> tuple[str, Credentials | None]:
    """The address without the credentials that stand in it, and these."""
    parts = urlsplit(url)
    if parts.scheme not in HTTP or "@" not in parts.netloc:
        return url, None
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return bare, credentials_of(unquote(name), unquote(password))


def environment(url: str) -> dict[str, str]:
    """Git's environment for a run by WITH_CREDENTIALS: for ``url`` alone. InvalidInput if that is not HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in HTTP or not parts.hostname:
        raise InvalidInput("username and password are for http and https addresses", field="username")
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    settings = (("credential.helper", ""), (f"credential.{origin}.helper", HELPER))
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def document(credentials: Credentials) -> bytes:
    """As git's credential helpers speak."""
    return f"username={credentials.username}\npassword={credentials.password}\n".encode()
