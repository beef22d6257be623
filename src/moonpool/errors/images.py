"""Images and builds."""

from typing import Any

from moonpool.errors.base import MoonpoolError
from moonpool.errors.requests import NotFound


class ImageError(MoonpoolError):
    """An image of somebody else's cannot be used, for a reason that lies with it or with who asks."""

    code = "image_error"
    default = "The image cannot be used"


class ImageNotFound(ImageError):
    code = "image_not_found"
    default = "There is no such image"
    default_hint = "Look at its name and its tag; a private image needs credentials."


class ImageUnauthorized(ImageError):
    code = "image_unauthorized"
    default = "The registry does not let us have this image"
    default_hint = "Give a user name and a password (or token) for this registry."


class ImageForbidden(ImageError):
    code = "image_forbidden"
    default = "Images may not be fetched from there"


class ImageInvalid(ImageError):
    code = "image_invalid"
    default = "The image is damaged, or holds what no image may"


class ImageTooLarge(ImageError):
    code = "image_too_large"
    default = "The image is larger than allowed"
    default_hint = "Use a smaller image, or raise MOONPOOL_IMAGE_MAX_BYTES."


class ImageUnavailable(ImageError):
    code = "image_unavailable"
    default = "The registry cannot be reached"
    default_hint = "Try again; the server must be able to reach the registry."


class ImageTimeout(ImageUnavailable):
    code = "image_timeout"
    default = "Fetching the image took too long"


class BuildNotFound(NotFound):
    code = "build_not_found"
    default = "Build not found"


class RegistryNotFound(NotFound):
    code = "registry_not_found"
    default = "Registry not found"


class BuildError(MoonpoolError):
    """A build cannot go on, for a reason that lies with its recipe; ``line`` of the Dockerfile where there is one."""

    code = "build_failed"
    default = "The build failed"

    def __init__(self, message: str = "", *, line: int | None = None, hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        self.line = line


class BuildInvalid(BuildError):
    code = "build_invalid"
    default = "The recipe is wrong"


class BuildCancelled(BuildError):
    code = "build_cancelled"
    default = "The build was cancelled"
