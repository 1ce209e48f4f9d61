"""Download of a table: bounded, and checked against its SHA-256."""

import hashlib
from pathlib import Path

import httpx

from errors import DataUnavailable, NoAnswer
from keyless.federation import Federation
from keyless.google_identity import Identity, advice_names
from net.bounded_reading import pieces, seconds_for, whole
from net.http_responses import describe_response
from net.retry_policy import Retrying
from net.tokens import Token
from training_data.address import TableAddress

MAX_BYTES = 4 * 1024**3
ATTEMPTS = 3  # of a download that breaks off
TIMEOUT = httpx.Timeout(30, read=120)


async def download(
    table: TableAddress, identity: Identity | None, client: Retrying, path: Path, limit: int = MAX_BYTES
) -> None:
    """Write a table to a file.

    An object of Cloud Storage is fetched as the identity. Raises DataUnavailable when there is none, when the
    server refuses, when the table has more bytes than the limit, and when its SHA-256 is another one.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            found = await _fetch(table, identity, client, path, limit)
            break
        except httpx.TransportError as error:
            if attempt == ATTEMPTS:
                raise DataUnavailable(f"data: {table.url} broke off: {error!r}; try again") from error
        await client.pause(attempt)
    if found != table.sha256:
        path.unlink()
        raise DataUnavailable(
            f"data: {table.url} has the SHA-256 {found}, pyproject.toml says {table.sha256}; if that is "
            "the table to train on, write its SHA-256 there"
        )


async def _fetch(
    table: TableAddress, identity: Identity | None, client: Retrying, path: Path, limit: int
) -> str:
    """Return the SHA-256 of what was written to the file."""
    token = await _mint_token(table, identity, client)
    headers = {"Authorization": token.authorization()} if token else {}
    request = client.http.build_request("GET", _request_url(table, identity), headers=headers)
    sha256 = hashlib.sha256()
    try:
        answer = await client.send(request, follow_redirects=token is None, stream=True)
        try:
            await _check(answer, table, identity, token)
            with path.open("wb") as file:
                async for piece in pieces(answer, limit, seconds_for(limit)):
                    sha256.update(piece)
                    file.write(piece)
        finally:
            await answer.aclose()
    except NoAnswer as error:
        raise DataUnavailable(f"data: {table.url}: {error.message}") from error
    return sha256.hexdigest()


async def _mint_token(table: TableAddress, identity: Identity | None, client: Retrying) -> Token | None:
    if not table.is_in_storage:
        return None
    if identity is None:
        raise DataUnavailable(
            f"data: {table.url} is fetched by an identity, and none is given; give train or publish "
            "--workload-identity-provider and what goes with it, or put the file where it belongs by "
            f"`gcloud storage cp {table.url} {table.path}`"
        )
    return await Federation(identity, client).access_token()


def _request_url(table: TableAddress, identity: Identity | None) -> str:
    """Return the URL of the table's bytes."""
    if table.is_in_storage and identity:
        return f"{identity.endpoints.storage}{table.storage_path()}?alt=media"
    return table.url


async def _check(
    answer: httpx.Response, table: TableAddress, identity: Identity | None, token: Token | None
) -> None:
    """Raise DataUnavailable unless a response has the table."""
    if any(each.url.scheme != "https" for each in (*answer.history, answer)) and token is None:
        raise DataUnavailable(f"data: {table.url} leads to {answer.url.scheme}://{answer.url.host}")
    if answer.status_code == httpx.codes.OK:
        return
    problem = f"data: {table.url} answered {describe_response(await whole(answer), token)}"
    names = advice_names(identity, {}) | {"bucket": table.object[0]} if identity else {}
    raise DataUnavailable(problem, **names)
