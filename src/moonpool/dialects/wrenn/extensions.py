"""Fields that the contract does not know and later SDKs (0.2.0, 0.3.0) send or read."""

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StrictStr

from moonpool.dialects.wrenn import schemas

Label = Annotated[StrictStr, Field(max_length=64)]
LabelKey = Annotated[StrictStr, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$")]


class CreateCapsuleRequest(schemas.CreateCapsuleRequest):
    metadata: Annotated[dict[LabelKey, Label] | None, Field(max_length=20)] = None


class Capsule(schemas.Capsule):
    """``disk_used_mb`` is told of single capsules only, never in lists."""

    disk_used_mb: StrictInt | None = None


class Template(schemas.Template):
    """``protected``: part of the server, cannot be deleted."""

    protected: StrictBool | None = None
