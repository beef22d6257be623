"""Run as ``python3 -I -S .../agent``: a folder with ``protocol.py`` beside it, and no package around the two."""

import importlib
import pathlib
import sys
import types

here = pathlib.Path(__file__).resolve().parent
# The modules are written as part of a package, so they get one that has just these two folders.
guest = types.ModuleType("guest")
guest.__path__ = [str(here.parent), str(here)]
sys.modules["guest"] = guest
importlib.import_module("guest.agent.main").main()
