"""One session for all conformance tests, with a record of its queries."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator

import dagger
import graphql
import pytest
from gql import GraphQLRequest
from gql.client import AsyncClientSession

from engine_fixtures import PYTHON, Command


@pytest.fixture(scope="package")
def address(command: Command) -> Iterator[dict[str, str]]:
    """Yield an engine's address: the one in the environment, or that of a new embedded one."""
    if "DAGGER_SESSION_PORT" in os.environ:
        yield {name: os.environ[name] for name in ("DAGGER_SESSION_PORT", "DAGGER_SESSION_TOKEN")}
        return
    words, environment = command("session")
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())
        yield {"DAGGER_SESSION_PORT": str(address["port"]), "DAGGER_SESSION_TOKEN": address["session_token"]}
    assert process.returncode == 0


@pytest.fixture(scope="package")
def documents() -> list[graphql.DocumentNode]:
    """Return all requests of the folder's client."""
    return []


@pytest.fixture(scope="package")
async def dag(
    anyio_backend: str, address: dict[str, str], documents: list[graphql.DocumentNode]
) -> AsyncIterator[dagger.Client]:
    execute = AsyncClientSession.execute

    async def record(session: AsyncClientSession, request: GraphQLRequest, **how: object) -> object:
        documents.append(request.document)
        return await execute(session, request, **how)  # type: ignore[call-overload]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AsyncClientSession, "execute", record)
        for name, value in address.items():
            patched.setenv(name, value)
        async with dagger.connection(dagger.Config(timeout=dagger.Timeout(600))):
            yield dagger.dag


@pytest.fixture
def base(dag: dagger.Client) -> dagger.Container:
    return dag.container().from_(PYTHON)


@pytest.fixture
def tree(dag: dagger.Client) -> dagger.Directory:
    """Return a directory with a few files to look for."""
    files = {"a/one.py": "1", "a/two.md": "2", "b/one.py": "3", "z": "z"}
    found = dag.directory()
    for path, text in files.items():
        found = found.with_new_file(path, text)
    return found
