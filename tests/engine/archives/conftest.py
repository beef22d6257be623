from tests.engine.storage.conftest import instance, pool

__all__ = ["instance", "pool"]
