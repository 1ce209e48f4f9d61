"""The arguments by which the pipeline's functions learn who releases, written once.

    @function(cache="never")
    @identified
    async def publish(self, tag: Tag, *, identity: Identity | None) -> str:

`dagger call publish` then takes --workload-identity-provider and the others in the place of an identity.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar, get_type_hints

import dagger
from dagger import Doc

from errors import IdentityError, InvalidIdentity
from explain import advice
from principal import Identity

Result = TypeVar("Result")


async def identity(
    workload_identity_provider: Annotated[
        str | None,
        Doc(
            "Who vouches for this job to Google: projects/NUMBER/locations/global/workloadIdentityPools/POOL/"
            "providers/PROVIDER"
        ),
    ] = None,
    service_account: Annotated[
        str | None, Doc("The service account to work as; the federated identity itself without one")
    ] = None,
    oidc_url: Annotated[
        dagger.Secret | None,
        Doc("Where the CI system issues identity tokens: env:ACTIONS_ID_TOKEN_REQUEST_URL on GitHub"),
    ] = None,
    oidc_token: Annotated[
        dagger.Secret | None,
        Doc("The token to ask there with: env:ACTIONS_ID_TOKEN_REQUEST_TOKEN; or an identity token itself"),
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
        raise IdentityError(f"identity: {error}{advice(str(error))}") from error


_PARAMETERS = inspect.signature(identity).parameters
_HINTS = {
    name: hint for name, hint in get_type_hints(identity, include_extras=True).items() if name in _PARAMETERS
}


def identified(method: Callable[..., Awaitable[Result]]) -> Callable[..., Awaitable[Result]]:
    """Return a method that takes an identity's arguments and passes on the identity that they describe."""

    @functools.wraps(method)
    async def taking(self: object, /, *positional: Any, **named: Any) -> Result:
        described = {name: named.pop(name) for name in _PARAMETERS if name in named}
        return await method(self, *positional, identity=await identity(**described), **named)

    own = inspect.signature(method)
    kept = [each for each in own.parameters.values() if each.name != "identity"]
    added = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in _PARAMETERS.values()]
    taking.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    hints = get_type_hints(method, include_extras=True)
    taking.__annotations__ = {name: hint for name, hint in hints.items() if name != "identity"} | _HINTS
    return taking
