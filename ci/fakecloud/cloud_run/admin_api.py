"""The Admin API of Cloud Run, version 2: services, revisions and operations of one project."""

import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
from anyio.abc import TaskGroup
from google.cloud import run_v2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.cloud_run import service_validation
from fakecloud.cloud_run.reconciliation import KIND, Reconciler
from fakecloud.cloud_run.resources import Message, Operation, Revision, Service, State, as_json
from fakecloud.identity.iam import read_content
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.ledger import Grant, Ledger
from fakecloud.state.policy import ACT_AS, allows
from fakecloud.state.refusals import ApiRefusal, permission_denied

_DURATION = re.compile(r"(\d{1,4})s")
_WAIT = 30  # seconds, the most that a request waits here
_LOCATION = "/v2/projects/{project}/locations/{location}"
_SERVICE = f"{_LOCATION}/services/{{service}}"


@dataclass
class Admin:
    """The API; `tasks` run what takes its time."""

    setup: CloudSetup
    ledger: Ledger
    state: State
    reconciler: Reconciler
    tasks: TaskGroup | None = field(default=None)

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the API's address."""
        revision, operation = f"{_SERVICE}/revisions/{{revision}}", f"{_LOCATION}/operations/{{operation}}"
        return [
            Route(f"{_LOCATION}/services", self.create, methods=["POST"]),
            Route(_SERVICE, self.get),
            Route(_SERVICE, self.patch, methods=["PATCH"]),
            Route(_SERVICE, self.delete, methods=["DELETE"]),
            Route(f"{_SERVICE}/revisions", self.list_revisions),
            Route(revision, self.get_revision),
            Route(f"{operation}:wait", self.wait, methods=["POST"]),
            Route(operation, self.get_operation),
        ]

    async def create(self, request: Request) -> Response:
        """Make a service."""
        name = request.query_params.get("serviceId", "")
        parent, grant = _parent(request), self._authorize(request, "run.services.create")
        message = service_validation.parse_service(await request.body())
        service_validation.check(message, name)
        self._check_account(grant, message.template)
        path = f"{parent}/services/{name}"
        if path in self.state.services:
            raise ApiRefusal("ALREADY_EXISTS", f"Resource '{name}' already exists.")
        kept = run_v2.Service.pb(run_v2.Service(name=path, create_time=datetime.now(UTC)))
        service = Service(_merge_fields(message, kept, sorted(service_validation.MUTABLE)))
        self._check_traffic(service)
        self._revise(service)
        self.state.services[path] = service
        return self._begun(request, service)

    async def get(self, request: Request) -> Response:
        """Answer with a service."""
        return JSONResponse(self._service(request, "run.services.get").as_json(base(request)))

    async def patch(self, request: Request) -> Response:
        """Change a service's fields, those of a mask when there is one."""
        grant = self._authorize(request, "run.services.update")
        service = self._service(request, "run.services.update")
        change = service_validation.parse_service(await request.body())
        _check_etag(service, change.etag)
        mask = service_validation.parse_mask(request.query_params.get("updateMask", ""))
        message = _merge_fields(change, _copy(service.message), mask)
        service_validation.check(message, service.name)
        self._check_account(grant, message.template)
        changed = Service(message, dict(service.revisions))
        self._check_traffic(changed)
        if message.template != service.message.template:
            self._revise(changed)
        service.message, service.revisions = changed.message, changed.revisions
        return self._begun(request, service)

    async def delete(self, request: Request) -> Response:
        """Remove a service with its revisions."""
        service = self._service(request, "run.services.delete")
        _check_etag(service, request.query_params.get("etag", ""))
        del self.state.services[service.message.name]
        operation = self.state.operation(_parent(request))
        operation.end(response={"@type": KIND, **service.as_json(base(request))})
        return JSONResponse(operation.as_json())

    async def list_revisions(self, request: Request) -> Response:
        """Answer with a service's revisions, the newest first."""
        service = self._service(request, "run.revisions.list")
        listed = [as_json(each.message) for each in reversed(service.revisions.values())]
        return JSONResponse({"revisions": listed} if listed else {})

    async def get_revision(self, request: Request) -> Response:
        """Answer with a revision."""
        service, name = self._service(request, "run.revisions.get"), request.path_params["revision"]
        if name not in service.revisions:
            raise _not_found(request, name, "REVISION")
        return JSONResponse(as_json(service.revisions[name].message))

    async def get_operation(self, request: Request) -> Response:
        """Answer with an operation as it is."""
        return JSONResponse(self._operation(request).as_json())

    async def wait(self, request: Request) -> Response:
        """Answer with an operation once it is done, or a while has passed."""
        operation = self._operation(request)
        timeout = read_content(await request.body(), {"timeout": str}).get("timeout", f"{_WAIT}s")
        if not (found := _DURATION.fullmatch(timeout)):
            raise ApiRefusal("INVALID_ARGUMENT", "Invalid value at 'timeout'")
        with anyio.move_on_after(min(int(found[1]), _WAIT)):
            await operation.ended.wait()
        return JSONResponse(operation.as_json())

    def _authorize(self, request: Request, permission: str) -> Grant:
        grant, project = self.ledger.bearer(request.headers), f"projects/{request.path_params['project']}"
        if not grant.unrestricted or not allows(self.setup, grant.principal, permission, project):
            name = request.path_params.get("service", "")
            raise permission_denied(permission, f"{_parent(request)}/services/{name}")
        return grant

    def _check_account(self, grant: Grant, template: Message) -> None:
        """Refuse a caller who may not let a revision run as its service account."""
        account = template.service_account or self.setup.default_account
        if not allows(self.setup, grant.principal, ACT_AS, account):
            text = f"Permission 'iam.serviceaccounts.actAs' denied on service account {account}"
            raise ApiRefusal("PERMISSION_DENIED", f"{text} (or it may not exist).")

    def _service(self, request: Request, permission: str) -> Service:
        self._authorize(request, permission)
        name = request.path_params["service"]
        service = self.state.services.get(f"{_parent(request)}/services/{name}")
        if service is None:
            raise _not_found(request, name, "SERVICE")
        return service

    def _operation(self, request: Request) -> Operation:
        self._authorize(request, "run.operations.get")
        name = f"{_parent(request)}/operations/{request.path_params['operation']}"
        if name not in self.state.operations:
            raise _not_found(request, request.path_params["operation"], "OPERATION")
        return self.state.operations[name]

    def _check_traffic(self, service: Service) -> None:
        own = service.message.template.revision
        for target in service.message.traffic:
            if target.revision and target.revision not in {own, *service.revisions}:
                raise ApiRefusal("NOT_FOUND", f"Revision '{target.revision}' does not exist or is deleted.")

    def _revise(self, service: Service) -> None:
        """Make a revision of the template, unless it names one that is just so."""
        number, end = service.message.generation + 1, secrets.token_hex(2)[:3]
        name = service.message.template.revision or f"{service.name}-{number:05d}-{end}"
        made = _revision(service, name)
        there = service.revisions.setdefault(name, made)
        if there.configuration != made.configuration:
            taken = f"Revision named '{name}' with different configuration already exists."
            raise ApiRefusal("ALREADY_EXISTS", taken)
        service.message.latest_created_revision = made.message.name

    def _begun(self, request: Request, service: Service) -> Response:
        service.message.generation += 1
        service.message.reconciling = True
        service.touch()
        operation = self.state.operation(_parent(request))
        assert self.tasks is not None
        self.tasks.start_soon(self.reconciler.reconcile, service, operation, base(request))
        return JSONResponse(operation.as_json())


