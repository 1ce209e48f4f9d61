"""OCI registry client: publish an image, copy one, see what is published.

Nothing is rewritten on the way, so an image keeps its digest. Every error is a RegistryError
(`errors.py`). `authentication.py` gets tokens, `transport.py` sends requests.
"""

import hashlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import httpx

from errors import RegistryError, RegistryUnreachable, TagTaken
from image.archive_reader import MANIFEST, MAX_DOCUMENT, Blob, Layout
from net.concurrency import together
from net.retry_policy import Retrying, patient
from oci.authentication import Authenticator, Mint
from oci.manifests import (
    ACCEPT,
    REFERRERS_TAG,
    Manifest,
    Parcel,
    Referrer,
    add_to_index,
    check_digest,
    json_object,
    referrers,
)
from oci.reference import next_free
from oci.transport import PUSH, Wire

_TIMEOUT = httpx.Timeout(30)
# A blob of 100 MB is written to disk before the registry answers.
_BLOB_TIMEOUT = httpx.Timeout(30, read=300, write=300)
_AT_A_TIME, _ATTEMPTS = 4, 5
# Of a whole list of tags or referrers: pages, bytes, seconds.
_MAX_PAGES, _MAX_LIST, _LIST_SECONDS = 1000, 32 * 1024**2, 300
_OK, _CREATED, _ACCEPTED, _NOT_FOUND = 200, 201, 202, 404

Say = Callable[[str], None]


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@asynccontextmanager
async def connect(
    url: str, repository: str, *, token: Mint | None = None, names: Mapping[str, str] | None = None
) -> AsyncIterator["Repository"]:
    """Open a repository of the registry at a URL such as https://HOST, with access tokens or anonymously.

    `names` are what an explanation's commands can name: `project`, `location`, `repository`, `pusher`, …
    """
    async with patient(_TIMEOUT) as client:
        yield open_with(client, url, repository, token=token, names=names)


def open_with(
    client: Retrying,
    url: str,
    repository: str,
    *,
    token: Mint | None = None,
    names: Mapping[str, str] | None = None,
) -> "Repository":
    """Return a repository whose requests go through a given client."""
    base = httpx.URL(url)
    return Repository(Wire(client, base, Authenticator(client, base, token), repository, names or {}))


