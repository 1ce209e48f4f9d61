"""Base images: pulled from a real registry, and made from Debian's packages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.abc
import dagger
import httpx
import pytest

from image import archive_reader
from main import REGISTRY
from oci import repository


@pytest.fixture(scope="module")
async def dag(anyio_backend: str, wrapper_environment: dict[str, str]) -> AsyncIterator[dagger.Client]:
    """Yield the client of a program whose Dagger command line is the wrapper."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in wrapper_environment.items():
            patched.setenv(name, value)
        async with dagger.connection(dagger.Config(timeout=dagger.Timeout(600))):
            yield dagger.dag


@pytest.fixture
async def registry_port(dag: dagger.Client, free_port: int) -> AsyncIterator[int]:
    """Forward a port of the host to a real, empty registry."""
    service = dag.container().from_(REGISTRY).with_exposed_port(5000).as_service(use_entrypoint=True)
    async with anyio.create_task_group() as group:
        group.start_soon(_up, service, free_port)
        await _answers(f"http://127.0.0.1:{free_port}/v2/")
        yield free_port
        group.cancel_scope.cancel()


async def _up(service: dagger.Service, port: int) -> None:
    await service.up(ports=[dagger.PortForward(backend=5000, frontend=port)])


async def _answers(url: str) -> None:
    async with httpx.AsyncClient() as client:
        with anyio.fail_after(180):
            while True:
                try:
                    assert (await client.get(url)).status_code == 200
                    return
                except httpx.TransportError:
                    await anyio.sleep(0.1)


@pytest.mark.anyio
async def test_an_image_is_pulled_by_tag_and_by_digest_and_a_missing_one_is_named(
    dag: dagger.Client, registry_port: int, tmp_path: Path
) -> None:
    pushed = dag.container().with_new_file("/hello", "pulled").with_label("kind", "test")
    await pushed.export(str(tmp_path / "image.tar"))
    image = archive_reader.read(tmp_path / "image.tar")
    async with repository.connect(f"http://127.0.0.1:{registry_port}", "tiny") as tiny:
        assert await tiny.publish(image, "v1.0.0")
    for name in (f"tiny:v1.0.0@{image.digest}", f"tiny@{image.digest}", "tiny:v1.0.0"):
        pulled = dag.container().from_(f"localhost:{registry_port}/{name}")
        assert await pulled.file("/hello").contents() == "pulled"
        assert await pulled.label("kind") == "test"
    missing = f"localhost:{registry_port}/none:v1"
    with pytest.raises(dagger.QueryError, match=re.escape(missing) + ".*manifest unknown"):
        await dag.container().from_(missing).sync()


@pytest.mark.long  # a minute for an image that is new on the machine
@pytest.mark.parametrize(
    ("reference", "script", "printed"),
    [
        (
            "debian:bookworm-slim",
            ". /etc/os-release; apt-get --version >&2; echo $ID $VERSION_ID",
            "debian 12",
        ),
        ("node:18-bookworm-slim", "npm --version >&2; node -p 'process.version.slice(0, 3)'", "v18"),
    ],
)
@pytest.mark.anyio
async def test_a_base_image_that_other_modules_use_runs_its_programs(
    dag: dagger.Client, reference: str, script: str, printed: str
) -> None:
    assert (
        await dag.container().from_(reference).with_exec(["sh", "-ec", script]).stdout()
    ).strip() == printed
