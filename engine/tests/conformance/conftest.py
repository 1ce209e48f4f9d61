"""One session for all conformance tests, with a record of its queries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import dagger
import graphql
import pytest
from gql import GraphQLRequest
from gql.client import AsyncClientSession

from engine_fixtures import PYTHON, Command, connect, open_session


@pytest.fixture(scope="package")
def address(command: Command) -> Iterator[dict[str, str]]:
    """Return the engine's address."""
    with open_session(command) as found:
        yield found


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
        async with connect(address) as client:
            yield client


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
