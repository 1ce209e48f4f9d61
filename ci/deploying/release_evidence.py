"""What a registry has about a release, to judge a running one by: neither is asked of what runs."""

import json
from typing import Any

from deploying.rollout.golden_rows import Golden
from errors import RegistryError, ReleaseRejected
from image import provenance, release_files
from image.canonical import VERSION
from image.components import CARD
from oci.reference import Release
from oci.repository import Repository


async def golden(repository: Repository, release: Release) -> Golden:
    """Return the golden rows of a release's provenance; raises ReleaseRejected when there are none."""
    kind = release_files.KINDS[release_files.PROVENANCE]
    found = [each.digest for each in await repository.referrers(release.digest) if each.kind == kind]
    if len(found) != 1:
        raise ReleaseRejected(
            f"golden: {release} has {len(found)} provenances instead of one; publish its commit again"
        )
    try:
        manifest = json.loads(await repository.manifest(found[0]))
        statement = json.loads(await _blob(repository, manifest["layers"][-1]["digest"]))
        about = {f"sha256:{each['digest']['sha256']}" for each in statement["subject"]}
        rows, card = (provenance.content(statement, path) for path in (provenance.GOLDEN, CARD))
    except (ValueError, LookupError, TypeError) as error:
        raise ReleaseRejected(f"golden: {found[0]} is no provenance: {error!r}") from error
    if about != {release.digest} or rows is None or card is None:
        raise ReleaseRejected(
            f"golden: the provenance of {release} is of {', '.join(sorted(about))}, and has "
            f"{'no ' if rows is None else ''}golden rows; train and release again"
        )
    return Golden.of(rows, card)


async def version(repository: Repository, release: Release) -> str:
    """Return what version an image says that it is; raises RegistryError when it says nothing."""
    try:
        manifest = json.loads(await repository.manifest(release.digest))
        config: dict[str, Any] = json.loads(await _blob(repository, manifest["config"]["digest"]))
        return str(config["config"]["Labels"][VERSION])
    except (ValueError, LookupError, TypeError) as error:
        raise RegistryError(f"registry: {release} has no label {VERSION}: {error!r}") from error


async def _blob(repository: Repository, digest: str) -> bytes:
    return b"".join([piece async for piece in repository.blob(digest)])
