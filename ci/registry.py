"""A small client for OCI distribution registries: enough to publish an image and to see what is published.

Nothing is rewritten on the way, so an image keeps its digest. What goes wrong is a RegistryError
(`errors.py`); httpx's own errors become RegistryUnreachable in one place, `_send`.
"""

import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from errors import RegistryDenied, RegistryError, RegistryUnreachable, TagTaken
from layout import INDEX, MANIFEST, Blob, Layout
from reference import next_free
from tokens import Token

# A blob of 100 MB is written to disk before the registry answers.
_TIMEOUT = httpx.Timeout(30, read=300, write=300)
_MAX_PAGES = 1000
_OK, _CREATED, _ACCEPTED, _NOT_FOUND = 200, 201, 202, 404


@asynccontextmanager
async def connect(
    url: str, repository: str, *, token: Callable[[], Awaitable[Token]] | None = None
) -> AsyncIterator["Repository"]:
    """Open a repository of the registry at a URL such as https://HOST, as nobody or with access tokens."""
    # The system's certificate store, which companies add their own to; httpx would take its own.
    tls = ssl.create_default_context()
    async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, verify=tls) as http:
        yield Repository(http, repository)


@dataclass(frozen=True)
class Repository:
    """One repository of a registry."""

    http: httpx.AsyncClient
    name: str

    async def check(self) -> None:
        """Raise RegistryError unless a registry answers that lets us in."""
        await self._send("GET", "/v2/", _OK)

    async def digest(self, tag: str) -> str | None:
        """Return the digest of the manifest that a tag names, None when nothing has that tag."""
        accept = {"Accept": f"{MANIFEST}, {INDEX}"}
        answer = await self._send("GET", self._path("manifests", tag), _OK, _NOT_FOUND, headers=accept)
        if answer.status_code == _NOT_FOUND:
            return None
        return f"sha256:{hashlib.sha256(answer.content).hexdigest()}"

    async def tags(self) -> list[str]:
        """Return every tag of the repository, none when there is no such repository."""
        tags: list[str] = []
        path = httpx.URL(self._path("tags", "list"))
        for _ in range(_MAX_PAGES):
            answer = await self._send("GET", path, _OK, _NOT_FOUND)
            if answer.status_code == _NOT_FOUND:
                return tags
            tags += self._json(answer).get("tags") or []
            if "next" not in answer.links:
                return tags
            path = self._within(answer, answer.links["next"]["url"])
        raise RegistryError(f"registry {self._host}: {self.name} has more than {_MAX_PAGES} pages of tags")

    async def publish(self, image: Layout, tag: str) -> bool:
        """Push an image under a tag and return True, or False when the tag names that very image already.

        Raises TagTaken when it names another one. The manifest goes last: until it is there, nothing shows.
        """
        present = await self.digest(tag)
        if present == image.digest:
            return False
        if present is not None:
            raise await self._taken(tag, present, image.digest)
        for blob in image.blobs:
            await self._push_blob(image, blob)
        await self._push_manifest(image, tag)
        return True

    async def _taken(self, tag: str, present: str, offered: str) -> TagTaken:
        free = next_free(tag, {tag, *await self.tags()})
        return TagTaken(
            f"registry: {self.name}:{tag} is {present} already, this build is {offered}; "
            f"releases never change, publish it as {free}"
        )

    async def _push_blob(self, image: Layout, blob: Blob) -> None:
        there = await self._send("HEAD", self._path("blobs", blob.digest), _OK, _NOT_FOUND)
        if there.status_code == _OK:
            return
        started = await self._send("POST", self._path("blobs", "uploads/"), _ACCEPTED)
        location = self._within(started, started.headers.get("Location", ""))
        url = location.copy_merge_params({"digest": blob.digest})
        headers = {"Content-Length": str(blob.size), "Content-Type": "application/octet-stream"}
        content = _stream(image.chunks(blob))
        stored = await self._send("PUT", url, _CREATED, headers=headers, content=content)
        self._check_digest(stored, blob.digest)

    async def _push_manifest(self, image: Layout, tag: str) -> None:
        headers = {"Content-Type": MANIFEST}
        path = self._path("manifests", tag)
        stored = await self._send("PUT", path, _CREATED, headers=headers, content=image.manifest)
        self._check_digest(stored, image.digest)

    def _check_digest(self, answer: httpx.Response, digest: str) -> None:
        stored = answer.headers.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise RegistryError(
                f"registry {self._host}: stored {stored} where {digest} was sent; don't use it"
            )

    async def _send(
        self,
        method: str,
        url: httpx.URL | str,
        *expected: int,
        headers: dict[str, str] | None = None,
        content: AsyncIterator[bytes] | bytes | None = None,
    ) -> httpx.Response:
        """Send a request and return the answer when its status is an expected one."""
        # Registries that keep blobs elsewhere redirect who asks for one, never who sends one.
        follow = method == "HEAD"
        try:
            answer = await self.http.request(
                method, url, headers=headers, content=content, follow_redirects=follow
            )
        except httpx.HTTPError as error:
            raise RegistryUnreachable(
                f"registry {self._host}: no answer to {method} {url}: {error!r}; check name and network"
            ) from error
        if answer.status_code not in expected:
            raise self._refusal(method, answer)
        return answer

    def _refusal(self, method: str, answer: httpx.Response) -> RegistryError:
        status = f"{answer.status_code}{_reason(answer)}"
        asked = f"registry {self._host}: {method} {answer.url.path} answered {status}"
        if answer.status_code in (401, 403):
            return RegistryDenied(
                f"{asked}; it asks for credentials, which this pipeline does not mint yet: publish to the "
                "local registry (leave --registry out) or to one that takes anonymous pushes"
            )
        return RegistryError(asked)

    def _within(self, answer: httpx.Response, location: str) -> httpx.URL:
        """Return the address that an answer points to; content only ever goes to the registry itself."""
        try:
            url = answer.url.join(location)
        except httpx.InvalidURL as error:
            raise self._astray(answer, location) from error
        if not location or (url.scheme, url.netloc) != (answer.url.scheme, answer.url.netloc):
            raise self._astray(answer, location)
        return url

    def _astray(self, answer: httpx.Response, location: str) -> RegistryError:
        return RegistryError(
            f"registry {self._host}: {answer.url.path} points to {location!r}, which is not the registry's; "
            "check its configured host name"
        )

    def _json(self, answer: httpx.Response) -> dict[str, Any]:
        try:
            content = answer.json()
        except ValueError as error:
            raise RegistryError(f"registry {self._host}: {answer.url.path} is not JSON: {error}") from error
        if not isinstance(content, dict):
            raise RegistryError(
                f"registry {self._host}: {answer.url.path} is no JSON object: {content!r:.80}"
            )
        return content

    def _path(self, kind: str, reference: str) -> str:
        return f"/v2/{self.name}/{kind}/{reference}"

    @property
    def _host(self) -> str:
        return self.http.base_url.netloc.decode("ascii")


def _reason(answer: httpx.Response) -> str:
    """Return the first error that the protocol's error document names, as `: CODE: message`, or nothing."""
    try:
        first = answer.json()["errors"][0]
        return f": {first['code']}: {first['message']}"
    except (ValueError, LookupError, TypeError):
        return ""


async def _stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
