"""What the SDKs send beyond the contract, and the one form in which a VM's description is read.

The contract has three ways to describe a VM (``spec``, ``template`` and fields of the request itself), of which the
SDKs mix what they like: 0.1.63 puts every field of a layer into ``spec``, 0.1.46 leaves out what the contract requires.
So all of them are read as one ``Layer`` with nothing required.
"""

from typing import Annotated, Optional

from pydantic import Field, StrictBool, StrictInt, StrictStr

from moonpool.dialects.freestyle import schemas
from moonpool.dialects.freestyle.wire import WireModel

Count = Annotated[StrictInt | None, Field(ge=0)]


class GitOptions(WireModel):
    config: schemas.GitConfig | None = None
    repos: list[schemas.GitRepositorySpec] | None = None


class SystemdUnitSpec(schemas.SystemdUnitSpec):
    mode: schemas.SystemdUnitMode = schemas.SystemdUnitMode.service


class SystemdConfig(WireModel):
    services: list[SystemdUnitSpec] | None = None
    patchedServices: list[schemas.SystemdUnitSpecPatch] | None = None


class Layer(WireModel):
    """``snapshot`` is the layer below, ``snapshotId`` a snapshot that is there, ``baseImage`` a Dockerfile."""

    snapshot: Optional["Layer"] = None
    snapshotId: StrictStr | None = None
    baseImage: schemas.BaseImageSpec | None = None
    rootfsSizeGb: Count = None
    memSizeGb: Count = None
    vcpuCount: Count = None
    workdir: StrictStr | None = None
    idleTimeoutSeconds: Count = None
    waitForReadySignal: StrictBool | None = None
    readySignalTimeoutSeconds: Count = None
    persistence: schemas.VmPersistence | None = None
    ports: list[schemas.PortMapping] | None = None
    systemd: SystemdConfig | None = None
    users: list[schemas.LinuxUserSpec] | None = None
    groups: list[schemas.LinuxGroupSpec] | None = None
    additionalFiles: dict[StrictStr, schemas.FreestyleFile] | None = None
    gitRepos: list[schemas.GitRepositorySpec] | None = None
    git: GitOptions | None = None
    aptDeps: list[StrictStr] | None = None
    discriminator: StrictStr | None = None
    skipCache: StrictBool | None = None


class CreateVmRequest(Layer):
    spec: Layer | None = None
    template: Layer | None = None
    name: StrictStr | None = None
    recreate: StrictBool | None = None
    domains: list[schemas.VmDomainConfig] | None = None
    activityThresholdBytes: Count = None
    dockerCredentials: schemas.DockerCredentials | None = None


class CreateSnapshotRequest(WireModel):
    name: StrictStr | None = None
    spec: Layer | None = None
    template: Layer | None = None
    persistence: schemas.SnapshotPersistence | None = None
    dockerCredentials: schemas.DockerCredentials | None = None


class WriteFileRequest(WireModel):
    """``encoding``: "utf8", "utf-8" or "base64"; missing is text."""

    content: StrictStr
    encoding: StrictStr | None = None
