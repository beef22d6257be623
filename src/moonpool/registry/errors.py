"""What can go wrong with pushed images. Each is known to clients of registries by a code of the protocol's own."""

from moonpool.errors import Conflict, InvalidInput, NotFound


class RepositoryInvalid(InvalidInput):
    code = "repository_invalid"
    default = "Not the name of a repository"


class RepositoryNotFound(NotFound):
    code = "repository_not_found"
    default = "There is no such repository"


class BlobNotFound(NotFound):
    code = "blob_not_found"
    default = "There is no such part of an image"


class ManifestNotFound(NotFound):
    code = "manifest_not_found"
    default = "There is no such image"


class UploadNotFound(NotFound):
    code = "upload_not_found"
    default = "There is no such upload"
    default_hint = "Begin another one."


class DigestInvalid(InvalidInput):
    code = "digest_invalid"
    default = "The content is not what its digest says"


class ManifestInvalid(InvalidInput):
    code = "manifest_invalid"
    default = "The manifest cannot be used"


class PartMissing(ManifestInvalid):
    code = "part_missing"
    default = "A part that the manifest names is not there"
    default_hint = "Push the parts of an image before its manifest."


class UploadInvalid(InvalidInput):
    code = "upload_invalid"
    default = "The upload cannot go on like this"


class OutOfOrder(UploadInvalid):
    """``size`` bytes are there, and the next ones are wanted."""

    code = "upload_out_of_order"
    default = "The content does not begin where the upload ended"

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.size = size


class PartInUse(Conflict):
    code = "part_in_use"
    default = "An image needs this part"
    default_hint = "Delete the images first; what no image needs goes by itself."
