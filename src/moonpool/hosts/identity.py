"""What makes one sandbox differ from another inside: names, addresses, environment, secret."""

import hashlib

from moonpool.engine.network.addresses import GUEST_ADDRESS
from moonpool.guest.model import Identity
from moonpool.hosts.model import MachineSpec

WARM_HOSTNAME = "moonpool"


def warm_identity(secret: str) -> Identity:
    """For a member that belongs to nobody yet: only the secret matters."""
    return Identity(secret=secret.encode(), hostname=WARM_HOSTNAME)


def identity_of(spec: MachineSpec, resolv_conf: str, secret: str) -> Identity:
    hosts = f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{GUEST_ADDRESS} {spec.hostname}\n"
    return Identity(
        hostname=spec.hostname,
        hosts=hosts,
        resolv_conf=resolv_conf,
        env=dict(spec.env),
        machine_id=hashlib.sha256(spec.id.encode()).hexdigest()[:32],
        secret=secret.encode(),
        user=spec.user,
        processes=spec.resources.pids,
    )
