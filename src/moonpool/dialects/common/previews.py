"""The address of a preview, as a client is told it."""

from moonpool.dialects.common.services import ServerInfo

HERE = ("localhost", "127.0.0.1", "[::1]")


def preview_url(origin: str, server: ServerInfo, name: str, port: int) -> str:
    """``name`` is a sandbox's id or a signed link's token; ``origin`` is how its asker reached this server.

    A host name below the domain, which every browser finds where that is this machine's own. For who came from
    elsewhere to a server without a domain it is a path, since no name would lead them here.
    """
    scheme, _, host = origin.partition("://")
    if server.preview_domain_is_set or host.rpartition(":")[0] in HERE or host in HERE:
        return f"{scheme}://{port}-{name}.{server.preview_domain}"
    return f"{origin}/preview/{name}/{port}"
