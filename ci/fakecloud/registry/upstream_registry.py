"""Relay of requests to the real registry and of its responses: streamed, of any size."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from fakecloud.state.refusals import RegistryRefusal

# Headers of one connection only (RFC 9110, 7.6.1), and credentials for the fake registry.
_KEPT_HERE = frozenset(
    (
        *("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"),
        *("host", "authorization", "expect", "date", "server"),
    )
)


@dataclass(frozen=True)
class Relay:
    """Relay to the real registry behind the fake one."""

    http: httpx.AsyncClient

    async def forward(self, request: Request, url: str, body: bytes | None = None) -> Response:
        """Send a request on to a path of the registry, with its own body or a given one."""
        method = request.method
        sends = method in ("POST", "PUT", "PATCH")
        content = body if body is not None else request.stream() if sends else None
        headers = _passed_on(request.headers.items())
        prepared = self.http.build_request(method, url, headers=headers, content=content)
        try:
            answer = await self.http.send(prepared, stream=True)
        except httpx.TransportError as error:
            raise RegistryRefusal(502, "UNAVAILABLE", f"the registry behind: {error!r}") from error
        passed = StreamingResponse(
            answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose)
        )
        for name, value in _passed_on(answer.headers.multi_items()):
            passed.headers.append(name, value)
        return passed

    async def digest(self, image: str, reference: str) -> str | None:
        """Return the digest that a tag names in the registry, None when nothing has it."""
        kinds = "vnd.oci.image.manifest.v1+json", "vnd.oci.image.index.v1+json"
        docker = "vnd.docker.distribution.manifest.v2+json", "vnd.docker.distribution.manifest.list.v2+json"
        accept = {"Accept": ", ".join(f"application/{kind}" for kind in (*kinds, *docker))}
        answer = await self.http.head(f"/v2/{image}/manifests/{reference}", headers=accept)
        return answer.headers.get("Docker-Content-Digest") if answer.is_success else None


def local(location: str) -> str:
    """Return an address of the registry as a path with its query."""
    split = urlsplit(location)
    return f"{split.path}?{split.query}" if split.query else split.path


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return what goes on, also what is said twice: Docker's clients say Accept once for every kind."""
    return [(name, value) for name, value in headers if name.lower() not in _KEPT_HERE]
