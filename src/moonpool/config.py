"""Settings of a server: MOONPOOL_* variables, checked once at the start. Secrets are never printed.

The engine is imported only where its settings are asked for: commands that want no more than the database do without.
"""

import platform
import re
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from moonpool.access.settings import SmtpSettings
from moonpool.archives.settings import StoreSettings
from moonpool.telemetry.model import Target

if TYPE_CHECKING:
    from moonpool.builds.model import BuildLimits
    from moonpool.hosts.settings import HostSettings
    from moonpool.registry.model import RegistryLimits

MEBIBYTE, GIBIBYTE = 1024**2, 1024**3
WordList = Annotated[
    tuple[str, ...],
    NoDecode,
    BeforeValidator(lambda value: [part.strip() for part in value.split(",")] if isinstance(value, str) else value),
    AfterValidator(lambda value: tuple(part for part in value if part)),
]


def networks(parts: tuple[str, ...]) -> tuple[str, ...]:
    """ValueError for what is no network."""
    return tuple(str(ip_network(part)) for part in parts)


NetworkList = Annotated[WordList, AfterValidator(networks)]


def packages(names: tuple[str, ...]) -> tuple[str, ...]:
    """ValueError for what cannot be the name of a Debian package."""
    if wrong := [name for name in names if not PACKAGE.fullmatch(name)]:
        raise ValueError(f"not a package's name: {wrong[0]!r}")
    return names


PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+", re.ASCII)
PackageList = Annotated[WordList, AfterValidator(packages)]


