"""Base images: from their registry if it is reachable, else a stand-in, with a notice."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from urllib.request import getproxies

from daggerw_engine.errors import ImageError, StoreError
from daggerw_engine.files.trees import Place
from daggerw_engine.keys import key_of
from daggerw_engine.progress import Progress
from daggerw_engine.results import Results
from daggerw_engine.store.buildah import Store
from daggerw_engine.store.stand_ins import OWN_TABLE, StandIn, Table
from daggerw_engine.values.config import STAND_IN_LABEL, Config

DOCKER_HUB, DEFAULT_REGISTRY = "docker.io", "registry-1.docker.io"
LOOPBACK = ("localhost", "127.0.0.1")  # plain HTTP is allowed, as in every container tool
REFERENCE = re.compile(
    r"(?:[\w-]+(?:\.[\w-]+)*(?::\d{1,5})?/)?"  # a registry
    r"[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
ANSWER_SECONDS = 3.0
ASK_AGAIN_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Image:
    """Image in the store, with the stand-ins that it is based on."""

    image: str
    config: Config
    stand_ins: frozenset[str] = frozenset()


class Images:
    """Images by reference, for one session."""

    def __init__(self, store: Store, results: Results, progress: Progress, table: Table) -> None:
        self._store, self._results, self._progress, self._table = store, results, progress, table
        self._told: set[str] = set()
        self._reachable: dict[str, asyncio.Task[bool]] = {}

    async def get(self, reference: str) -> Image:
        """Return the image for a reference such as python:3.11@sha256:…; ImageError when unavailable.

        A pinned image in the store stays valid; a tag or a stand-in for a day, then a request to its registry
        follows.
        """
        if not REFERENCE.fullmatch(reference):
            raise ImageError(f"{reference!r} is no image reference: NAME:TAG, NAME@sha256:…, HOST/NAME:TAG")
        key = key_of("image", reference)
        async with self._results.alone(key):
            kept = self._results.get(key)
            if not kept or not self._store.has(str(kept["image"])) or self._is_outdated(reference, kept):
                kept = await self._fetch(reference, None)
            elif not _is_fresh(reference, kept):
                kept = await self._fetch(reference, kept)
            self._results.put(key, {**kept, "reference": reference})
        if kept["stand_in"] and reference not in self._told:
            self._told.add(reference)
            name = reference.partition("@")[0]
            self._progress.note(f"STAND-IN: no registry gave {name}; made from Debian's packages")
        return await self.describe(str(kept["image"]), frozenset({reference} if kept["stand_in"] else ()))

    async def load_archive(self, archive: Place, tag: str = "") -> Image:
        """Return the image in the tar archive of an OCI layout; of several, the one with this tag."""
        key = key_of("image in archive", archive.key, tag)
        async with self._results.alone(key):
            kept = self._results.get(key)
            if not kept or not self._store.has(str(kept["image"])):
                source = f"oci-archive:{archive.on_disk}" + (f":{tag}" if tag else "")
                with self._progress.step("import image"):
                    kept = {"image": await self._store.run("pull", "--quiet", source)}
                self._results.put(key, kept)
        return await self.describe(str(kept["image"]))

    async def describe(self, image: str, stand_ins: frozenset[str] = frozenset()) -> Image:
        """Return an image of the store with its configuration; its labels also name stand-ins."""
        key = key_of("configuration", image)
        if (config_json := self._results.get(key)) is None:
            config_json = await self._store.configuration(image)
            self._results.put(key, config_json)
        config = Config.of_image(config_json)
        marks = dict(config.labels).get(STAND_IN_LABEL, "").split()
        return Image(image, config, stand_ins | frozenset(marks))

    async def _fetch(self, reference: str, older: dict[str, object] | None) -> dict[str, object]:
        """Return the record of an image: pulled, or the older one, or a new stand-in."""
        image, refused = await self._pull(reference)
        if image:
            return {"image": image, "stand_in": False, "time": time.time()}
        if older:
            return {**older, "time": time.time()}
        stand_in = self._table.find(reference)
        if stand_in is None:
            raise ImageError(
                f"image {reference}: {refused}, and there is no stand-in for it; "
                f"{OWN_TABLE} beside dagger.json can say how one is made from Debian's packages"
            )
        self._progress.note(f"{reference.partition('@')[0]}: {refused}")
        made = {
            "image": await self._make_stand_in(reference, stand_in),
            "stand_in": True,
            "time": time.time(),
        }
        return {**made, "entry": stand_in.key}

    def _is_outdated(self, reference: str, kept: dict[str, object]) -> bool:
        """Return whether the table's recipe for the stand-in has changed."""
        entry = self._table.find(reference) if kept["stand_in"] else None
        return entry is not None and entry.key != kept.get("entry")

    async def _pull(self, reference: str) -> tuple[str, str]:
        """Return the pulled image's id, or an empty id and the reason of the failure."""
        host = registry_of(reference)
        # Behind a proxy, which Buildah reads from the environment, no host is directly reachable.
        if not getproxies().get("https") and not await self._is_reachable(host):
            return "", f"{host} can't be reached"
        plain = ("--tls-verify=false",) if host.partition(":")[0] in LOOPBACK else ()
        with self._progress.step(f"pull {reference}") as step:
            try:
                return await self._store.run(
                    "pull", "--quiet", *plain, f"docker://{full_name(reference)}"
                ), ""
            except StoreError as error:
                step.mark_failed()
                return "", str(error)

    async def _is_reachable(self, host: str) -> bool:
        """Return whether a registry can be reached, tried once in a session."""
        if host not in self._reachable:
            self._reachable[host] = asyncio.create_task(_can_connect(host))
        return await asyncio.shield(self._reachable[host])

    async def _make_stand_in(self, reference: str, stand_in: StandIn) -> str:
        """Return the stand-in's image, built once for all its names."""
        key = key_of("stand-in", stand_in.key)
        async with self._results.alone(key):
            kept = self._results.get(key)
            if kept and self._store.has(str(kept["image"])):
                return str(kept["image"])
            name = reference.partition("@")[0]
            with self._progress.step(f"make a stand-in for {name} from Debian's packages"):
                image = await stand_in.make(self._store)
            self._results.put(key, {"image": image})
            return image


def registry_of(reference: str) -> str:
    """Return the host (and port) of a reference's registry."""
    host, _ = _split(reference)
    return DEFAULT_REGISTRY if host == DOCKER_HUB else host


def full_name(reference: str) -> str:
    """Return a reference in the form of Buildah's transport: with a host, and either a tag or a digest."""
    host, rest = _split(reference)
    name, _, digest = rest.partition("@")
    bare, colon, tag = name.partition(":")
    return f"{host}/{bare}@{digest}" if digest else f"{host}/{bare}:{tag if colon else 'latest'}"


def _split(reference: str) -> tuple[str, str]:
    first, slash, rest = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    return DOCKER_HUB, reference if "/" in reference.partition("@")[0] else f"library/{reference}"


def _is_fresh(reference: str, kept: dict[str, object]) -> bool:
    pinned_and_real = "@" in reference and not kept["stand_in"]
    return pinned_and_real or time.time() - float(str(kept["time"])) < ASK_AGAIN_SECONDS


async def _can_connect(host: str) -> bool:
    name, _, port = host.partition(":")
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(name, int(port or 443)), ANSWER_SECONDS)
    except (OSError, TimeoutError, OverflowError):  # the last: an impossible port
        return False
    writer.close()
    return True
