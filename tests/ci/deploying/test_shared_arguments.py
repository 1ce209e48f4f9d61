"""Arguments of every function that sends requests to Google."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar, get_type_hints

import dagger
import gql
import pytest
from dagger import Doc
from dagger._exceptions import QueryErrorValue
from dagger.mod._module import Module

from deploying.shared_arguments import identified, identity, operated
from deploying.target_connections import Operator
from errors import IdentityError, InvalidIdentity
from keyless.google_identity import Identity
from tests.ci.google_answers import ACCOUNT, PROVIDER
from tests.ci.recorder import Recorder

pytestmark = pytest.mark.anyio

MODULE = Module("Pipeline")

if TYPE_CHECKING:
    Method = TypeVar("Method")

    # The SDK's decorator loses a method's type in mypy.
    def register(method: Method) -> Method: ...
else:
    register = MODULE.function
UNSET = QueryErrorValue('secret env var not found: "ACT..."')
ARGUMENTS = ["workload_identity_provider", "service_account", "oidc_url", "oidc_token", "google_endpoints"]


class Secret(Recorder, of=(dagger.Secret,)):
    """A secret of Dagger's, or one that it cannot read."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    async def plaintext(self) -> str:
        if self.text is None:
            raise dagger.QueryError([UNSET], gql.GraphQLRequest("{ secret { plaintext } }"))
        return self.text


@MODULE.object_type
class Pipeline:
    """A pipeline with a function that talks to Google."""

    @register
    @identified
    async def publish(
        self, tag: Annotated[str, Doc("The tag")], copies: int = 1, *, identity: Identity | None
    ) -> str:
        """Publish."""
        return f"{tag} {copies} {identity.service_account if identity else None}"

    @register
    @identified
    @operated
    async def deploy(self, *, identity: Identity | None, operator: Operator) -> str:
        """Deploy."""
        return f"{identity.service_account if identity else None} {operator.by} {operator.takeover}"


async def test_a_function_gets_who_deploys_beside_the_identity() -> None:
    given = {"workload_identity_provider": PROVIDER, "service_account": ACCOUNT}
    assert await Pipeline().deploy(**given, by="me", takeover=True) == f"{ACCOUNT} me True"
    assert await Pipeline().deploy() == "None None False"


async def test_a_function_gets_the_identity_that_its_arguments_describe() -> None:
    printed = await Pipeline().publish("v1.0.0", workload_identity_provider=PROVIDER, service_account=ACCOUNT)
    assert printed == f"v1.0.0 1 {ACCOUNT}"


async def test_a_function_gets_no_identity_when_none_is_described() -> None:
    assert await Pipeline().publish("v1.0.0", copies=2) == "v1.0.0 2 None"
    assert await Pipeline().publish(tag="v1.0.0", service_account=None) == "v1.0.0 1 None"


async def test_an_identity_without_a_provider_is_refused() -> None:
    with pytest.raises(InvalidIdentity, match="needs --workload-identity-provider, too"):
        await Pipeline().publish("v1.0.0", service_account=ACCOUNT)


async def test_a_secret_that_dagger_cannot_read_is_explained() -> None:
    with pytest.raises(IdentityError, match=r"not found: .*\n  cause: .*\n  fix: write in the job: "):
        await identity(workload_identity_provider=PROVIDER, oidc_token=Secret(None))  # type: ignore[arg-type]


def test_dagger_sees_the_arguments_with_their_descriptions() -> None:
    functions = MODULE.get_object("Pipeline").functions
    published, deployed = functions["publish"], functions["deploy"]
    assert list(deployed.parameters) == [
        "by",
        "takeover",
        "docker",
        "kubernetes_token",
        "alertmanager",
        *ARGUMENTS,
    ]
    assert list(published.parameters) == ["tag", "copies", *ARGUMENTS]
    assert all(each.doc for name, each in published.parameters.items() if name != "copies")
    assert all(published.parameters[name].is_nullable for name in ARGUMENTS)
    assert published.return_type is str
    assert published.doc == "Publish."
    assert get_type_hints(Pipeline.publish)["oidc_token"] == dagger.Secret | None
