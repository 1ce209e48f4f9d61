"""Downloads of a table: over TLS, and of an object as the release's identity from the fake cloud."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from errors import DataUnavailable
from fakecloud.state.fixtures import BUCKET, CloudSetup
from keyless.google_identity import Identity
from net.retry_policy import Retrying
from tests.ci.connections import job_identity, no_wait
from tests.host import download_site
from tests.host.download_site import Site
from training_data.address import TableAddress
from training_data.download import ATTEMPTS, download

pytestmark = pytest.mark.anyio
TABLE = b"a,b,y\n1,2,yes\n" * 1000
SHA256 = hashlib.sha256(TABLE).hexdigest()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Yield a web site with the table, over TLS."""
    with download_site.serve(tmp_path) as site:
        (site.folder / "rows.csv").write_bytes(TABLE)
        yield site


@pytest.fixture
async def client(site: Site) -> AsyncIterator[Retrying]:
    """Yield a client that trusts the site, whatever name it has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(site.certificate)
    async with httpx.AsyncClient(verify=context, timeout=60) as http:
        yield Retrying(http, sleep=no_wait)


def at(site: Site, name: str = "rows.csv", sha256: str = SHA256) -> TableAddress:
    return TableAddress(f"https://127.0.0.1:{site.port}/{name}", sha256)


async def test_a_table_is_written_as_it_is(site: Site, client: Retrying, tmp_path: Path) -> None:
    await download(at(site), None, client, tmp_path / "table")
    assert (tmp_path / "table").read_bytes() == TABLE


async def test_another_table_than_the_one_of_the_hash_is_not_kept(
    site: Site, client: Retrying, tmp_path: Path
) -> None:
    with pytest.raises(DataUnavailable, match=f"rows.csv has the SHA-256 {SHA256}, pyproject.toml says 0000"):
        await download(at(site, sha256="0" * 64), None, client, tmp_path / "table")
    assert not (tmp_path / "table").exists()


async def test_a_refusal_is_shown(site: Site, client: Retrying, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"/none.csv answered 404 File not found"):
        await download(at(site, "none.csv"), None, client, tmp_path / "table")


async def test_a_table_beyond_the_limit_is_not_read(site: Site, client: Retrying, tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=f"has {len(TABLE)} bytes; 100 are the most"):
        await download(at(site), None, client, tmp_path / "table", limit=100)


async def test_a_redirection_to_an_open_connection_is_refused(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "https":
            return httpx.Response(302, headers={"Location": "http://example.com/rows.csv"})
        return httpx.Response(200, content=TABLE)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        table = TableAddress("https://example.com/rows.csv", SHA256)
        with pytest.raises(DataUnavailable, match="leads to http://example.com"):
            await download(table, None, Retrying(http, sleep=no_wait), tmp_path / "table")


@pytest.mark.parametrize("breaks", [1, ATTEMPTS])
async def test_a_download_that_breaks_off_is_begun_again_some_times(breaks: int, tmp_path: Path) -> None:
    left = breaks

    async def half() -> AsyncIterator[bytes]:
        nonlocal left
        yield TABLE[:100]
        if left:
            left -= 1
            raise httpx.ReadError("connection lost")
        yield TABLE[100:]

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda request: httpx.Response(200, content=half()))
    ) as http:
        table, client = TableAddress("https://example.com/rows.csv", SHA256), Retrying(http, sleep=no_wait)
        if breaks < ATTEMPTS:
            await download(table, None, client, tmp_path / "table")
            assert (tmp_path / "table").read_bytes() == TABLE
        else:
            with pytest.raises(DataUnavailable, match="broke off: .*connection lost"):
                await download(table, None, client, tmp_path / "table")


OBJECT = TableAddress(f"gs://{BUCKET}/2026/rows.csv", SHA256)


@pytest.fixture
def identity(setup: CloudSetup, start_google: Callable[..., str]) -> Identity:
    """Return the identity of a job in a setup with the table in Cloud Storage."""
    base = start_google(replace(setup, objects={f"{BUCKET}/2026/rows.csv": TABLE}))
    return job_identity(base, setup, setup.service_account)


async def fetch(table: TableAddress, identity: Identity | None, path: Path) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        await download(table, identity, Retrying(http, sleep=no_wait), path)


async def test_an_object_is_fetched_as_the_identity(identity: Identity, tmp_path: Path) -> None:
    await fetch(OBJECT, identity, tmp_path / "table")
    assert (tmp_path / "table").read_bytes() == TABLE


async def test_an_object_needs_an_identity(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=f"`gcloud storage cp {OBJECT.url} {OBJECT.path}`"):
        await fetch(OBJECT, None, tmp_path / "table")


async def test_a_missing_permission_to_read_the_bucket_is_reported_with_the_command(
    identity: Identity, tmp_path: Path
) -> None:
    elsewhere = replace(OBJECT, url="gs://another-bucket/rows.csv")
    fix = r"add-iam-policy-binding gs://another-bucket .*serviceAccount:publisher@"
    with pytest.raises(DataUnavailable, match=rf"(?s)403 Forbidden: publisher@.*storage.objects.get.*{fix}"):
        await fetch(elsewhere, identity, tmp_path / "table")


async def test_an_object_that_is_not_there_is_named(identity: Identity, tmp_path: Path) -> None:
    missing = replace(OBJECT, url=f"gs://{BUCKET}/none.csv")
    with pytest.raises(DataUnavailable, match=f"404 Not Found: No such object: {BUCKET}/none.csv"):
        await fetch(missing, identity, tmp_path / "table")
