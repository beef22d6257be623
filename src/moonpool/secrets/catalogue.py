"""Every secret, sealed, in memory as in the database: a sandbox that starts waits for no SQL."""

from collections.abc import Iterable, Mapping

from moonpool.errors import InvalidInput, LimitExceeded, NotSupported, SecretNotFound
from moonpool.secrets.model import TeamSecret
from moonpool.secrets.repository import SecretRepository
from moonpool.store.database import Store
from moonpool.vault import Box

MOST = 100  # of one team
MOST_OF_A_SANDBOX = 50


class SecretCatalogue:
    def __init__(self, store: Store, box: Box) -> None:
        self._store = store
        self._box = box
        self._repository = SecretRepository()
        self._known: dict[str, TeamSecret] = {}

    async def start(self) -> None:
        async with self._store.reading() as connection:
            self._known = {secret.id: secret for secret in await self._repository.all(connection)}

    def of(self, team_id: str) -> Iterable[TeamSecret]:
        return [secret for secret in self._known.values() if secret.team_id == team_id]

    def find(self, team_id: str, secret_id: str) -> TeamSecret:
        """SecretNotFound for another team's, too."""
        found = self._known.get(secret_id)
        if found is None or found.team_id != team_id:
            raise SecretNotFound
        return found

    def resolve(self, team_id: str, wanted: Mapping[str, str]) -> dict[str, str]:
        """From names of secrets, by variable, to their ids. SecretNotFound, LimitExceeded; NotSupported for one that is
        for some hosts alone: here nothing stands between a sandbox and the hosts that it reaches, so whoever has the
        value inside could send it anywhere."""
        if len(wanted) > MOST_OF_A_SANDBOX:
            raise LimitExceeded(f"A sandbox has at most {MOST_OF_A_SANDBOX} secrets", field="secrets")
        by_name = {secret.name: secret for secret in self.of(team_id)}
        for name in wanted.values():
            if name not in by_name:
                raise SecretNotFound(f"There is no secret named '{name[:100]}'")
            if by_name[name].hosts:
                message = f"The secret '{name}' is for some hosts alone, which this server cannot enforce"
                raise NotSupported(message, hint="Remove its hosts to give sandboxes its value.")
        return {variable: by_name[name].id for variable, name in wanted.items()}

    def known(self, team_id: str, secrets: Mapping[str, str]) -> dict[str, TeamSecret]:
        """By variable, those of these ids that are still there."""
        found = {variable: self._known.get(secret_id) for variable, secret_id in secrets.items()}
        return {variable: one for variable, one in found.items() if one is not None and one.team_id == team_id}

    def values(self, team_id: str, secrets: Mapping[str, str]) -> dict[str, str]:
        """In the clear, for a sandbox of that team; what was restricted or deleted since is left out."""
        known = self.known(team_id, secrets)
        return {variable: self._box.open(one.value) for variable, one in known.items() if not one.hosts}

    def seal(self, value: str) -> str:
        return self._box.seal(value)

    async def add(self, secret: TeamSecret) -> None:
        """NameTaken, LimitExceeded."""
        async with self._store.transaction() as transaction:
            if len(list(self.of(secret.team_id))) >= MOST:
                raise LimitExceeded(f"A team has at most {MOST} secrets", field="name", hint="Delete some of them.")
            await self._repository.insert(transaction, secret)
            transaction.after_commit(lambda: self._remember(secret))

    async def write(self, secret: TeamSecret) -> None:
        async with self._store.transaction() as transaction:
            await self._repository.write(transaction, secret)
            transaction.after_commit(lambda: self._remember(secret))

    async def remove(self, secret: TeamSecret) -> None:
        async with self._store.transaction() as transaction:
            await self._repository.delete(transaction, secret)
            transaction.after_commit(lambda: self._forget(secret.id))

    def _remember(self, secret: TeamSecret) -> None:
        self._known[secret.id] = secret

    def _forget(self, secret_id: str) -> None:
        self._known.pop(secret_id, None)


def check_variables(wanted: Mapping[str, str]) -> Mapping[str, str]:
    """Names of variables; InvalidInput."""
    for variable in wanted:
        if not variable.isidentifier() or not variable.isascii() or len(variable) > 255:
            raise InvalidInput(f"secrets: not the name of a variable: {variable[:50]!r}", field="secrets")
    return wanted
