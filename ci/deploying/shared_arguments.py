"""Shared arguments of the pipeline's functions: who releases, and who deploys.

    @function(cache="never")
    @identified
    async def publish(self, tag: Tag, *, identity: Identity | None) -> str:

`dagger call publish` then takes --workload-identity-provider and the others in the place of an identity.
Dagger's constructor could take them, but for all functions, and with flags before the function's name.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol, TypeVar, get_type_hints

import dagger
from dagger import Doc

from deploying.alerts import Alertmanager
from deploying.target_connections import Operator
from errors import IdentityError, InvalidIdentity
from keyless.google_identity import Identity
from net.tokens import Token
from signing.release_signature import Consent

Result = TypeVar("Result")


class Decorator(Protocol):
    """Decorator that changes a method's parameters."""

    def __call__(self, method: Callable[..., Awaitable[Result]], /) -> Callable[..., Awaitable[Result]]:
        """Return the changed method."""


async def identity(
    workload_identity_provider: Annotated[
        str | None,
        Doc(
            "The workload identity provider: projects/NUMBER/locations/global/workloadIdentityPools/POOL/"
            "providers/PROVIDER"
        ),
    ] = None,
    service_account: Annotated[
        str | None, Doc("The service account to use; without one, the federated identity itself")
    ] = None,
    oidc_url: Annotated[
        dagger.Secret | None,
        Doc("Where the CI system issues identity tokens: env:ACTIONS_ID_TOKEN_REQUEST_URL on GitHub"),
    ] = None,
    oidc_token: Annotated[
        dagger.Secret | None,
        Doc("The token for that request: env:ACTIONS_ID_TOKEN_REQUEST_TOKEN; or an identity token itself"),
    ] = None,
    google_endpoints: Annotated[
        dagger.File | None, Doc("A TOML file of other addresses than Google's own, for rehearsals")
    ] = None,
) -> Identity | None:
    """Return the identity that the arguments describe, None when none is given."""
    others = (service_account, oidc_url, oidc_token, google_endpoints)
    if not workload_identity_provider:
        if any(others):
            raise InvalidIdentity(
                "provider: an identity needs --workload-identity-provider, too, which is empty or missing; "
                "`dagger call setup-google` prints it"
            )
        return None
    try:
        return await Identity.of(workload_identity_provider, *others)
    except dagger.QueryError as error:
        raise IdentityError(f"identity: {error}") from error


async def operator(
    by: Annotated[
        str | None, Doc("The operator's name, for the journal; by default the job's run, from its identity")
    ] = None,
    takeover: Annotated[
        bool, Doc("Take over another operator's unfinished deployment before its lock expires")
    ] = False,
    docker: Annotated[
        dagger.Socket | None, Doc("The Docker socket of a Swarm manager: unix:///var/run/docker.sock")
    ] = None,
    kubernetes_token: Annotated[
        dagger.Secret | None,
        Doc("A token for the cluster's API; without one, Google's identity (GKE)"),
    ] = None,
    alertmanager: Annotated[
        str | None, Doc("Alertmanager's address, for alerts when a deployment fails or is rolled back")
    ] = None,
) -> Operator:
    """Return who deploys, what lets them in, and who is alerted."""
    alerts = Alertmanager.of(alertmanager) if alertmanager else None
    return Operator(by, takeover, docker, kubernetes_token, alerts)


async def consent(
    sigstore_token: Annotated[
        dagger.Secret | None,
        Doc("An identity token for Sigstore, where the CI system issues none on request: env:SIGSTORE_TOKEN"),
    ] = None,
    sign_private: Annotated[
        bool, Doc("Also sign for a private repository; the public log then shows its name for ever")
    ] = False,
) -> Consent:
    """Return the consent to sign a release."""
    token = Token(await sigstore_token.plaintext()) if sigstore_token else None
    return Consent(token, sign_private)


def gather_arguments(describe: Callable[..., Awaitable[object]], name: str) -> Decorator:
    """Return a decorator: a method takes the parameters of `describe`, and is passed what that returns.

    The method's own parameter of that name goes away, keyword-only as the others then are.
    """
    parameters = inspect.signature(describe).parameters
    types = {
        each: hint
        for each, hint in get_type_hints(describe, include_extras=True).items()
        if each in parameters
    }

    def decorate(method: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
        @functools.wraps(method)
        async def call(self: object, /, *positional: Any, **named: Any) -> Result:
            described = {each: named.pop(each) for each in parameters if each in named}
            return await method(self, *positional, **named, **{name: await describe(**described)})

        own = inspect.signature(method)
        kept = [each for each in own.parameters.values() if each.name != name]
        added = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters.values()]
        call.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
        hints = get_type_hints(method, include_extras=True)
        call.__annotations__ = {each: hint for each, hint in hints.items() if each != name} | types
        return call

    return decorate


identified = gather_arguments(identity, "identity")
operated = gather_arguments(operator, "operator")
consenting = gather_arguments(consent, "consent")
