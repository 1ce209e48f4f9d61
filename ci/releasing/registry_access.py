"""Access to registries: as Google's identity of a job, or without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import dagger

from errors import InvalidIdentity
from keyless.artifact_repository import ArtifactRepository
from keyless.federation import Federation
from keyless.google_identity import Identity, advice_names
from net.retry_policy import patient
from oci.reference import Image
from oci.repository import Repository, connect

PORT = 5000  # of the local registry


@dataclass(frozen=True)
class RegistryAccess:
    """The identity of a job, None when it has none, and the registry that is local to the pipeline."""

    identity: Identity | None
    local: dagger.Service

    @asynccontextmanager
    async def open(self, image: Image) -> AsyncIterator[Repository]:
        """Open an image's repository, with a token that is minted at once when there is an identity.

        Raises InvalidIdentity for an identity at the local registry.
        """
        if self.identity is None:
            async with connect(await self._address(image), image.repository) as repository:
                yield repository
            return
        if image.local:
            raise InvalidIdentity(
                "registry: the local registry takes no identity; give --registry, too, or no identity"
            )
        # Google's tokens go to Google's registry and to no other.
        place = ArtifactRepository.of(f"{image.host}/{image.repository}")
        async with patient() as client:
            token = Federation(self.identity, client).access_token
            await token()  # before the first request, so that none is anonymous
            address = self.identity.endpoints.registry(image.host)
            names = advice_names(self.identity, {}) | place.names
            async with connect(address, image.repository, token=token, names=names) as repository:
                yield repository

    async def _address(self, image: Image) -> str:
        if not image.local:
            return f"https://{image.host}"
        service = await self.local.start()
        return await service.endpoint(port=PORT, scheme="http")
