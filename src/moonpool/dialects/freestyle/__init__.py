"""The Freestyle API, ``/v1/vms``, as npm's freestyle-sandboxes 0.1.46 and freestyle 0.1.63 speak it."""

from moonpool.dialects.freestyle.app import PREFIXES, create_app

__all__ = ["PREFIXES", "create_app"]
