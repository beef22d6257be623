"""Where archives go."""

from dataclasses import dataclass, field

S3_SCHEME = "s3://"


@dataclass(frozen=True)
class StoreSettings:
    """``place`` is a folder or ``s3://BUCKET/PREFIX``; the others are for the latter."""

    place: str
    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
