"""The pool: one btrfs file system with a subvolume for every image, sandbox, snapshot and volume."""

from moonpool.engine.storage.btrfs import Version
from moonpool.engine.storage.model import Kind, QuotaMode, Usage
from moonpool.engine.storage.pool import Pool
from moonpool.engine.storage.streams import ReceiveStream, SendStream

__all__ = ["Kind", "Pool", "QuotaMode", "ReceiveStream", "SendStream", "Usage", "Version"]
