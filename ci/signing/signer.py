"""Signing of a provenance through Sigstore: certificate of ten minutes, signature, log entry, timestamp."""

import logging
import os
import ssl
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from errors import IdentityError, SigningFailed
from net.retry_policy import Retrying
from net.tokens import Token
from signing.trust import Trust

if TYPE_CHECKING:
    from sigstore.models import ClientTrustConfig

_LOG = logging.getLogger(__name__)
_ATTEMPTS, _SECONDS = 3, 60


async def sign(
    trust: Trust, token: Token, statement: bytes, client: Retrying, seconds: float = _SECONDS
) -> bytes:
    """Return a bundle, in JSON, with a statement that is signed in the name of a token.

    Each attempt may take some seconds; the client's patience is used between them. Raises SigningFailed.
    """
    make = partial(_attempt, trust.client(), token, statement, seconds)
    outcome, attempt = await make(), 1
    while isinstance(outcome, Exception) and attempt < _ATTEMPTS and _is_transient(outcome):
        _LOG.warning("signature: %s; trying again", _describe(outcome, token))
        await client.pause(attempt)
        outcome, attempt = await make(), attempt + 1
    if isinstance(outcome, Exception):
        # Not from the library's own error, whose frames would bring variables along that hold the token.
        problem = f"signature: {_describe(outcome, token)}"
        raise SigningFailed(problem, _claims(token))
    return outcome


async def _attempt(
    config: "ClientTrustConfig", token: Token, statement: bytes, seconds: float
) -> bytes | Exception:
    """Return a bundle, or what went wrong."""
    work = partial(_bundle, config, token, statement)
    try:
        with anyio.fail_after(seconds):  # the library waits for ever
            return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except TimeoutError:
        return TimeoutError(f"there is none after {seconds} s")
    except Exception as error:  # the library has no error that all others are
        return error


def _bundle(config: "ClientTrustConfig", token: Token, statement: bytes) -> bytes:
    from sigstore.dsse import Statement
    from sigstore.oidc import IdentityToken
    from sigstore.sign import SigningContext

    _trust_the_machine_s_store()
    with SigningContext.from_trust_config(config).signer(IdentityToken(token.reveal())) as signer:
        return signer.sign_dsse(Statement(statement)).to_json().encode()


def _trust_the_machine_s_store() -> None:
    """Have `requests`, which the library uses, verify servers as all else here does.

    It takes a store by this variable only; companies add their own authority to the machine's.
    """
    paths = ssl.get_default_verify_paths()
    if store := paths.cafile or paths.capath:
        os.environ.setdefault("REQUESTS_CA_BUNDLE", store)


def _is_transient(error: Exception) -> bool:
    """Return whether a failure may pass: lost connections, time-outs, 429 and 5xx."""
    from requests import ConnectionError, HTTPError, Timeout

    for each in _chain(error):
        if isinstance(each, HTTPError) and each.response is not None:
            return each.response.status_code == 429 or each.response.status_code >= 500
        if isinstance(each, ConnectionError | Timeout | TimeoutError):
            return "CERTIFICATE_VERIFY_FAILED" not in str(each)
    return False


def _describe(error: Exception, token: Token) -> str:
    """Return what went wrong in one line, with what the service said."""
    from requests import HTTPError

    said = [" ".join(str(each).split()) for each in _chain(error)]
    for each in _chain(error):
        if isinstance(each, HTTPError) and each.response is not None:
            said.append(" ".join(each.response.text.split()))
    message = ": ".join(dict.fromkeys(filter(None, said))) or type(error).__name__
    return f"{token.hide(message):.500}"


def _claims(token: Token) -> Mapping[str, object]:
    """Return what a token says, nothing when it is no JWT."""
    try:
        return token.claims()
    except IdentityError:
        return {}


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, in the order in which they are printed."""
    found: list[BaseException] = []
    while error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__ or error
    return found
