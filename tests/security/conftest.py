"""Attacks from inside are tried on a real server."""

from tests.servers import server, server_factory

__all__ = ["server", "server_factory"]