def base(request: Request) -> str:
    """Return the fake cloud's own address, as the caller knows it."""
    return f"{request.url.scheme}://{request.url.netloc}"


def _parent(request: Request) -> str:
    named = request.path_params
    return f"projects/{named['project']}/locations/{named['location']}"


def _not_found(request: Request, name: str, kind: str) -> ApiRefusal:
    where = f"in region '{request.path_params['location']}' in project '{request.path_params['project']}'"
    return ApiRefusal("NOT_FOUND", f"Resource '{name}' of kind '{kind}' {where} does not exist.")


def _check_etag(service: Service, etag: str) -> None:
    if etag and etag != service.message.etag:
        conflict = f"version '{etag}' was specified but current version is '{service.message.etag}'."
        raise ApiRefusal("ABORTED", f"Conflict for resource '{service.name}': {conflict}")


def _copy(message: Message) -> Message:
    copied = run_v2.Service.pb(run_v2.Service())
    copied.CopyFrom(message)
    return copied


def _merge_fields(change: Message, kept: Message, paths: list[str]) -> Message:
    """Return the stored message with the fields of the paths replaced by the requested ones."""
    FieldMask(paths=paths).MergeMessage(change, kept, True, True)
    return kept


def _revision(service: Service, name: str) -> Revision:
    """Return a new revision of a service's template."""
    configuration = as_json(service.message.template)
    made = {**configuration, "name": f"{service.message.name}/revisions/{name}", "service": service.name}
    message = ParseDict(made, run_v2.Revision.pb(run_v2.Revision()), ignore_unknown_fields=True)
    message.create_time = datetime.now(UTC)
    return Revision(message, {**configuration, "revision": name})
