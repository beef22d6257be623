"""What stands for an agent where no program is run."""

from moonpool.errors import UserNotFound


class KnowsUsers:
    """What an agent says of those of the base image."""

    async def stat(self, _path: str, *, user: str) -> None:
        if user not in ("root", "daytona", "wrenn-user", "user"):
            raise UserNotFound(f"No such user: {user}")
