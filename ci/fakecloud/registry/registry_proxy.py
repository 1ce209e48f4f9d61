"""Artifact Registry's guard before a real registry.

Two habits of the real service surprise clients and are kept: uploads and downloads go on at paths outside
/v2/, and it takes no upload in chunks. How it words the refusal of a chunk was never seen.
"""

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from fakecloud.registry.token_endpoint import RegistryTarget, TokenEndpoint, full_name
from fakecloud.registry.upstream_registry import Relay, local
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.ledger import Grant, Ledger, Upload, handle
from fakecloud.state.policy import DELETE, DOWNLOAD, UPLOAD
from fakecloud.state.refusals import REGISTRY_VERSION, RegistryRefusal

_TARGET = re.compile(r"(?P<image>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>.*)")
_PERMISSIONS = {"GET": DOWNLOAD, "HEAD": DOWNLOAD, "DELETE": DELETE}
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True)
class RegistryHost:
    """The registry host of the one repository that exists."""

    setup: CloudSetup
    ledger: Ledger
    relay: Relay
    tokens: TokenEndpoint
    tagging: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def routes(self) -> list[Route]:
        """Return what is served at the root."""
        namespace = "/namespaces/{project}/repositories/{repository}"
        return [
            Route("/v2/token", self.tokens.token),
            Route("/v2/", self.version),
            Route("/v2/{path:path}", self.registry, methods=_METHODS),
            Route(f"/artifacts-uploads{namespace}/uploads/{{handle}}", self.upload, methods=_METHODS),
            Route(f"/artifacts-downloads{namespace}/downloads/{{handle}}", self.download),
        ]

    async def version(self, request: Request) -> Response:
        """Respond that a registry is here, to any caller with a valid token."""
        self.tokens.caller(request)
        return JSONResponse({}, headers=REGISTRY_VERSION)

    async def registry(self, request: Request) -> Response:
        """Answer anything about an image, or have the real registry answer it."""
        found = _TARGET.fullmatch(request.path_params["path"])
        if found is None:
            raise RegistryRefusal(404, "NAME_UNKNOWN", "repository name not known to registry")
        image = full_name(found["image"])
        target = RegistryTarget(image, self.tokens.location(request), found["kind"], found["reference"])
        actions = "pull" if request.method in ("GET", "HEAD") else "pull,push"
        caller = self.tokens.caller(request, f"repository:{image}:{actions}")
        self.tokens.authorize(caller, _PERMISSIONS.get(request.method, UPLOAD), target)
        if target.kind == "blobs":
            return await self._blob(request, target, caller)
        if target.tag and request.method in ("PUT", "DELETE"):
            return await self._tag(request, target)
        return await self.relay.forward(request, _path(request))

    async def upload(self, request: Request) -> Response:
        """Take content for an upload that was begun; who knows its address may send it, in one piece."""
        name = request.path_params["handle"]
        upload = self.ledger.uploads.get(name)
        if upload is None or request.method not in ("PATCH", "PUT", "DELETE"):
            raise RegistryRefusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if has_content(request):
            _refuse_chunk(request, upload)
            upload.begun = True
        answer = await self.relay.forward(request, _join_query(upload.url, request.url.query))
        if answer.status_code == 202:
            upload.url = local(answer.headers["location"])
            answer.headers["location"] = request.url.path
        elif answer.status_code in (201, 204):
            del self.ledger.uploads[name]
            _localize(answer)
        return answer

    async def download(self, request: Request) -> Response:
        """Answer with a blob; who was given its address may have it."""
        url = self.ledger.downloads.get(request.path_params["handle"])
        if url is None:
            raise RegistryRefusal(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return await self.relay.forward(request, url)

    async def _blob(self, request: Request, target: RegistryTarget, caller: Grant | None) -> Response:
        if request.method == "POST":
            return await self._begin(request, target, caller)
        if request.method != "GET":
            return await self.relay.forward(request, _path(request))
        address, name = _address(target, "downloads")
        self.ledger.downloads[name] = _path(request)
        return RedirectResponse(address, 302, REGISTRY_VERSION)

    async def _begin(self, request: Request, target: RegistryTarget, caller: Grant | None) -> Response:
        """Begin an upload, unless the blob can be taken from a repository that the caller may read."""
        query = dict(request.query_params)
        if "from" in query:
            source = RegistryTarget(full_name(query["from"]), target.location)
            query = query if self.tokens.may(caller, DOWNLOAD, source) else {}
        answer = await self.relay.forward(request, f"{request.url.path}?{urlencode(query)}")
        _localize(answer)
        if answer.status_code == 202:
            address, name = _address(target, "uploads")
            self.ledger.uploads[name] = Upload(target.image, answer.headers["location"])
            answer.headers["location"] = address
        return answer

    async def _tag(self, request: Request, target: RegistryTarget) -> Response:
        """Let a tag be made, but where tags are immutable not be moved or taken away."""
        body = await request.body()
        async with self.tagging:
            present = await self.relay.digest(target.image, target.tag)
            same = present == f"sha256:{hashlib.sha256(body).hexdigest()}"
            if self.setup.repository.immutable_tags and present and not same:
                verb = "update" if request.method == "PUT" else "delete"
                message = f"cannot {verb} tag {target.tag}. The repository has enabled tag immutability"
                raise RegistryRefusal(400, "MANIFEST_INVALID", message)
            answer = await self.relay.forward(request, _path(request), body)
        _localize(answer)
        return answer


def has_content(request: Request) -> bool:
    """Return whether a request brings a body."""
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _refuse_chunk(request: Request, upload: Upload) -> None:
    first = request.headers.get("content-range", "0-").removeprefix("bytes ").startswith("0-")
    if upload.begun or not first:
        raise RegistryRefusal(400, "UNSUPPORTED", "chunked uploads are not supported")


def _address(target: RegistryTarget, kind: str) -> tuple[str, str]:
    """Return an address outside /v2/, and the part of it that cannot be guessed."""
    project, repository = target.image.split("/")[:2]
    name = handle()
    return f"/artifacts-{kind}/namespaces/{project}/repositories/{repository}/{kind}/{name}", name


def _localize(answer: Response) -> None:
    if "location" in answer.headers:
        answer.headers["location"] = local(answer.headers["location"])


def _path(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def _join_query(url: str, query: str) -> str:
    path, _, own = url.partition("?")
    return f"{path}?{urlencode([*parse_qsl(own), *parse_qsl(query)])}"
