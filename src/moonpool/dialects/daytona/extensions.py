"""What the current SDK knows and the document does not: newer states, fields and models, and stricter request bodies.

Answers are the union of the document's required fields and the current SDK's, since several generations of clients are
served at once; unknown fields are ignored by all of them. What the SDK takes only as an integer is an integer here.
"""

import json
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, RootModel, StringConstraints, field_validator

from moonpool.dialects.daytona import schemas
from moonpool.dialects.daytona.wire import WireModel

MAX_MINUTES = 10 * 365 * 24 * 60
MAX_NAME_LENGTH = 255  # characters
MAX_CONFIG = 16 * 1024  # characters of JSON

Minutes = Annotated[int, Field(ge=0, le=MAX_MINUTES)]
MinutesOrNever = Annotated[int, Field(ge=-MAX_MINUTES, le=MAX_MINUTES)]
ResourceAmount = Annotated[int, Field(ge=1, le=1_000_000)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]
BuildArgument = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=MAX_NAME_LENGTH)]
BuildValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=32_768)]


class SandboxState(StrEnum):
    """``schemas.SandboxState`` and the three that came with pausing."""

    CREATING = "creating"
    RESTORING = "restoring"
    DESTROYED = "destroyed"
    DESTROYING = "destroying"
    STARTED = "started"
    STOPPED = "stopped"
    STARTING = "starting"
    STOPPING = "stopping"
    ERROR = "error"
    BUILD_FAILED = "build_failed"
    PENDING_BUILD = "pending_build"
    BUILDING_SNAPSHOT = "building_snapshot"
    UNKNOWN = "unknown"
    PULLING_SNAPSHOT = "pulling_snapshot"
    ARCHIVED = "archived"
    ARCHIVING = "archiving"
    RESIZING = "resizing"
    SNAPSHOTTING = "snapshotting"
    FORKING = "forking"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"


class SandboxDesiredState(StrEnum):
    DESTROYED = "destroyed"
    STARTED = "started"
    STOPPED = "stopped"
    RESIZED = "resized"
    ARCHIVED = "archived"
    PAUSED = "paused"


SandboxClass = Literal["linux-vm", "container", "android", "windows"]


# -- requests ----------------------------------------------------------------------------------------------------------


class RequestModel(WireModel):
    """Types are taken as they are: no "5" for 5, no 1 for true. Unknown fields are ignored, as the vendor does."""

    model_config = ConfigDict(strict=True)


class SandboxVolume(RequestModel):
    volumeId: str
    mountPath: str
    subpath: str | None = None


class BuildInfo(RequestModel):
    """A Dockerfile, and the names of the archives with the files that it copies. ``buildArgs`` and ``target``, as
    ``docker build`` has them, are this server's own."""

    dockerfileContent: Annotated[str, Field(min_length=1, max_length=1_048_576)]
    contextHashes: Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=100, default_factory=list)]
    buildArgs: Annotated[dict[BuildArgument, BuildValue], Field(max_length=200, default_factory=dict)]
    target: Name | None = None


class SnapshotBuildInfo(BuildInfo):
    """With ``skipCache`` nothing that was made before is used."""

    skipCache: bool = False


class CreateSandbox(RequestModel):
    """``schemas.CreateSandbox`` with its ranges, and what came later."""

    name: Name | None = None
    snapshot: Name | None = None
    user: Name | None = None
    env: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    public: bool | None = None
    networkBlockAll: bool | None = None
    networkAllowList: str | None = None
    domainAllowList: str | None = None
    outboundProxyUrl: str | None = None
    otelEndpointOverride: str | None = None
    target: str | None = None
    kvm: bool | None = None
    spot: bool | None = None
    cpu: ResourceAmount | None = None
    gpu: Annotated[int, Field(ge=0, le=1024)] | None = None
    memory: ResourceAmount | None = None
    disk: ResourceAmount | None = None
    autoStopInterval: Minutes | None = None
    autoPauseInterval: Minutes | None = None
    autoArchiveInterval: Minutes | None = None
    autoDeleteInterval: MinutesOrNever | None = None
    ttlMinutes: Minutes | None = None
    queueTimeout: Annotated[int, Field(ge=1, le=MAX_MINUTES)] | None = None
    volumes: list[SandboxVolume] | None = None
    buildInfo: BuildInfo | None = None
    linkedSandbox: str | None = None
    secrets: list[dict[str, str]] | None = None


class CreateSnapshot(RequestModel):
    """``schemas.CreateSnapshot`` with its ranges; sizes in cores and GiB."""

    name: Name
    imageName: Name | None = None
    entrypoint: Annotated[list[str], Field(max_length=1000)] | None = None
    cpu: Annotated[int, Field(ge=1, le=1024)] | None = None
    gpu: Annotated[int, Field(ge=0)] | None = None
    memory: Annotated[int, Field(ge=1, le=65536)] | None = None
    disk: Annotated[int, Field(ge=1, le=65536)] | None = None
    buildInfo: SnapshotBuildInfo | None = None
    regionId: str | None = None
    sandboxClass: str | None = None


class CreateRegistry(RequestModel):
    name: Name
    url: Name
    username: Annotated[str, Field(max_length=255)]
    password: Annotated[str, Field(max_length=65536)]
    project: Annotated[str, Field(max_length=255)] = ""


