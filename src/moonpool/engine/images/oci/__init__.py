"""Images of other makers: fetched, checked and unpacked, with nothing in them trusted."""

from moonpool.engine.images.oci.fetch import Fetched, Fetching
from moonpool.engine.images.oci.model import (
    Archive,
    Credentials,
    FetchPolicy,
    ImageConfig,
    ImageLimits,
    Registry,
    Source,
    Stored,
)
from moonpool.engine.images.oci.reference import Reference, parse_reference
from moonpool.engine.images.oci.skopeo import resolve

__all__ = [
    "Archive",
    "Credentials",
    "FetchPolicy",
    "Fetched",
    "Fetching",
    "ImageConfig",
    "ImageLimits",
    "Reference",
    "Registry",
    "Source",
    "Stored",
    "parse_reference",
    "resolve",
]
