"""Every part of a server, wired: what the application of it starts and ends."""

import asyncio
import contextlib
import platform
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

import structlog

from moonpool.access.accounts import AccountRules
from moonpool.access.community import Community, community
from moonpool.access.limits import LimitBook
from moonpool.access.mail import SmtpMailer
from moonpool.access.model import TeamLimits
from moonpool.access.passwords import Passwords
from moonpool.access.preferences import PreferenceService
from moonpool.access.providers import GitHub, OpenIdConnect, Provider
from moonpool.access.service import AccessService
from moonpool.access.signing import signing_key
from moonpool.archives.service import Archives
from moonpool.archives.stores import open_store
from moonpool.audit.service import AuditService
from moonpool.builds.cache import LayerCache
from moonpool.builds.contexts import Contexts
from moonpool.builds.disks import Disks
from moonpool.builds.logs import BuildLogs
from moonpool.builds.machine import BuildMachines
from moonpool.builds.registry_service import RegistryService
from moonpool.builds.runner import Runner
from moonpool.builds.service import BuildService
from moonpool.clock import Clock
from moonpool.config import Settings
from moonpool.deliveries.book import ReceiverBook
from moonpool.deliveries.channels import ChannelService
from moonpool.deliveries.dispatcher import Dispatcher
from moonpool.deliveries.model import Kind
from moonpool.deliveries.portal import PortalService
from moonpool.deliveries.webhooks import WebhookService
from moonpool.dialects.codesandbox import gateway as codesandbox_gateway
from moonpool.dialects.common.services import ServerInfo, Services
from moonpool.dialects.daytona import gateway as daytona_gateway
from moonpool.dialects.daytona import webhook_events as daytona_webhooks
from moonpool.dialects.daytona.telemetry import figures
from moonpool.dialects.wrenn import channels as wrenn_channels
from moonpool.dialects.wrenn import gateway as wrenn_gateway
from moonpool.engine.network.addresses import AGENT_PORT
from moonpool.errors import MachineUnfit, MoonpoolError
from moonpool.events.service import EventService
from moonpool.fleet.jobs import JobService
from moonpool.fleet.pools import WarmPools
from moonpool.fleet.service import FleetService, Machine
from moonpool.hosts.settings import HostSettings
from moonpool.identities.service import IdentityService
from moonpool.metrics.model import Gauges
from moonpool.metrics.service import MetricsService
from moonpool.outbound import Outbound
from moonpool.previews.gateway.gateway import GatewaySettings, PreviewGateway
from moonpool.previews.gateway.words import joined
from moonpool.previews.service import PreviewService
from moonpool.processes.units.service import UnitService
from moonpool.registry.service import PushedImages
from moonpool.sandboxes.activity import Activity
from moonpool.sandboxes.admission import Admission
from moonpool.sandboxes.archiving import Archiving
from moonpool.sandboxes.background import Background
from moonpool.sandboxes.changes import Changes
from moonpool.sandboxes.evictable import EvictableSandboxes
from moonpool.sandboxes.eviction import Eviction
from moonpool.sandboxes.forking import Forking
from moonpool.sandboxes.giving_secrets import GivingSecrets
from moonpool.sandboxes.holdings import gate_of
from moonpool.sandboxes.idle import IdleRules
from moonpool.sandboxes.lifecycle import Lifecycle
from moonpool.sandboxes.model import Sandbox
from moonpool.sandboxes.mounting import Mounting
from moonpool.sandboxes.oversight import Oversight
from moonpool.sandboxes.placing import Switches, guarded
from moonpool.sandboxes.rebasing import Rebasing, Roots
from moonpool.sandboxes.records import Records
from moonpool.sandboxes.recovery import Recovery
from moonpool.sandboxes.service import SandboxService
from moonpool.sandboxes.shutdown import OnExit, put_to_rest
from moonpool.sandboxes.tags import TagService
from moonpool.sandboxes.traffic import TrafficWatch
from moonpool.secrets.catalogue import SecretCatalogue
from moonpool.secrets.service import SecretService
from moonpool.snapshots.catalogue import SnapshotCatalogue
from moonpool.snapshots.model import CODE_RUNNER_IMAGE, DESKTOP_IMAGE
from moonpool.snapshots.service import SnapshotService
from moonpool.snapshots.warming import WarmableMachines, Warming
from moonpool.ssh.service import SshService
from moonpool.store.database import Store
from moonpool.telemetry.forwarding import Forwarder
from moonpool.telemetry.service import Announcing, TelemetryService
from moonpool.telemetry.targets import TelemetryTargets
from moonpool.vault import Box, Vault, derived
from moonpool.volumes.catalogue import VolumeCatalogue
from moonpool.volumes.service import Users, VolumeHost, VolumeLimits, VolumeService

