"""Documents attached to images: blobs of a registry that are read whole, and so have a bound."""

from errors import RegistryError
from image.archive_reader import MAX_DOCUMENT
from oci.repository import Repository


async def read(repository: Repository, digest: str) -> bytes:
    """Return a blob; raises RegistryError when it is larger than a document, or not what its digest names."""
    content = bytearray()
    async for piece in repository.blob(digest):
        content += piece
        if len(content) > MAX_DOCUMENT:
            raise RegistryError(f"{digest} has more than {MAX_DOCUMENT} bytes")
    return bytes(content)