class Settings(BaseSettings):
    """Each field is the variable MOONPOOL_ and its name in capitals; lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="MOONPOOL_", extra="ignore", frozen=True, hide_input_in_errors=True)

    listen: str = Field("127.0.0.1:8080", description="ADDRESS:PORT of the one listener.")
    data: Path = Field(Path("/var/lib/moonpool"), description="Everything the server keeps.")
    cache: Path = Field(Path("/var/cache/moonpool"), description="Image archives that several data folders share.")
    debian_mirror: str | None = Field(
        None,
        pattern="^https?://",
        description="Where the base image's packages come from; as on this machine otherwise.",
    )
    base_packages: PackageList = Field(
        (), description="Debian's packages that the base image gets beside its own, as graphviz."
    )
    webhook_networks: NetworkList = Field(
        (), description="Networks (CIDR) that are not public, and that webhooks and channels may reach."
    )
    telegram_url: str = Field(
        "https://api.telegram.org", pattern="^https?://", description="The bot API that Telegram channels use."
    )
    desktop: bool = Field(False, description="Build the image with a desktop, and offer it as daytona-desktop.")
    code_runner: bool = Field(
        False, description="Build the image with a Jupyter server, and offer it as code-runner-beta."
    )
    api_key: SecretStr | None = Field(None, description="The first API key, at least 8 characters.")
    secret_key: SecretStr | None = Field(
        None, description="What kept secrets are encrypted with; made in DATA/secret-key otherwise."
    )
    database_url: SecretStr | None = Field(None, description="postgresql://...; SQLite in the data folder otherwise.")
    public_url: str | None = Field(None, description="How clients reach the server, when not as they say themselves.")
    domain: str | None = Field(None, description="Domain of previews; localhost:PORT otherwise.")
    domain_aliases: WordList = Field((), description="Further domains of previews, as csb.app, where DNS leads here.")
    preview_wakes: Literal["never", "paused", "stopped"] = Field(
        "paused", description="Which sandboxes a request to a preview wakes; stopped: those and paused ones."
    )
    preview_timeout: float = Field(300, gt=0, description="Seconds for an app behind a preview to begin its answer.")
    ssh_listen: str | None = Field(
        None, pattern=r"^(\S+|\[\S+\]):\d{1,5}$", description="ADDRESS:PORT for SSH into sandboxes; off otherwise."
    )
    ssh_address: str | None = Field(
        None, description="HOST:PORT by which clients reach it, when not as the server itself at that port."
    )
    proxy_key: SecretStr | None = Field(
        None, min_length=16, description="For a proxy of your own, that asks Daytona's /preview operations."
    )
    tls_certificate: Path | None = Field(None, description="PEM, with its chain: HTTPS on the listener.")
    tls_key: Path | None = Field(None, description="The certificate's key, PEM, readable by the server alone.")
    sign_up: Literal["closed", "invited", "open"] = Field(
        "closed", description="Who may make an account: nobody, who is invited to a team, or everybody; takes SMTP."
    )
    web_url: str | None = Field(
        None,
        pattern="^https?://",
        description="Pages of your own that mailed links and logins lead to; the server's otherwise.",
    )
    smtp_host: str | None = Field(
        None, description="The mail server that mails of accounts go to; none are sent otherwise."
    )
    smtp_port: int = Field(587, gt=0, le=65535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field("starttls", description="How it is spoken to.")
    smtp_username: str | None = Field(None, description="The account at the mail server, where it wants one.")
    smtp_password: SecretStr | None = Field(None, description="The password of that account.")
    smtp_from: str = Field("moonpool@localhost", pattern=r"^[^\s@]+@[^\s@]+$", description="The sender of mails.")

    oauth_github_client_id: str | None = Field(None, description="Login by GitHub: the OAuth app's id.")
    oauth_github_client_secret: SecretStr | None = Field(None, description="Its secret.")
    oauth_github_url: str = Field("https://github.com", pattern="^https?://", description="GitHub, or an own server.")
    oauth_github_api: str = Field("https://api.github.com", pattern="^https?://", description="The API of that.")
    oauth_oidc_issuer: str | None = Field(
        None, pattern="^https?://", description="Login by OpenID Connect: the provider, exactly as it calls itself."
    )
    oauth_oidc_client_id: str | None = Field(None, description="What this server is called there.")
    oauth_oidc_client_secret: SecretStr | None = Field(None, description="The secret for that.")

    region: str = Field("local", min_length=1, description="The name of this server's one region.")
    on_exit: Literal["pause", "stop", "keep"] = Field("pause", description="What becomes of what runs at the end.")
    audit_days: float = Field(90, gt=0, description="How long the audit log is kept.")
    log_format: Literal["console", "json"] = Field("json", description="Of the log on standard error.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged at least.")

    pool_size: int = Field(4, ge=0, le=1000, description="Warm machines kept ready.")
    disk_pool_bytes: int = Field(200 * GIBIBYTE, ge=GIBIBYTE, description="Size of the disk pool where one is made.")
    runsc: str = Field("runsc", description="gVisor's program, by name or path.")
    mend_runsc: bool = Field(True, description="Run release 20240729 as a copy with its epoll mended, and calmer.")
    network_allow: WordList = Field((), description="Private networks that sandboxes may reach.")
    network_deny: WordList = Field((), description="Further networks that they may not.")

    archive: str | None = Field(
        None, description="Where archives and backups go: a folder or s3://BUCKET/PREFIX; DATA/archives otherwise."
    )
    archive_endpoint: str | None = Field(
        None, pattern="^https?://", description="The address of an S3-compatible store that is not AWS."
    )
    archive_region: str = Field("us-east-1", min_length=1, description="The store's region.")
    archive_access_key_id: SecretStr | None = Field(None, description="The store's key; AWS's usual places otherwise.")
    archive_secret_access_key: SecretStr | None = Field(None, description="The secret of that key.")
    registries_allow: WordList = Field((), description="Registries (HOST[:PORT]) that may have private addresses.")
    registries_insecure: WordList = Field((), description="Those that may in addition be without TLS.")
    image_max_bytes: int = Field(20 * GIBIBYTE, ge=MEBIBYTE, description="Size of one image, unpacked.")
    build_cpu: float = Field(2, gt=0, description="Cores of a step of a build.")
    build_memory_mib: int = Field(4096, gt=0, description="Memory of a step of a build.")
    build_disk_mib: int = Field(20 * 1024, gt=0, description="Disk that a step of a build may fill.")
    build_step_seconds: float = Field(1800, gt=0, description="How long one step of a build may take.")
    build_seconds: float = Field(7200, gt=0, description="How long a build may take.")
    builds: int = Field(2, gt=0, le=100, description="Builds carried out at once.")
    build_cache_bytes: int = Field(50 * GIBIBYTE, ge=0, description="What layers of builds may take in all.")
    build_cache_days: float = Field(
        14, ge=0, description="How long unused layers, contexts and untagged images are kept."
    )
    image_max_files: int = Field(1_000_000, gt=0, description="Files of one image.")

    otlp_endpoint: str | None = Field(
        None,
        pattern="^https?://",
        description="The operator's collector, for all sandboxes' telemetry; none otherwise.",
    )
    otlp_headers: SecretStr | None = Field(None, description="Headers for it: NAME=VALUE, separated by commas.")

    default_snapshot: str = Field("daytona-small", description="What a create without a snapshot starts from.")
    max_cpu: float = Field(64, gt=0, description="Cores of one sandbox.")
    max_memory_mib: int = Field(256 * 1024, gt=0, description="Memory of one sandbox.")
    max_disk_mib: int = Field(1024 * 1024, gt=0, description="Disk of one sandbox.")
    volume_mib: int = Field(10 * 1024, gt=0, description="Size of a volume that asks for none.")
    max_sandboxes: int | None = Field(None, gt=0, description="Sandboxes of one team; as many as fit otherwise.")
    max_running: int | None = Field(None, gt=0, description="Sandboxes of one team that run at once.")
    max_total_cpu: float | None = Field(None, gt=0, description="Cores of all running sandboxes of one team.")
    max_total_memory_mib: int | None = Field(None, gt=0, description="Memory of all running sandboxes of one team.")
    max_total_disk_mib: int | None = Field(None, gt=0, description="Disk of all sandboxes of one team.")
    max_snapshots: int | None = Field(None, gt=0, description="Snapshots of one team.")
    max_volumes: int | None = Field(100, gt=0, description="Volumes of one team.")
    max_registry_mib: int | None = Field(50 * 1024, ge=0, description="Images that one team has pushed here.")
    max_warm: int | None = Field(
        10, ge=0, description="Warm machines of one team's own pools, beside POOL_SIZE; some 30 MB each."
    )
    max_requests_hourly: int | None = Field(10_000_000, gt=0, description="Requests of one team in an hour.")
    max_key_requests_hourly: int | None = Field(None, gt=0, description="Requests with one key in an hour.")
    max_creates_hourly: int | None = Field(1_000_000, gt=0, description="Sandboxes that one team makes in an hour.")
    max_changes_hourly: int | None = Field(
        1_000_000, gt=0, description="Starts, stops, pauses and resumes of one team in an hour."
    )

    language_servers: dict[str, str] = Field(
        {}, description='Commands of further language servers in images, as JSON: {"go": "gopls"}.'
    )
    wrenn_previews: Literal["public", "private"] = Field(
        "public", description="Ports of capsules made by Wrenn's API: open to who knows their id, as that vendor's are."
    )
    wrenn_terminal_frames: Literal["json", "binary"] = Field("json", description="binary for Wrenn's SDK from 0.3 on.")

    @model_validator(mode="after")
    def whole_tls(self) -> "Settings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("MOONPOOL_TLS_CERTIFICATE and MOONPOOL_TLS_KEY belong together")
        return self

    @property
    def database(self) -> str:
        """The database's URL; it may hold a password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data.resolve() / 'db.sqlite'}"

    @property
    def collector(self) -> Target | None:
        if self.otlp_endpoint is None:
            return None
        pairs = (self.otlp_headers.get_secret_value() if self.otlp_headers else "").split(",")
        headers = {name.strip(): value.strip() for name, sign, value in (pair.partition("=") for pair in pairs) if sign}
        return Target(self.otlp_endpoint.rstrip("/"), headers)

    def registry_limits(self) -> "RegistryLimits":
        from moonpool.registry.model import RegistryLimits

        return RegistryLimits(self.image_max_bytes, self.build_cache_days * 24 * 3600)

    def build_limits(self) -> "BuildLimits":
        from moonpool.builds.model import BuildLimits
        from moonpool.hosts.model import Resources

        return BuildLimits(
            resources=Resources(self.build_cpu, self.build_memory_mib, self.build_disk_mib),
            step_seconds=self.build_step_seconds,
            seconds=self.build_seconds,
            parallel=self.builds,
            cache_bytes=self.build_cache_bytes,
            cache_seconds=self.build_cache_days * 24 * 3600,
        )

    @property
    def port(self) -> str:
        return self.listen.rpartition(":")[2]

    @property
    def preview_domain(self) -> str:
        return self.domain or f"localhost:{self.port}"

    @property
    def origin(self) -> str:
        """``scheme://host[:port]``, with no slash at its end."""
        scheme = "http" if self.tls_certificate is None else "https"
        return (self.public_url or f"{scheme}://{self.listen}").rstrip("/")

    @model_validator(mode="after")
    def whole_providers(self) -> "Settings":
        if (self.oauth_github_client_id is None) != (self.oauth_github_client_secret is None):
            raise ValueError("MOONPOOL_OAUTH_GITHUB_CLIENT_ID and ..._CLIENT_SECRET belong together")
        oidc = {
            self.oauth_oidc_issuer is None,
            self.oauth_oidc_client_id is None,
            self.oauth_oidc_client_secret is None,
        }
        if len(oidc) > 1:
            raise ValueError("MOONPOOL_OAUTH_OIDC_ISSUER, ..._CLIENT_ID and ..._CLIENT_SECRET belong together")
        return self

    @property
    def web(self) -> str:
        """Where people are sent, with no slash at its end."""
        return (self.web_url or self.origin).rstrip("/")

    @property
    def own_hosts(self) -> tuple[str, ...]:
        """By which clients reach the APIs and pages, as far as is known here."""
        addresses = (self.origin, self.web)
        return (*(urlsplit(address).hostname or "" for address in addresses), platform.node().lower(), "localhost")

    @property
    def knows_itself(self) -> bool:
        """Whether there can be no other name by which somebody reaches the APIs."""
        host = self.listen.rpartition(":")[0].strip("[]")
        return self.public_url is not None or host in ("localhost", "::1") or host.startswith("127.")

    @property
    def has_pages(self) -> bool:
        """Whether people are sent to this server's own pages."""
        return self.web == self.origin

    @property
    def smtp(self) -> SmtpSettings | None:
        if self.smtp_host is None:
            return None
        password = None if self.smtp_password is None else self.smtp_password.get_secret_value()
        return SmtpSettings(
            self.smtp_host, self.smtp_port, self.smtp_from, self.smtp_security, self.smtp_username, password
        )

    @property
    def archives(self) -> StoreSettings:
        key, secret = self.archive_access_key_id, self.archive_secret_access_key
        return StoreSettings(
            place=self.archive or str(self.data.resolve() / "archives"),
            endpoint=self.archive_endpoint,
            region=self.archive_region,
            access_key_id=None if key is None else key.get_secret_value(),
            secret_access_key=None if secret is None else secret.get_secret_value(),
        )

    def host(self) -> "HostSettings":
        from moonpool.engine.images.oci import FetchPolicy, ImageLimits
        from moonpool.hosts.settings import HostSettings

        return HostSettings(
            data=self.data.resolve(),
            cache=self.cache,
            debian_mirror=self.debian_mirror,
            base_packages=self.base_packages,
            desktop=self.desktop,
            code_runner=self.code_runner,
            runsc=self.runsc,
            mend_runsc=self.mend_runsc,
            warm_pool=self.pool_size,
            disk_pool_bytes=self.disk_pool_bytes,
            operator_allow=self.network_allow,
            operator_deny=self.network_deny,
            fetch_policy=FetchPolicy(frozenset(self.registries_allow), frozenset(self.registries_insecure)),
            image_limits=ImageLimits(self.image_max_bytes, self.image_max_bytes, self.image_max_files),
        )