@dataclass(frozen=True)
class Repository:
    """One repository of a registry; `say` takes a line for each blob that is pushed."""

    wire: Wire
    say: Say = _print
    _turns: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(_AT_A_TIME))

    @property
    def name(self) -> str:
        """The repository's name at its registry."""
        return self.wire.repository

    async def check(self) -> None:
        """Raise RegistryError unless a registry answers that lets us push."""
        await self.wire.send("GET", "/v2/", _OK, scope=PUSH)

    async def digest(self, tag: str) -> str | None:
        """Return the digest of the manifest that a tag names, None when nothing has that tag."""
        manifest = await self._manifest(tag)
        return manifest.digest if manifest else None

    async def manifest(self, reference: str) -> bytes:
        """Return the manifest of a tag or digest, as it is; raises RegistryError when there is none."""
        return (await self._require_manifest(reference)).content

    async def _require_manifest(self, reference: str) -> Manifest:
        manifest = await self._manifest(reference)
        if manifest is None:
            raise RegistryError(
                f"registry {self.wire.host}: {self.name} has no {reference}; `dagger call images` lists "
                "what it has"
            )
        return manifest

    async def _manifest(self, reference: str) -> Manifest | None:
        """Return the manifest of a tag or digest, None when there is none.

        Raises RegistryError when its content is not the digest's.
        """
        accept = {"Accept": ACCEPT}
        answer = await self.wire.send(
            "GET", self._path("manifests", reference), _OK, _NOT_FOUND, headers=accept
        )
        if answer.status_code == _NOT_FOUND:
            return None
        manifest = Manifest(answer.headers.get("Content-Type", "").partition(";")[0], answer.content)
        announced = answer.headers.get("Docker-Content-Digest", manifest.digest)
        check_digest(answer.content, reference if ":" in reference else announced)
        return manifest

    async def tags(self) -> list[str]:
        """Return every tag but those of lists of referrers; none when there is no such repository."""
        pages = await self._pages("tags", "list") or ()
        tags = [tag for page in pages for tag in self._read_tags(page)]
        return [tag for tag in tags if not REFERRERS_TAG.fullmatch(tag)]

    def _read_tags(self, page: dict[str, Any]) -> list[str]:
        """Return the tags of a page; raises RegistryError when they are no list of texts."""
        tags = page.get("tags") or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise RegistryError(f"registry {self.wire.host}: {self.name} has no list of tags: {tags!r:.80}")
        return tags

    async def referrers(self, digest: str) -> list[Referrer]:
        """Return what is published about an image: as the registry lists it, else by the fallback tag."""
        pages = await self._pages("referrers", digest)
        if pages is None:
            fallback = await self._manifest(digest.replace(":", "-"))
            pages = [fallback.document] if fallback else []
        return [referrer for page in pages for referrer in referrers(page)]

    async def publish(self, image: Layout, tag: str, about: Sequence[Parcel] = ()) -> bool:
        """Push an image and what is about it, and then its tag; returns False when all was there already.

        Raises TagTaken when the tag names another image. Until the tag is there, nothing shows.
        """
        free, parcel = await self._free(tag, image.digest), Parcel.of(image)
        if free:
            await self._push(parcel, image.digest)
        attached = await self._attach(image.digest, about)
        if free:
            await self._put(parcel.manifest, tag)
        return free or attached

    async def copy(self, source: "Repository", digest: str, tag: str, about: Iterable[str] = ()) -> bool:
        """Copy an image, or an index with all its images, from another repository; otherwise as `publish`.

        What is about it comes along, by the digests of its manifests.
        """
        free = await self._free(tag, digest)
        if free:
            await self._copy(source, digest)
        attached = await self._attach(digest, [await self._parcel(source, each) for each in about])
        if free:
            await self._put(await source._require_manifest(digest), tag)
        return free or attached

    async def _copy(self, source: "Repository", digest: str) -> None:
        parcel = await self._parcel(source, digest)
        for part in parcel.manifest.manifests:
            await self._copy(source, part.digest)
        await self._push(parcel, digest)

    async def _parcel(self, source: "Repository", digest: str) -> Parcel:
        """Return what another repository has at a digest."""
        manifest = await source._require_manifest(digest)
        origin = source.name if source.wire.base == self.wire.base else None
        return Parcel(manifest, manifest.blobs, lambda blob: source.blob(blob.digest, blob.size), origin)

    async def _attach(self, digest: str, about: Sequence[Parcel]) -> bool:
        """Push what is about an image and return True, or False when all of it is there already.

        A registry that doesn't list referrers itself is given the list, once for all of them: it may be that
        tags cannot be moved there.
        """
        known = {each.digest for each in await self.referrers(digest)} if about else ()
        added = [parcel for parcel in about if parcel.manifest.digest not in known]
        unlisted = [parcel for parcel in added if not await self._push(parcel, parcel.manifest.digest)]
        if unlisted:
            tag = digest.replace(":", "-")
            await self._put(add_to_index(await self._manifest(tag), unlisted), tag)
        return bool(added)

    async def blob(self, digest: str, limit: int) -> AsyncIterator[bytes]:
        """Yield a blob in pieces; raises RegistryError after the last when it is not the digest's.

        It also does once there are more bytes than the limit, such as the size that a manifest says.
        """
        sha256 = hashlib.sha256()
        async with self.wire.stream(self._path("blobs", digest), limit) as pieces:
            async for piece in pieces:
                sha256.update(piece)
                yield piece
        if f"sha256:{sha256.hexdigest()}" != digest:
            raise RegistryError(
                f"registry {self.wire.host}: {digest} has the content of sha256:{sha256.hexdigest()}; "
                "don't use it"
            )

    async def document(self, digest: str) -> bytes:
        """Return a blob that is a document; raises RegistryError when it is larger than MAX_DOCUMENT."""
        return b"".join([piece async for piece in self.blob(digest, MAX_DOCUMENT)])

    async def _free(self, tag: str, digest: str) -> bool:
        """Return whether a tag names nothing yet, or False when it names that digest; else raise TagTaken."""
        present = await self.digest(tag)
        if present in (None, digest):
            return present is None
        free = next_free(tag, {tag, *await self.tags()})
        raise TagTaken(
            f"registry: {self.name}:{tag} is {present} already, this build is {digest}; "
            f"releases never change, publish it as {free}"
        )

    async def _push(self, parcel: Parcel, reference: str) -> bool:
        """Push blobs and their manifest; returns whether the registry itself lists that as a referrer."""
        await together(*(partial(self._push_blob, parcel, blob) for blob in parcel.blobs))
        return "OCI-Subject" in (await self._put(parcel.manifest, reference)).headers

    async def _put(self, manifest: Manifest, reference: str) -> httpx.Response:
        headers = {"Content-Type": manifest.kind or MANIFEST}
        path, content = self._path("manifests", reference), manifest.content
        stored = await self.wire.send("PUT", path, _CREATED, scope=PUSH, headers=headers, content=content)
        self._check_digest(stored, manifest.digest)
        return stored

    async def _push_blob(self, parcel: Parcel, blob: Blob) -> None:
        """Push a blob unless it is there. An upload that breaks off is begun again, as none can go on."""
        async with self._turns:
            for attempt in range(1, _ATTEMPTS + 1):
                upload = await self._begin(parcel, blob)
                if upload is None:
                    return
                try:
                    return await self._upload(upload, parcel, blob)
                except RegistryUnreachable as error:
                    if attempt == _ATTEMPTS:
                        raise
                    why = error.problem.splitlines()[0]
                self.say(f"{blob.digest:.19}: broken off, beginning again: {why}")
                await self.wire.client.pause(attempt)

    async def _begin(self, parcel: Parcel, blob: Blob) -> httpx.URL | None:
        """Return where to send a blob, None when the registry has it or took it from the parcel's origin."""
        there = await self.wire.send("HEAD", self._path("blobs", blob.digest), _OK, _NOT_FOUND)
        if there.status_code == _OK:
            self.say(f"{blob.digest:.19}: {blob.size} bytes are there already")
            return None
        url = httpx.URL(self._path("blobs", "uploads/"))
        if parcel.origin:
            url = url.copy_merge_params({"mount": blob.digest, "from": parcel.origin})
        begun = await self.wire.send("POST", url, _ACCEPTED, _CREATED, scope=PUSH)
        if begun.status_code == _CREATED:
            self._check_digest(begun, blob.digest)
            self.say(f"{blob.digest:.19}: {blob.size} bytes mounted from {parcel.origin}")
            return None
        location = self.wire.within(begun, begun.headers.get("Location", ""))
        return location.copy_merge_params({"digest": blob.digest})

    async def _upload(self, url: httpx.URL, parcel: Parcel, blob: Blob) -> None:
        started = time.monotonic()
        headers = {"Content-Length": str(blob.size), "Content-Type": "application/octet-stream"}
        content = partial(parcel.content, blob)
        stored = await self.wire.send(
            "PUT", url, _CREATED, scope=PUSH, headers=headers, content=content, timeout=_BLOB_TIMEOUT
        )
        self._check_digest(stored, blob.digest)
        self.say(f"{blob.digest:.19}: {blob.size} bytes in {time.monotonic() - started:.1f} s")

    async def _pages(self, kind: str, reference: str) -> list[dict[str, Any]] | None:
        """Return every page of a list, None when there is no such list."""
        pages: list[dict[str, Any]] = []
        path = httpx.URL(self._path(kind, reference))
        left, ends = _MAX_LIST, time.monotonic() + _LIST_SECONDS
        while len(pages) < _MAX_PAGES and left > 0 and time.monotonic() < ends:
            answer = await self.wire.send("GET", path, _OK, _NOT_FOUND)
            if answer.status_code == _NOT_FOUND:
                return pages or None
            pages.append(json_object(answer.content, f"{self.wire.host}{answer.url.path}"))
            left -= len(answer.content)
            if "next" not in answer.links:
                return pages
            path = self.wire.within(answer, answer.links["next"].get("url", ""))
        raise RegistryError(
            f"registry {self.wire.host}: {self.name} has more than {_MAX_PAGES} pages, {_MAX_LIST} bytes or "
            f"{_LIST_SECONDS} s of {kind}"
        )

    def _check_digest(self, answer: httpx.Response, digest: str) -> None:
        stored = answer.headers.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise RegistryError(
                f"registry {self.wire.host}: stored {stored} where {digest} was sent; don't use it"
            )

    def _path(self, kind: str, reference: str) -> str:
        return f"/v2/{self.name}/{kind}/{reference}"
