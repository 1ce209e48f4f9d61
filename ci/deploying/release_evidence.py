"""Golden rows and version of a release, read from the registry and never from the running service."""

from typing import Any

from deploying.rollout.golden_rows import Golden
from errors import RegistryError, ReleaseRejected
from image import canonical_json, provenance
from image.canonical import VERSION
from image.components import CARD
from oci.reference import Release
from oci.repository import Repository


def golden(release: Release, content: bytes) -> Golden:
    """Return the golden rows of a release's provenance; raises ReleaseRejected when that has none of it."""
    try:
        statement = canonical_json.parse(content)
        about = {f"sha256:{each['digest']['sha256']}" for each in statement["subject"]}
        rows, card = (provenance.content(statement, path) for path in (provenance.GOLDEN, CARD))
    except (ValueError, LookupError, TypeError) as error:
        raise ReleaseRejected(f"golden: {release} has no readable provenance: {error!r}") from error
    if about != {release.digest} or rows is None or card is None:
        raise ReleaseRejected(
            f"golden: the provenance of {release} is of {', '.join(sorted(about))}, and has "
            f"{'no ' if rows is None else ''}golden rows; train and release again"
        )
    return Golden.of(rows, card)


async def version(repository: Repository, release: Release) -> str:
    """Return what version an image says that it is; raises RegistryError when it says nothing."""
    try:
        manifest = canonical_json.parse(await repository.manifest(release.digest))
        content = await repository.document(str(manifest["config"]["digest"]))
        config: dict[str, Any] = canonical_json.parse(content)
        return str(config["config"]["Labels"][VERSION])
    except (ValueError, LookupError, TypeError) as error:
        raise RegistryError(f"registry: {release} has no label {VERSION}: {error!r}") from error
