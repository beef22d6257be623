"""What a dialect is given: the core's services, and what it must know of the server."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from moonpool.access.community import Community
from moonpool.access.preferences import PreferenceService
from moonpool.access.service import AccessService
from moonpool.audit.service import AuditService
from moonpool.builds.registry_service import RegistryService
from moonpool.builds.service import BuildService
from moonpool.clock import Clock
from moonpool.deliveries.channels import ChannelService
from moonpool.deliveries.portal import PortalService
from moonpool.deliveries.webhooks import WebhookService
from moonpool.events.service import EventService
from moonpool.fleet.jobs import JobService
from moonpool.fleet.pools import WarmPools
from moonpool.fleet.service import FleetService
from moonpool.identities.service import IdentityService
from moonpool.metrics.service import MetricsService
from moonpool.previews.service import PreviewService
from moonpool.processes.units.service import UnitService
from moonpool.registry.service import PushedImages
from moonpool.sandboxes.oversight import Oversight
from moonpool.sandboxes.service import SandboxService
from moonpool.sandboxes.tags import TagService
from moonpool.secrets.service import SecretService
from moonpool.snapshots.service import SnapshotService
from moonpool.ssh.service import SshService
from moonpool.telemetry.service import TelemetryService
from moonpool.volumes.service import VolumeService


@dataclass(frozen=True)
class ServerInfo:
    """``public_url`` has no slash at its end ("http://localhost:8080"); ``preview_domain`` is host[:port],
    that of this very machine where none ``is_set``.

    ``ssh_address`` is host:port, where it is another one than the server's own host.
    ``proxy_key`` is that of a proxy of the operator's own, which may ask what opens previews.
    ``terminal_frames`` is "json" or "binary" (Wrenn's terminals up to SDK 0.2 and from 0.3 on).
    ``signing_key`` is the server's own secret, the same over restarts: for tokens that it gives out and takes back.
    ``language_servers``: the operator's own, a command for each language.
    """

    version: str
    public_url: str
    preview_domain: str
    region: str
    terminal_frames: str
    signing_key: bytes = field(repr=False)
    preview_domain_is_set: bool = True
    language_servers: Mapping[str, str] = field(default_factory=dict)
    proxy_key: str | None = field(default=None, repr=False)
    ssh_address: str | None = None
    wrenn_previews_are_public: bool = True


@dataclass(frozen=True)
class Services:
    access: AccessService
    sandboxes: SandboxService
    snapshots: SnapshotService
    events: EventService
    server: ServerInfo
    clock: Clock
    audit: AuditService
    webhooks: WebhookService
    portal: PortalService
    channels: ChannelService
    secrets: SecretService
    metrics: MetricsService
    previews: PreviewService
    tags: TagService
    units: UnitService
    volumes: VolumeService
    builds: BuildService
    registries: RegistryService
    images: PushedImages
    ssh: SshService
    fleet: FleetService
    pools: WarmPools
    jobs: JobService
    identities: IdentityService
    community: Community
    oversight: Oversight
    telemetry: TelemetryService
    preferences: PreferenceService
