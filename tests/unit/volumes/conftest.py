from tests.unit.sandboxes.conftest import sqlite_world, world

__all__ = ["sqlite_world", "world"]
