"""Fields that the contract does not know and later SDKs (0.2.0, 0.3.0) send or read."""

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, StrictStr

from moonpool.dialects.wrenn import schemas
from moonpool.dialects.wrenn.wire import WireModel

Label = Annotated[StrictStr, Field(max_length=64)]
LabelKey = Annotated[StrictStr, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$")]


class CreateCapsuleRequest(schemas.CreateCapsuleRequest):
    metadata: Annotated[dict[LabelKey, Label] | None, Field(max_length=20)] = None


class AdminCreateCapsuleRequest(CreateCapsuleRequest):
    """``team_id``: whose it is to be; the administrator's own team where it is not said."""

    team_id: StrictStr | None = None


class AdminSnapshotRequest(WireModel):
    name: StrictStr


class CreateBuildRequest(WireModel):
    """The contract says only that it is an object: these are the fields of the vendor's server, and the disk's size."""

    name: Annotated[StrictStr, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$")]
    base_template: StrictStr | None = None
    recipe: list[StrictStr]
    healthcheck: StrictStr | None = None
    vcpus: Annotated[StrictInt, Field(ge=1, le=1024)] | None = None
    memory_mb: Annotated[StrictInt, Field(ge=1, le=2**31 - 1)] | None = None
    disk_size_mb: Annotated[StrictInt, Field(ge=1, le=2**31 - 1)] | None = None
    skip_pre_post: StrictBool | None = None


class Capsule(schemas.Capsule):
    """``disk_used_mb`` is told of single capsules only, never in lists."""

    disk_used_mb: StrictInt | None = None


class Template(schemas.Template):
    """``protected``: part of the server, cannot be deleted."""

    protected: StrictBool | None = None


class AdminTemplate(Template):
    """With what tells those of several teams apart; none has ``team_id`` that is there for all."""

    id: StrictStr
    team_id: StrictStr | None = None