if TYPE_CHECKING:
    from moonpool.ssh.server import SshServer

VERSION = version("moonpool")
GRACE = 30.0  # seconds for changes of state under way when the server ends
SAVE_EVERY = 10.0  # seconds between notes of how far events were handed out, and looks at what limits others set
PRUNE_FIRST, PRUNE_EVERY = 60.0, 3600.0  # seconds after the start, when there is enough else to do, and from then on

log = structlog.get_logger(__name__)


class HostLayers(Disks, Roots, Protocol):
    """Disks of builds, and of sandboxes that get another root."""


class RunningHost(WarmableMachines, VolumeHost, Gauges, Protocol):
    @property
    def layers(self) -> HostLayers: ...

    def keep_warm(self, extra: int) -> None: ...

    @property
    def notices(self) -> Announcing: ...

    async def close(self, *, keep: bool = False) -> None: ...


OpenHost = Callable[[HostSettings], Awaitable[RunningHost]]


class Core:
    """Every service, wired; ``start`` and ``stop`` once each."""

    def __init__(
        self, settings: Settings, store: Store, host: RunningHost, clock: Clock, passwords: Passwords | None = None
    ) -> None:
        self._settings = settings
        self.clock = clock
        self.background = Background()
        self._limits = LimitBook(store, clock, TeamLimits.of(settings))
        self.access = AccessService(store, clock, self._limits)
        self.audit = AuditService(store, self.access, timedelta(days=settings.audit_days), clock)
        self.events = EventService(store, clock)
        self._outbound = Outbound(settings.webhook_networks)
        data, given = settings.data.resolve(), settings.secret_key
        self._vault = Vault.open(data, None if given is None else given.get_secret_value())
        self._key = signing_key(data)
        self._switches = Switches()
        self.community = self._gather(store, passwords)
        self.preferences = PreferenceService(store, self.access, clock)
        self._open_sandboxes(store, host)
        self._open_snapshots(store, host)
        self._open_volumes(store, host)
        self._open_deliveries(store)
        self._open_doors(store)
        self._open_figures(store, host)
        self._open_fleet(store, host)
        self._ssh_server: SshServer | None = None
        self._upkeep: asyncio.Task[None] | None = None
        doors = (self.identities.delete_all, self.sandboxes.destroy_all)
        for empty in (*doors, self.snapshots.delete_all, self.volumes.delete_all, self.images.delete_all):
            self.community.departures.add(empty)

    def _open_sandboxes(self, store: Store, host: RunningHost) -> None:
        clock = self.clock
        self._catalogue, self._volume_catalogue = SnapshotCatalogue(store, clock), VolumeCatalogue(store)
        self._secret_catalogue = SecretCatalogue(store, self._vault.box("team secrets"))
        self.secrets = SecretService(self.access, self._secret_catalogue, clock)
        self.records = Records(store, self.events, clock)
        self.records.guard(guarded(gate_of(self._limits), self._switches))
        admission = Admission(
            self.records,
            self._catalogue,
            self._limits,
            self._settings.default_snapshot,
            clock,
            self._volume_catalogue,
            self._secret_catalogue,
        )
        self._recovery = Recovery(self.records, host, clock)
        self._eviction = Eviction(host, self.background)
        archives = Archives(host, open_store(self._settings.archives), clock)
        self.archiving = Archiving(self.records, host, archives, self.background)
        self.lifecycle = Lifecycle(
            self.records, host, admission, self._recovery, self._eviction, self.archiving, self.background, clock
        )
        self._activity = Activity(self.records, self.background, clock)
        flights = self.lifecycle.flights
        self.sandboxes = SandboxService(
            self.access,
            self.records,
            self.lifecycle,
            Forking(self.records, host, admission, self.lifecycle),
            Changes(self.records, host, flights, self._limits, clock),
            self._activity,
            Mounting(self.records, host, flights, admission),
            Rebasing(self.records, host.layers, flights, admission),
            GivingSecrets(self.records, host, flights, self._secret_catalogue),
            self._limits,
        )
        self._eviction.add(EvictableSandboxes(self.records, self.lifecycle, self._activity))
        self.tags = TagService(store, self.access, self.records, clock)

    def _open_snapshots(self, store: Store, host: RunningHost) -> None:
        clock = self.clock
        self.snapshots = SnapshotService(
            store, self.access, self.events, self._catalogue, self.sandboxes, host, self.background, clock
        )
        self._eviction.add(self.snapshots)
        self._warming = Warming(store, self._catalogue, host, clock)
        # Earlier versions sealed passwords with the signing key.
        secrets = self._vault.box("registry passwords", older=[derived(self._key, b"moonpool registry passwords")])
        self.registries = RegistryService(store, self.access, secrets, clock)
        data, limits = self._settings.data.resolve(), self._settings.registry_limits()
        self.images = PushedImages(self.access, data / "registry", self._key, limits, clock)
        self.builds = builds_of(
            self._settings, store, self.access, self.snapshots, self.registries, self.images, host, secrets, clock
        )

    def _open_volumes(self, store: Store, host: RunningHost) -> None:
        self.volumes = VolumeService(
            store,
            self.access,
            self.events,
            self._volume_catalogue,
            Users(lambda volume: [sandbox.name for sandbox in self.records.mounting(volume)], self.records.left),
            host,
            VolumeLimits(self._settings.volume_mib, self._settings.max_disk_mib),
            self.background,
            self.clock,
        )

    def _open_doors(self, store: Store) -> None:
        clock = self.clock
        self.previews = PreviewService(store, self.access, self.sandboxes, clock, self._key)
        self.gateway = self._open_gateway()
        self.identities = IdentityService(store, self.access, self.sandboxes, clock)
        self.ssh = SshService(store, self.access, self.sandboxes, self.identities, clock)

    def _open_figures(self, store: Store, host: RunningHost) -> None:
        clock, data = self.clock, self._settings.data.resolve()
        self.rules = IdleRules(self.records, self.lifecycle, self._activity, self.background, clock)
        self.traffic = TrafficWatch(self.records, host, self._activity)
        self.metrics = MetricsService(store, self.access, self.sandboxes, self.records, host, data / "metrics", clock)
        targets = TelemetryTargets(
            store, self.access, self._vault.box("telemetry targets"), self._outbound, self._settings.collector, clock
        )
        self.telemetry = TelemetryService(
            self.sandboxes,
            self.records,
            host,
            targets,
            Forwarder(self._outbound),
            data / "telemetry",
            self._figures,
            clock,
        )

    def _open_fleet(self, store: Store, host: RunningHost) -> None:
        name, apart = platform.node() or "localhost", self._settings.database_url is not None
        machine = Machine(host, host.readiness, name, VERSION, self._key, apart)
        catalogue, clock = self._catalogue, self.clock
        self.fleet = FleetService(store, self.access, self.records, catalogue, machine, self._switches, clock)
        self.pools = WarmPools(store, self.access, self._limits, catalogue, host.readiness, host.keep_warm, clock)

    def _figures(self, sandbox: Sandbox) -> Mapping[str, tuple[float, str]] | None:
        point = self.metrics.latest(sandbox.id)
        return None if point is None else figures(point, sandbox)

    @property
    def has_pages(self) -> bool:
        return self._settings.has_pages

    @property
    def services(self) -> Services:
        settings = self._settings
        server = ServerInfo(
            version=VERSION,
            public_url=settings.origin,
            preview_domain=settings.preview_domain,
            preview_domain_is_set=settings.domain is not None,
            ssh_address=settings.ssh_address,
            wrenn_previews_are_public=settings.wrenn_previews == "public",
            proxy_key=settings.proxy_key.get_secret_value() if settings.proxy_key else None,
            region=settings.region,
            terminal_frames=settings.wrenn_terminal_frames,
            signing_key=self._key,
            language_servers=settings.language_servers,
        )
        return Services(
            self.access,
            self.sandboxes,
            self.snapshots,
            self.events,
            server,
            self.clock,
            audit=self.audit,
            webhooks=self.webhooks,
            portal=self.portal,
            channels=self.channels,
            secrets=self.secrets,
            metrics=self.metrics,
            previews=self.previews,
            tags=self.tags,
            units=UnitService(self.sandboxes),
            volumes=self.volumes,
            builds=self.builds,
            registries=self.registries,
            images=self.images,
            ssh=self.ssh,
            fleet=self.fleet,
            pools=self.pools,
            telemetry=self.telemetry,
            preferences=self.preferences,
            jobs=JobService(self.access, self.records, self.builds),
            identities=self.identities,
            community=self.community,
            oversight=Oversight(self.access, self.records, self._activity),
        )

    def _gather(self, store: Store, passwords: Passwords | None) -> Community:
        settings = self._settings
        rules = AccountRules(settings.sign_up, settings.web)
        mailer = None if settings.smtp is None else SmtpMailer(settings.smtp)
        return community(
            store,
            self.clock,
            self.access,
            rules,
            mailer,
            self._key,
            self.background.spawn,
            passwords,
            providers=providers_of(settings, self.clock),
        )

    def _open_deliveries(self, store: Store) -> None:
        telegram, clock = self._settings.telegram_url, self.clock
        self._book = ReceiverBook(store, self._vault.box("receivers"))
        renderers = {Kind.ENDPOINT: daytona_webhooks.render, Kind.CHANNEL: wrenn_channels.render}
        consumer = self.events.consumer("deliveries")
        self.deliveries = Dispatcher(store, self._book, consumer, renderers, self._outbound, telegram, clock)
        self.events.listen(self.deliveries.heard)
        self.webhooks = WebhookService(
            store, self.access, self._book, self.deliveries, self._outbound, daytona_webhooks.KINDS, clock
        )
        self.portal = PortalService(store, self.access, clock, self._key)
        kinds = wrenn_channels.KINDS
        self.channels = ChannelService(self.access, self._book, self._outbound, kinds, telegram, clock)

    def _open_gateway(self) -> PreviewGateway:
        settings = self._settings
        gateway = GatewaySettings(
            domains=(settings.preview_domain, *settings.domain_aliases),
            agent_port=AGENT_PORT,
            answer_timeout=settings.preview_timeout,
            wake=settings.preview_wakes,
            words=joined(part.WORDS for part in (codesandbox_gateway, daytona_gateway, wrenn_gateway)),
            key=self._key,
            own_hosts=settings.own_hosts,
        )
        doors, wakes = self.previews.doors, codesandbox_gateway.wakes
        opened = PreviewGateway(gateway, self.access, self.sandboxes, doors, self.background, wakes, self.clock)
        links = self.previews.links
        links.reserved, links.own_domain, links.knows_itself = opened.owns, opened.domain, settings.knows_itself
        self.records.listen(opened.sandbox_changed)
        return opened

    async def _open_ssh(self, listen: str) -> None:
        host, _, port = listen.rpartition(":")
        from moonpool.ssh.server import SshServer  # asyncssh takes a while, and not every server needs it

        server = SshServer(self.ssh, self.sandboxes, self.clock, self._settings.data.resolve())
        try:
            log.info("ssh_listens", port=await server.start(host.strip("[]"), int(port)))
        except OSError as error:
            raise MachineUnfit(f"SSH cannot listen on {listen}: {error.strerror}") from error
        self._ssh_server = server

    async def start(self) -> None:
        """Rows, machines and events as an earlier run left them are put right before anything is served."""
        await self.fleet.start()
        api_key = self._settings.api_key
        await self.access.start(api_key.get_secret_value() if api_key else None)
        await self._catalogue.start(offered_images(self._settings))
        await self._volume_catalogue.start()
        await self._secret_catalogue.start()
        await self.preferences.load()
        await self.records.load()
        await self.volumes.recover()
        await self.metrics.look_back()
        interrupted = [sandbox.id for sandbox in self.records.all() if sandbox.interrupted]
        await self._recovery.run()
        await self.archiving.forget_bases()
        await self.snapshots.recover()
        await self._warming.run()
        await self.metrics.start()
        await self.pools.start()
        await self.telemetry.start()
        await self.builds.start()
        await self._book.load()
        await self.events.start()
        await self.deliveries.start()
        await self.previews.doors.load()
        if self._settings.ssh_listen is not None:
            await self._open_ssh(self._settings.ssh_listen)
        self.rules.start()
        self._eviction.watch()
        self.traffic.start()
        for sandbox_id in interrupted:
            await self._go_on(sandbox_id)
        self.background.spawn(self.community.departures.run(), "empty deleted teams")
        self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(), name="upkeep")

    async def stop(self) -> None:
        await self.rules.close()
        self.gateway.close()
        await self.traffic.close()
        await self.telemetry.close()
        if self._ssh_server is not None:
            await self._ssh_server.close()
        if self._upkeep is not None:
            self._upkeep.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._upkeep
        await self.archiving.close()
        await self.builds.close()
        await self.background.close(GRACE)
        self.images.close()
        await put_to_rest(self.records, self.lifecycle, OnExit(self._settings.on_exit))
        await self._activity.flush()
        await self._catalogue.flush()
        await self.previews.doors.flush()
        await self.metrics.close()
        await self.deliveries.close()
        await self._outbound.close()
        await self.events.close()
        await self.audit.close()
        await self.access.close()

    async def _go_on(self, sandbox_id: str) -> None:
        try:
            await self.lifecycle.go_on(self.records.current(sandbox_id))
        except MoonpoolError as error:
            log.warning("transfer_not_resumed", sandbox=sandbox_id, reason=error.message)
            await self.archiving.give_up(sandbox_id, error.message)

    async def _keep_up(self) -> None:
        """Each step on its own: one that fails is logged, and done again the next time."""
        next_prune = self.clock.monotonic() + PRUNE_FIRST
        while True:
            if (now := self.clock.monotonic()) >= next_prune:
                self.background.spawn(self.records.prune(), "prune sandboxes")
                self.background.spawn(self.snapshots.prune(), "prune records of snapshots")
                self.background.spawn(self.events.prune(), "prune events")
                self.background.spawn(self.volumes.prune(), "prune volumes")
                self.background.spawn(self.audit.prune(), "prune audit log")
                self.background.spawn(self.deliveries.prune(), "prune deliveries")
                self.background.spawn(self.builds.prune(), "prune builds")
                self.background.spawn(self.images.prune(), "prune pushed images")
                self.background.spawn(self.community.prune(), "prune accounts and sessions")
                next_prune = now + PRUNE_EVERY
            await asyncio.sleep(SAVE_EVERY)
            self.background.spawn(self.events.save(), "save events")
            self.background.spawn(self.deliveries.save(), "save how far events were taken")
            self.background.spawn(self._catalogue.flush(), "note uses of snapshots")
            self.background.spawn(self.previews.doors.flush(), "save uses of preview tokens")
            self.background.spawn(self.access.limits.load(), "follow limits")
            self.background.spawn(self.preferences.load(), "follow preferences")


