"""The protocol of registries (OCI distribution, which Docker's clients speak too), for images that teams push here."""

from moonpool.dialects.registry.app import create_app

PREFIXES = ("/v2",)

__all__ = ["PREFIXES", "create_app"]
