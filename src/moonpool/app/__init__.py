"""The composition root: the one place that knows every part and wires them."""

from moonpool.app.application import Application, build, serve
from moonpool.app.core import Core

__all__ = ["Application", "Core", "build", "serve"]