def offered_images(settings: Settings) -> frozenset[str]:
    """Those that only some servers have."""
    asked = {DESKTOP_IMAGE: settings.desktop, CODE_RUNNER_IMAGE: settings.code_runner}
    return frozenset(image for image, wanted in asked.items() if wanted)


def providers_of(settings: Settings, clock: Clock) -> list[Provider]:
    """Those that the operator named."""
    found: list[Provider] = []
    if settings.oauth_github_client_id is not None and settings.oauth_github_client_secret is not None:
        secret = settings.oauth_github_client_secret.get_secret_value()
        urls = settings.oauth_github_url.rstrip("/"), settings.oauth_github_api.rstrip("/")
        found.append(GitHub(settings.oauth_github_client_id, secret, *urls))
    if settings.oauth_oidc_issuer and settings.oauth_oidc_client_id and settings.oauth_oidc_client_secret:
        secret = settings.oauth_oidc_client_secret.get_secret_value()
        found.append(OpenIdConnect(settings.oauth_oidc_issuer, settings.oauth_oidc_client_id, secret, clock))
    return found


def builds_of(
    settings: Settings,
    store: Store,
    access: AccessService,
    snapshots: SnapshotService,
    registries: RegistryService,
    images: PushedImages,
    host: RunningHost,
    secrets: Box,
    clock: Clock,
) -> BuildService:
    data, limits = settings.data.resolve(), settings.build_limits()
    contexts, cache = Contexts(data / "contexts"), LayerCache(store, host.layers, limits, clock)
    runner = Runner(cache, host.layers, BuildMachines(host, host.layers, limits), contexts, images)
    logs = BuildLogs(data / "builds", limits.log_bytes)
    return BuildService(store, access, snapshots, registries, runner, cache, contexts, logs, secrets, limits, clock)