class UpdateRegistry(RequestModel):
    name: Name
    url: Name
    username: Annotated[str, Field(max_length=255)]
    password: Annotated[str, Field(max_length=65536)] | None = None
    project: Annotated[str, Field(max_length=255)] | None = None


class SandboxLabels(RequestModel):
    labels: dict[str, str]


class UpdateSandboxNetworkSettings(RequestModel):
    networkBlockAll: bool | None = None
    networkAllowList: str | None = None
    domainAllowList: str | None = None


class UpdateScheduling(RequestModel):
    unschedulable: bool


class UpdateDraining(RequestModel):
    draining: bool


class CreateWarmPool(RequestModel):
    snapshot: Name
    pool: Annotated[int, Field(ge=1, le=10_000)]
    target: str | None = None


class UpdateWarmPool(RequestModel):
    pool: Annotated[int, Field(ge=0, le=10_000)]


class OtelConfig(RequestModel):
    endpoint: Annotated[str, StringConstraints(min_length=1, max_length=2048)]
    headers: dict[str, str] | None = None


Role = Annotated[schemas.Role, Field(strict=False)]
RoleIds = Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=100)]
Moment = Annotated[AwareDatetime | None, Field(strict=False)]


class CreateOrganization(RequestModel):
    name: Name
    defaultRegionId: str


class DefaultRegion(RequestModel):
    defaultRegionId: str


class DefaultQueueTimeout(RequestModel):
    defaultQueueTimeout: Annotated[int, Field(ge=1, le=MAX_MINUTES)] | None


class ExperimentalConfig(RootModel[dict[str, Any]]):
    """No more than a screenful of JSON."""

    @field_validator("root")
    @classmethod
    def small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value)) > MAX_CONFIG:
            raise ValueError(f"must have at most {MAX_CONFIG} characters")
        return value


class OrganizationRole(RequestModel):
    name: Name
    description: str
    permissions: list[Annotated[schemas.Permission, Field(strict=False)]]


class MemberAccess(RequestModel):
    role: Role
    assignedRoleIds: RoleIds


class CreateInvitation(RequestModel):
    email: Annotated[str, Field(max_length=320)]
    role: Role
    assignedRoleIds: RoleIds
    expiresAt: Moment = None


class UpdateInvitation(RequestModel):
    role: Role
    assignedRoleIds: RoleIds
    expiresAt: Moment = None


class CreateSecret(RequestModel):
    name: Name
    value: str
    description: str | None = None
    hosts: list[str] | None = None


class UpdateSecret(RequestModel):
    value: str | None = None
    description: str | None = None
    hosts: list[str] | None = None


class UpdateSandboxSecrets(RequestModel):
    secrets: list[dict[str, str]]


class UpdateLastActivity(RequestModel):
    activityType: str | None = None


class ResizeSandbox(RequestModel):
    cpu: ResourceAmount | None = None
    memory: ResourceAmount | None = None
    disk: ResourceAmount | None = None


class CreateVolume(RequestModel):
    """``sizeGib`` is this server's own: the most that the volume may hold."""

    name: Annotated[str, StringConstraints(max_length=MAX_NAME_LENGTH)] | None = None
    sizeGib: ResourceAmount | None = None


class CreateApiKey(schemas.CreateApiKey):
    """With a name that is not empty."""

    name: Name


# -- answers -----------------------------------------------------------------------------------------------------------


class Sandbox(WireModel):
    """Every field that any generation reads of a sandbox; a list leaves ``LEFT_OUT_OF_LISTS`` away."""

    id: str
    organizationId: str
    name: str
    target: str
    sandboxClass: SandboxClass
    class_: schemas.Class = Field(serialization_alias="class")
    state: SandboxState
    desiredState: SandboxDesiredState
    snapshot: str
    user: str
    env: dict[str, str]
    labels: dict[str, str]
    public: bool
    networkBlockAll: bool
    networkAllowList: str | None = None
    domainAllowList: str | None = None
    kvm: bool
    spot: bool
    cpu: int
    gpu: int
    memory: int
    disk: int
    errorReason: str | None = None
    recoverable: bool
    backupState: schemas.BackupState
    backupCreatedAt: str | None = None
    autoStopInterval: int
    autoPauseInterval: int
    autoArchiveInterval: int
    autoDeleteInterval: int
    autoDestroyAt: str | None = None
    queueTimeout: int | None = None
    volumes: list[SandboxVolume]
    createdAt: str
    updatedAt: str
    lastActivityAt: str
    daemonVersion: str
    toolboxProxyUrl: str


LEFT_OUT_OF_LISTS = {"env", "kvm", "volumes"}


class VolumeDto(schemas.VolumeDto):
    """With this server's own ``sizeGib``."""

    sizeGib: float


class SnapshotDto(WireModel):
    id: str
    general: bool
    name: str
    imageName: str | None = None
    state: schemas.SnapshotState
    enabled: bool  # SDKs as old as 0.22 want it beside the state
    size: float | None
    entrypoint: list[str] | None
    cpu: int
    gpu: int
    mem: float
    disk: float
    errorReason: str | None
    createdAt: str
    updatedAt: str
    lastUsedAt: str | None
    regionIds: list[str]
    sourceSandboxId: str | None
    sandboxClass: SandboxClass
