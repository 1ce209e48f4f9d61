"""Trust in a Sigstore instance: keys to verify with and addresses to sign at, pinned in the repository."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from errors import InvalidTrust

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

FOLDER = "deploy/sigstore"
ROOT, CONFIG = f"{FOLDER}/trusted_root.json", f"{FOLDER}/signing_config.json"
_KIND = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"


class File(Protocol):
    """A file of Dagger's."""

    async def contents(self) -> str:
        """Return the text."""


class Files(Protocol):
    """The repository."""

    def file(self, path: str) -> File:
        """Return one of its files."""


@dataclass(frozen=True)
class Trust:
    """A trusted root and a signing configuration, as JSON."""

    root: str
    config: str

    @classmethod
    async def read(cls, source: Files) -> Self:
        """Return what the repository pins."""
        return cls(await source.file(ROOT).contents(), await source.file(CONFIG).contents())

    @property
    def services(self) -> list[str]:
        """The addresses that releases are signed at; raises InvalidTrust when the file is malformed."""
        try:
            found = json.loads(self.config)
            kinds = ("caUrls", "rekorTlogUrls", "tsaUrls")
            return [str(each["url"]) for kind in kinds for each in found.get(kind, [])]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InvalidTrust(
                f"signature: {CONFIG} names no services: {error!s:.300}; `dagger call update` writes it"
            ) from error

    def client(self) -> "ClientTrustConfig":
        """Return it as the sigstore package takes it; raises InvalidTrust when a file is malformed."""
        from sigstore.errors import Error
        from sigstore.models import ClientTrustConfig

        try:
            files = {"trustedRoot": json.loads(self.root), "signingConfig": json.loads(self.config)}
            found = ClientTrustConfig.from_json(json.dumps({"mediaType": _KIND, **files}))
            found.trusted_root.get_fulcio_certs()
            return found
        except (ValueError, Error) as error:
            raise InvalidTrust(
                f"signature: {ROOT} or {CONFIG} is not what Sigstore's clients take: {error!s:.300}; "
                "`dagger call update` writes both"
            ) from error
