"""Cloud Storage's JSON API, as far as a table is read from it: `objects.get` with `alt=media`."""

from dataclasses import dataclass
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fakecloud.state.fixtures import CloudSetup, bucket_resource
from fakecloud.state.ledger import Ledger
from fakecloud.state.policy import LIST_OBJECTS, READ_OBJECT, ServiceAccount, allows
from fakecloud.state.refusals import ApiRefusal, PlainRefusal


@dataclass(frozen=True)
class Storage:
    """The service, for the objects of the setup."""

    setup: CloudSetup
    ledger: Ledger

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the service's address."""
        return [Route("/storage/v1/b/{bucket}/o/{name:path}", self.content)]

    async def content(self, request: Request) -> Response:
        """Respond with an object's bytes if the caller may read it."""
        grant, bucket = self.ledger.bearer(request.headers), request.path_params["bucket"]
        resource = bucket_resource(bucket)
        if request.query_params.get("alt") != "media":
            raise ApiRefusal("INVALID_ARGUMENT", "Only the content of an object is served here: alt=media.")
        if not grant.unrestricted or not allows(self.setup, grant.principal, READ_OBJECT, resource):
            raise _denied_error(grant.principal)
        key = f"{bucket}/{_name(request)}"
        if key not in self.setup.objects:
            if not allows(self.setup, grant.principal, LIST_OBJECTS, resource):
                raise _denied_error(grant.principal)
            raise PlainRefusal(404, f"No such object: {key}")
        return Response(self.setup.objects[key], media_type="application/octet-stream")


def _name(request: Request) -> str:
    """Return an object's name, in which a slash has to be escaped; refuse another as an unknown path."""
    raw: bytes = request.scope["raw_path"].partition(b"?")[0]
    name = raw.rpartition(b"/o/")[2]
    if b"/" in name:
        raise PlainRefusal(404, "Not Found")
    return unquote(name.decode("ascii"))


def _denied_error(principal: object) -> PlainRefusal:
    who = principal.email if isinstance(principal, ServiceAccount) else "Caller"
    return PlainRefusal(
        403,
        f"{who} does not have {READ_OBJECT} access to the Google Cloud Storage object. "
        f"Permission '{READ_OBJECT}' denied on resource (or it may not exist).",
    )
