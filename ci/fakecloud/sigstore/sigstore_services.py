"""The fake Sigstore as a whole: its services, and the files by which clients trust and find them."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from fakecloud.identity.keys import KeyRing
from fakecloud.sigstore import timestamp_authority
from fakecloud.sigstore.fulcio import Fulcio
from fakecloud.sigstore.keys import authority, log_instance
from fakecloud.sigstore.paths import REKOR, SIGNING_CONFIG, TIMESTAMPS, TRUSTED_ROOT
from fakecloud.sigstore.rekor import Rekor
from fakecloud.sigstore.timestamp_authority import TimestampAuthority

_MEDIA_TYPE = "application/vnd.dev.sigstore"


@dataclass(frozen=True)
class Sigstore:
    """Certificates, log and timestamps."""

    fulcio: Fulcio
    rekor: Rekor
    timestamps: TimestampAuthority

    @classmethod
    def of(cls, issuer: str, ring: KeyRing, now: Callable[[], float]) -> "Sigstore":
        """Start with new keys, for the tokens of one issuer."""
        return cls(Fulcio(issuer, ring, now), Rekor(now), TimestampAuthority(now))

    @property
    def routes(self) -> list[BaseRoute]:
        """Return what is served at the root of a host."""
        return [
            *self.fulcio.routes,
            Mount(REKOR, routes=self.rekor.routes),
            Mount(TIMESTAMPS, routes=self.timestamps.routes),
            Route(TRUSTED_ROOT, self._trusted_root),
            Route(SIGNING_CONFIG, self._signing_config),
        ]

    async def _trusted_root(self, request: Request) -> Response:
        return JSONResponse(self.trusted_root(_base(request)))

    async def _signing_config(self, request: Request) -> Response:
        return JSONResponse(signing_config(_base(request)))

    def trusted_root(self, base: str) -> dict[str, object]:
        """Return the keys to verify with, for services at a base address."""
        certificates, times = self.fulcio.authority, self.timestamps.authority
        return {
            "mediaType": f"{_MEDIA_TYPE}.trustedroot+json;version=0.1",
            "tlogs": [log_instance(self.rekor.key, f"{base}{REKOR}")],
            "certificateAuthorities": [
                authority(base, "fulcio", certificates.issuer.der, certificates.root.der)
            ],
            "ctlogs": [log_instance(self.fulcio.log.key, base)],
            "timestampAuthorities": [
                authority(f"{base}{TIMESTAMPS}", "timestamps", times.issuer.der, times.root.der)
            ],
        }


def signing_config(base: str) -> dict[str, object]:
    """Return where to sign, for services at a base address."""
    return {
        "mediaType": f"{_MEDIA_TYPE}.signingconfig.v0.2+json",
        "caUrls": [_service(base)],
        "oidcUrls": [],
        "rekorTlogUrls": [_service(f"{base}{REKOR}")],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaUrls": [_service(f"{base}{TIMESTAMPS}{timestamp_authority.PATH}")],
        "tsaConfig": {"selector": "ANY"},
    }


def _service(url: str) -> dict[str, object]:
    start = {"start": "2026-01-01T00:00:00Z"}
    return {"url": url, "majorApiVersion": 1, "validFor": start, "operator": "fake cloud"}


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")
