"""Google's own client of Cloud Run, against the fake cloud: it succeeds and fails as ours does."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import BadRequest, Conflict, GoogleAPICallError, NotFound
from google.cloud import run_v2
from google.oauth2.credentials import Credentials
from google.protobuf.field_mask_pb2 import FieldMask

from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.fakecloud.conftest import IMAGE, SERVICES, Run

PARENT = SERVICES.removeprefix("v2/").removesuffix("/services")
KINDS = run_v2.TrafficTargetAllocationType
pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(run: Run) -> run_v2.ServicesClient:
    """Return the client, with the service account's access token."""
    options = ClientOptions(api_endpoint=f"{str(run.http.base_url).rstrip('/')}/run")
    credentials = Credentials(run.impersonate())  # type: ignore[no-untyped-call]
    return run_v2.ServicesClient(transport="rest", credentials=credentials, client_options=options)


def done(operation: Any) -> run_v2.Service:
    """Return what an operation ends with."""
    ended: run_v2.Service = operation.result(30)
    return ended


def service(run: Run, revision: str) -> run_v2.Service:
    """Return a service with a revision of the release."""
    probe = run_v2.Probe(
        http_get=run_v2.HTTPGetAction(path="/readyz"), period_seconds=1, failure_threshold=20
    )
    container = run_v2.Container(image=f"{IMAGE}@{run.digest}", startup_probe=probe)
    return run_v2.Service(template=run_v2.RevisionTemplate(revision=revision, containers=[container]))


async def test_it_makes_a_service_changes_its_traffic_and_deletes_it(
    client: run_v2.ServicesClient, run: Run, fleet: Fleet
) -> None:
    made = done(client.create_service(parent=PARENT, service=service(run, "client-a"), service_id="client"))
    assert made.terminal_condition.state == run_v2.Condition.State.CONDITION_SUCCEEDED
    fleet.known[run.digest] = Model("v1.1.0")
    made.template.revision = "client-b"
    kind = KINDS.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
    made.traffic = [
        run_v2.TrafficTarget(type_=kind, revision="client-a", percent=75),
        run_v2.TrafficTarget(type_=kind, revision="client-b", percent=25, tag="candidate"),
    ]
    request = run_v2.UpdateServiceRequest(service=made, update_mask=FieldMask(paths=["template", "traffic"]))
    updated = done(client.update_service(request=request))
    assert [(each.revision, each.percent) for each in updated.traffic_statuses] == [
        ("client-a", 75),
        ("client-b", 25),
    ]
    assert run.users(updated.uri, 8) == {"v1.0.0": 6, "v1.1.0": 2}
    assert client.get_service(name=updated.name).etag == updated.etag
    done(client.delete_service(name=updated.name))
    with pytest.raises(NotFound, match="of kind 'SERVICE'"):
        client.get_service(name=updated.name)


async def test_it_changes_annotations_without_a_mask_as_well(client: run_v2.ServicesClient, run: Run) -> None:
    made = done(client.create_service(parent=PARENT, service=service(run, "whole-a"), service_id="whole"))
    made.annotations["milestone2/journal"] = "{}"
    updated = done(client.update_service(service=made))
    assert dict(updated.annotations) == {"milestone2/journal": "{}"}
    assert updated.latest_created_revision == made.latest_created_revision


async def test_it_is_refused_as_by_google(client: run_v2.ServicesClient, run: Run) -> None:
    made = done(client.create_service(parent=PARENT, service=service(run, "refused-a"), service_id="refused"))
    with pytest.raises(Conflict, match="already exists"):
        client.create_service(parent=PARENT, service=service(run, "refused-a"), service_id="refused")
    made.traffic = [run_v2.TrafficTarget(percent=90, type_=KINDS.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST)]
    with pytest.raises(BadRequest, match="percents sum up to 90"):
        client.update_service(service=made)
    made.traffic = []
    done(client.update_service(service=made))
    with pytest.raises(Conflict, match="was specified but current version is"):
        client.update_service(service=made)


async def test_its_operation_fails_with_the_revision_s_reason(
    client: run_v2.ServicesClient, run: Run, fleet: Fleet
) -> None:
    fleet.known[run.digest] = Model("v1.0.0", starts=False)
    operation = client.create_service(parent=PARENT, service=service(run, "bad-a"), service_id="bad")
    with pytest.raises(GoogleAPICallError, match="'bad-a' is not ready and cannot serve traffic"):
        done(operation)
