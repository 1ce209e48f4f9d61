"""The Artifact Registry API, as far as a release looks at it: a repository's settings and permissions."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.identity.iam import read_content
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.ledger import Ledger
from fakecloud.state.policy import allows
from fakecloud.state.refusals import ApiRefusal, permission_denied

_GET = "artifactregistry.repositories.get"


@dataclass(frozen=True)
class Artifacts:
    """The service, for the one repository that exists."""

    setup: CloudSetup
    ledger: Ledger

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the service's address."""
        repository = "/v1/projects/{project}/locations/{location}/repositories/{name}"
        return [
            Route(f"{repository}:testIamPermissions", self.permissions, methods=["POST"]),
            Route(repository, self.settings),
        ]

    async def settings(self, request: Request) -> Response:
        """Respond with the repository if the caller may see it."""
        grant, repository = self.ledger.bearer(request.headers), self.setup.repository
        resource = _resource(request)
        if not grant.unrestricted or not allows(self.setup, grant.principal, _GET, resource):
            raise permission_denied(_GET, f"//artifactregistry.googleapis.com/{resource}")
        answer: dict[str, object] = {"name": resource, "format": "DOCKER", "mode": "STANDARD_REPOSITORY"}
        # False is left out, as JSON of protocol buffers does.
        answer["dockerConfig"] = {"immutableTags": True} if repository.immutable_tags else {}
        answer["registryUri"] = repository.uri
        return JSONResponse(answer)

    async def permissions(self, request: Request) -> Response:
        """Answer which of the named permissions the caller has; for what does not exist, none."""
        grant, resource = self.ledger.bearer(request.headers), _resource(request)
        requested = read_content(await request.body(), {"permissions": list}).get("permissions", [])
        if any(not isinstance(name, str) or "*" in name for name in requested):
            raise ApiRefusal("INVALID_ARGUMENT", "Request contains an invalid argument.")
        held = [name for name in requested if allows(self.setup, grant.principal, name, resource)]
        return JSONResponse({"permissions": held} if held and grant.unrestricted else {})


def _resource(request: Request) -> str:
    named = request.path_params
    return f"projects/{named['project']}/locations/{named['location']}/repositories/{named['name']}"
