"""Publishing to a real registry, and a registry's failures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import httpx
import pytest

from errors import RegistryDenied, RegistryError, RegistryUnreachable, TagTaken
from image import archive_reader
from image.archive_reader import Layout
from net.retry_policy import Retrying
from oci.repository import Repository, open_with
from tests.ci.connections import Handler, no_wait, open_repository

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio


@pytest.fixture
def image(archive: Archive) -> Layout:
    """Return an image of two layers."""
    archive.index(archive.add_manifest(b"one", b"two" * 1_000_000))
    return archive_reader.read(archive.write())


@pytest.fixture
def other(archive: Archive, image: Layout) -> Layout:
    """Return an image that shares a layer with the first."""
    archive.index(archive.add_manifest(b"one", b"three"))
    return archive_reader.read(archive.write())


def accept(request: httpx.Request, **headers: str) -> httpx.Response:
    """Answer as a registry that has nothing and takes everything."""
    status = {"GET": 404, "HEAD": 404, "POST": 202, "PUT": 201}[request.method]
    return httpx.Response(status, headers={"Location": "/upload"} | headers)


def answers(*responses: httpx.Response) -> Handler:
    """Answer with the responses in turn."""
    left = iter(responses)
    return lambda request: next(left)


async def test_publish_keeps_the_digest(repository: Repository, image: Layout) -> None:
    assert await repository.publish(image, "v1.0.0")
    assert await repository.digest("v1.0.0") == image.digest
    for blob in image.blobs:
        content = b"".join([piece async for piece in repository.blob(blob.digest, blob.size)])
        assert content == b"".join(image.chunks(blob))


async def test_publish_of_the_same_image_pushes_nothing(repository: Repository, image: Layout) -> None:
    await repository.publish(image, "v1.0.0")
    assert not await repository.publish(image, "v1.0.0")


async def test_publish_refuses_other_content_and_suggests_a_free_tag(
    repository: Repository, image: Layout, other: Layout
) -> None:
    await repository.publish(image, "v1.0.0")
    await repository.publish(image, "v1.0.1")
    with pytest.raises(TagTaken, match=rf"v1.0.0 is {image.digest} already.*publish it as v1.0.2"):
        await repository.publish(other, "v1.0.0")
    assert await repository.digest("v1.0.0") == image.digest


async def test_publish_sends_only_blobs_that_are_not_there(
    repository: Repository, image: Layout, other: Layout
) -> None:
    await repository.publish(image, "v1.0.0")
    sent: list[str] = []

    async def note(request: httpx.Request) -> None:
        if request.method == "PUT" and "/blobs/" in request.url.path:
            sent.append(request.url.params["digest"])

    repository.wire.client.http.event_hooks = {"request": [note]}
    await repository.publish(other, "v2.0.0")
    assert sent == [other.blobs[-1].digest]


async def test_tags_lists_what_is_published(repository: Repository, image: Layout) -> None:
    await repository.publish(image, "v1.0.0")
    await repository.publish(image, "v1.1.0")
    assert sorted(await repository.tags()) == ["v1.0.0", "v1.1.0"]


async def test_a_repository_that_does_not_exist_has_no_tags(repository: Repository) -> None:
    await repository.check()
    assert await repository.tags() == []
    assert await repository.digest("v1.0.0") is None


async def test_tags_reads_every_page() -> None:
    first = httpx.Response(
        200, json={"tags": ["v1"]}, headers={"Link": '</v2/m/tags/list?last=v1>; rel="next"'}
    )
    async with open_repository(answers(first, httpx.Response(200, json={"tags": None}))) as repository:
        assert await repository.tags() == ["v1"]


@pytest.mark.parametrize(
    ("body", "complaint"), [("<html>", "is not JSON"), ("[1]", r"is no JSON object: \[1\]")]
)
async def test_tags_refuses_what_is_no_list_of_tags(body: str, complaint: str) -> None:
    async with open_repository(answers(httpx.Response(200, text=body))) as repository:
        with pytest.raises(RegistryError, match=f"registry: registry.test/v2/m/tags/list {complaint}"):
            await repository.tags()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_registry_that_requires_credentials_fails_with_what_to_do(status: int) -> None:
    error = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
    async with open_repository(answers(httpx.Response(status, json=error))) as repository:
        with pytest.raises(
            RegistryDenied, match=r"(?s)UNAUTHORIZED: authentication required.*leave --registry out"
        ):
            await repository.check()


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", "{}", '{"errors": []}', '{"errors": [1]}', '{"errors": [{}]}']
)
async def test_a_failure_without_the_protocol_s_words_is_reported_by_its_status(body: str) -> None:
    async with open_repository(lambda request: httpx.Response(503, text=body)) as repository:
        with pytest.raises(RegistryError, match=r"GET /v2/ answered 503\n  cause"):
            await repository.check()


async def test_a_registry_that_does_not_answer_is_unreachable() -> None:
    async with httpx.AsyncClient() as http:
        repository = open_with(Retrying(http, sleep=no_wait), "http://127.0.0.1:1", "m")
        with pytest.raises(
            RegistryUnreachable,
            match=r"registry 127.0.0.1: no answer to GET /v2/ in 5.*ConnectError",
        ):
            await repository.check()


@pytest.mark.parametrize(
    "error",
    [
        error
        for error in vars(httpx).values()
        if isinstance(error, type) and issubclass(error, httpx.TransportError)
    ],
)
async def test_every_transport_error_of_httpx_is_mapped(error: type[httpx.TransportError]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error("broken")

    async with open_repository(fail) as repository:
        with pytest.raises(RegistryUnreachable, match=f"{error.__name__}.*broken"):
            await repository.check()


@pytest.mark.parametrize(
    "location",
    [
        *("", "https://elsewhere.test/upload", "http://registry.test/upload"),
        *("https://registry.test:1/", "https://registry.test:x/"),
    ],
)
async def test_publish_sends_nothing_to_another_host(image: Layout, location: str) -> None:
    started = httpx.Response(202, headers={"Location": location})
    nothing = httpx.Response(404)
    async with open_repository(answers(nothing, nothing, started)) as repository:
        with pytest.raises(RegistryError, match="is not the registry's; check its configured host name"):
            await repository.publish(image, "v1.0.0")


async def test_publish_keeps_the_parameters_of_an_upload_s_address(image: Layout) -> None:
    seen: list[httpx.QueryParams] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            seen.append(request.url.params)
        return accept(request, Location="/upload?_state=secret")

    async with open_repository(handler) as repository:
        await repository.publish(image, "v1.0.0")
    assert dict(seen[0]) == {"_state": "secret", "digest": image.blobs[0].digest}


async def test_publish_announces_each_blob_s_length(image: Layout) -> None:
    sent: list[tuple[str, int]] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT":
            sent.append((request.headers["Content-Length"], len(await request.aread())))
        return accept(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        await open_with(Retrying(http), "https://r.test", "m").publish(image, "v1.0.0")
    assert all(int(announced) == length for announced, length in sent)
    assert len(sent) == len(image.blobs) + 2  # the manifest goes by its digest, then by its tag


async def test_blobs_are_pushed_four_at_a_time(archive: Archive) -> None:
    archive.index(archive.add_manifest(*(bytes([number]) for number in range(9))))
    running, most, four = 0, 0, anyio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        if request.method == "PUT" and request.url.path == "/upload":
            running, most = running + 1, max(most, running + 1)
            if running == 4:
                await anyio.wait_all_tasks_blocked()  # a fifth would have come by now
                four.set()
            await four.wait()
            running -= 1
        return accept(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        image = archive_reader.read(archive.write())
        await open_with(Retrying(http), "https://r.test", "m").publish(image, "v1.0.0")
    assert most == 4


async def test_publish_refuses_a_registry_that_stored_something_else(image: Layout) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        status = {"GET": 404, "HEAD": 200, "PUT": 201}[request.method]
        return httpx.Response(status, headers={"Docker-Content-Digest": "sha256:other"})

    async with open_repository(handler) as repository:
        with pytest.raises(RegistryError, match="stored sha256:other where sha256:"):
            await repository.publish(image, "v1.0.0")


async def test_publish_sends_no_manifest_after_a_blob_that_was_refused(image: Layout) -> None:
    methods: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        methods.append(f"{request.method} {request.url.path}")
        return httpx.Response({"GET": 404, "HEAD": 404}.get(request.method, 507))

    async with open_repository(handler) as repository:
        with pytest.raises(RegistryError, match="POST /v2/m/blobs/uploads/ answered 507"):
            await repository.publish(image, "v1.0.0")
    assert not [method for method in methods if method.startswith("PUT")]


async def test_an_upload_that_the_registry_forgot_is_begun_again(image: Layout) -> None:
    begun: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            begun.append(request.url.path)
        if request.url.path == "/upload" and len(begun) == 1:
            error = {"code": "BLOB_UPLOAD_UNKNOWN", "message": "blob upload unknown to registry"}
            return httpx.Response(404, json={"errors": [error]})
        return accept(request)

    async with open_repository(handler) as repository:
        one = replace(repository, _turns=anyio.CapacityLimiter(1))
        assert await one.publish(image, "v1.0.0")
    assert len(begun) == len(image.blobs) + 1


async def test_a_document_is_read_whole_but_not_without_end(repository: Repository, image: Layout) -> None:
    await repository.publish(image, "v1.0.0")
    one = image.layers[0]
    assert await repository.document(one.digest) == b"one"
    with pytest.raises(RegistryError, match=f"{one.digest}: the response has 3 bytes; 2 are the most"):
        assert [piece async for piece in repository.blob(one.digest, 2)]
