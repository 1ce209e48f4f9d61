"""The fake cloud's Cloud Run: refusals, traffic splits and access, as Google describes them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from fakecloud.cloud_run.serving import turn
from fakecloud.state.fixtures import usual_setup
from tests.ci.deploying.targets.labs.cloud_run_lab import KEY
from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.fakecloud.conftest import IMAGE, SERVICES, Run

pytestmark = pytest.mark.anyio

REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"


async def test_a_service_is_made_with_all_traffic_to_its_first_revision(run: Run) -> None:
    made = run.create("first", annotations={"a": "b"})["response"]
    assert made["annotations"] == {"a": "b"}
    assert made["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
    assert [(each["percent"], each["type"]) for each in made["trafficStatuses"]] == [(100, REVISION)]
    assert made["latestReadyRevision"] == made["latestCreatedRevision"]
    assert made["generation"] == made["observedGeneration"] == "1"
    assert run.users(made["uri"], 3) == {"v1.0.0": 3}


async def test_a_candidate_has_an_address_of_its_own_and_no_traffic(run: Run, fleet: Fleet) -> None:
    run.create("pair", template=run.template("pair-a"))
    traffic: list[dict[str, Any]] = [
        {"type": REVISION, "revision": "pair-a", "percent": 100},
        {"type": REVISION, "revision": "pair-b", "tag": "candidate"},
    ]
    fleet.known[run.digest] = Model("v1.1.0")
    run.done(run.patch("pair", "template,traffic", template=run.template("pair-b"), traffic=traffic))
    found = run.get("pair")
    tagged = {each["revision"]: each.get("uri") for each in found["trafficStatuses"]}
    assert tagged == {"pair-a": None, "pair-b": found["uri"].replace("/pair", "/candidate---pair")}
    assert run.users(found["uri"], 4) == {"v1.0.0": 4}
    assert run.users(str(tagged["pair-b"]), 4) == {"v1.1.0": 4}
    traffic[0]["percent"], traffic[1]["percent"] = 75, 25
    run.done(run.patch("pair", "traffic", traffic=traffic))
    assert run.users(found["uri"], 20) == {"v1.0.0": 15, "v1.1.0": 5}


@pytest.mark.parametrize(
    "parts", [{"a": 95, "b": 5}, {"a": 75, "b": 25}, {"a": 34, "b": 33, "c": 33}, {"a": 100}]
)
def test_any_hundred_requests_are_split_as_the_list_says_and_evenly(parts: dict[str, int]) -> None:
    turns: dict[str, int] = {}
    chosen = [turn(parts, turns) for _ in range(300)]
    assert Counter(chosen[100:200]) == parts
    for name, part in parts.items():
        for begin in range(0, 200, 50):
            assert abs(chosen[begin : begin + 50].count(name) - part / 2) <= 1


async def test_an_etag_that_is_old_is_refused_and_none_at_all_is_not(run: Run) -> None:
    old = run.create("etag")["response"]["etag"]
    run.done(run.patch("etag", "annotations", annotations={"a": "1"}))
    refused = run.patch("etag", "annotations", annotations={"a": "2"}, etag=old)
    assert refused.status_code == 409
    error = refused.json()["error"]
    assert error["status"] == "ABORTED"
    assert error["message"].startswith(
        f"Conflict for resource 'etag': version '{old}' was specified but current"
    )
    assert run.ask("DELETE", f"{SERVICES}/etag", etag=old).status_code == 409
    assert run.get("etag")["annotations"] == {"a": "1"}


async def test_changes_of_other_fields_make_no_revision(run: Run) -> None:
    first = run.create("same")["response"]["latestCreatedRevision"]
    changed = run.done(run.patch("same", "annotations,labels", annotations={"a": "1"}, labels={"b": "2"}))
    assert changed["response"]["latestCreatedRevision"] == first
    assert (changed["response"]["generation"], changed["response"]["labels"]) == ("2", {"b": "2"})
    unmasked = run.done(run.patch("same", template=run.template(), description="all"))
    assert "annotations" not in unmasked["response"]


async def test_a_revision_s_name_is_for_one_configuration(run: Run) -> None:
    run.create("named", template=run.template("named-a"))
    again = run.done(run.patch("named", "template", template=run.template("named-a")))
    assert again["response"]["latestCreatedRevision"].endswith("/named-a")
    other = run.patch(
        "named", "template", template=run.template("named-a", env=[{"name": "A", "value": "1"}])
    )
    assert other.status_code == 409
    assert other.json()["error"]["message"] == (
        "Revision named 'named-a' with different configuration already exists."
    )
    listed = run.ask("GET", f"{SERVICES}/named/revisions").json()["revisions"]
    assert [each["name"].rpartition("/")[2] for each in listed] == ["named-a"]


async def test_what_does_not_start_fails_and_those_who_are_served_stay_served(run: Run, fleet: Fleet) -> None:
    run.create("fails", template=run.template("fails-a"))
    fleet.known[run.digest] = Model("v1.1.0", starts=False)
    failed = run.done(run.patch("fails", "template", template=run.template("fails-b")))
    assert failed["error"]["message"].startswith(
        "Revision 'fails-b' is not ready and cannot serve traffic. The user"
    )
    revision = run.ask("GET", f"{SERVICES}/fails/revisions/fails-b").json()
    assert revision["conditions"][0]["revisionReason"] == "HEALTH_CHECK_CONTAINER_ERROR"
    found = run.get("fails")
    assert found["terminalCondition"]["state"] == "CONDITION_FAILED"
    assert found["latestReadyRevision"].endswith("fails-a")
    assert run.users(found["uri"], 2) == {"v1.0.0": 2}
    # Naming who was good is served, though the operation ends with the latest revision's failure.
    good = [{"type": REVISION, "revision": "fails-a", "percent": 100}]
    assert "error" in run.done(run.patch("fails", "traffic", traffic=good))
    assert [each["revision"] for each in run.get("fails")["trafficStatuses"]] == ["fails-a"]


async def test_what_starts_but_is_not_ready_fails_its_probe(run: Run, fleet: Fleet) -> None:
    probe = {"httpGet": {"path": "/nowhere"}, "periodSeconds": 1, "failureThreshold": 1}
    failed = run.create("unready", template=run.template(startupProbe=probe))
    assert "the configured startup probe checks" in failed["error"]["message"]


async def test_an_image_that_is_not_in_the_registry_is_missing(run: Run) -> None:
    template = run.template(image=f"{IMAGE}@sha256:{'0' * 64}")
    failed = run.create("missing", template=template)
    assert f"Image '{IMAGE}@sha256:{'0' * 64}' not found." in failed["error"]["message"]


CONTAINER = "Violation in service.template.containers"
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"template": {}}, f"{CONTAINER}: at least one"),
    ({"template": {"containers": [{}]}}, f"{CONTAINER}[0].image: image is required."),
    ({"ports": [{"containerPort": 1}, {"containerPort": 2}]}, "ports should contain 0 or 1 port."),
    ({"env": [{"name": "PORT", "value": "1"}]}, "The following reserved env names were provided: PORT."),
    ({"livenessProbe": {"timeoutSeconds": 9, "periodSeconds": 3}}, "timeout_seconds must be smaller"),
    ({"template": {"revision": "other-a", "containers": [{"image": "a"}]}}, "must be prefixed by"),
    ({"annotations": {"run.googleapis.com/x": "y"}}, "is of a reserved namespace"),
    ({"annotations": {"a": "x" * 300_000}}, "may have 262144 bytes"),
    ({"traffic": [{"type": LATEST, "percent": 90}]}, "percents sum up to 90, not to 100."),
    ({"traffic": [{"type": LATEST, "percent": 101}]}, "percent 101 is not between 0 and 100."),
    ({"traffic": [{"type": LATEST, "revision": "wrong-a", "percent": 100}]}, "by revision, and only"),
    ({"traffic": [{"type": REVISION, "percent": 100}]}, "by revision, and only then."),
    ({"traffic": [{"type": LATEST, "percent": 100, "tag": "A"}]}, "tag 'A' is invalid."),
    ({"traffic": [{"type": LATEST, "percent": 50, "tag": "a"}] * 2}, "tag 'a' is there more than once."),
    ({"trafic": []}, 'has no field named "trafic"'),
    ({"traffic": [{"type": "SOME", "percent": 100}]}, "Invalid enum value SOME"),
    ({"traffic": {}}, "Invalid JSON payload received."),
]


async def test_a_service_that_cannot_be_is_refused(run: Run) -> None:
    headers = {"Authorization": f"Bearer {run.impersonate()}"}
    for fields, message in WRONG:
        own = {name: fields.pop(name) for name in ("ports", "env", "livenessProbe") if name in fields}
        body = {"template": run.template(**own), **fields}
        refused = run.http.post(f"/run/{SERVICES}?serviceId=wrong", json=body, headers=headers)
        error = refused.json()["error"]
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
        assert message in error["message"]
        if "Violation" in error["message"]:
            violation = error["details"][0]["fieldViolations"][0]
            assert error["message"] == f"{violation['field']}: {violation['description']}"


async def test_what_there_is_not_is_not_found_and_what_there_is_is_not_made_again(run: Run) -> None:
    run.create("there")
    where = "in region 'us-central1' in project 'rehearsal-project' does not exist."
    assert (
        run.ask("GET", f"{SERVICES}/gone").json()["error"]["message"]
        == f"Resource 'gone' of kind 'SERVICE' {where}"
    )
    missing = run.ask("GET", f"{SERVICES}/there/revisions/there-x")
    assert missing.json()["error"]["message"] == f"Resource 'there-x' of kind 'REVISION' {where}"
    operation = run.ask("GET", f"{SERVICES.rpartition('/')[0]}/operations/x")
    assert operation.json()["error"]["message"] == f"Resource 'x' of kind 'OPERATION' {where}"
    again = run.ask("POST", SERVICES, {"template": run.template()}, serviceId="there")
    assert again.json()["error"]["status"] == "ALREADY_EXISTS"
    listed = [{"type": REVISION, "revision": "there-x", "percent": 100}]
    assert "'there-x' does not exist or is deleted." in run.patch("there", "traffic", traffic=listed).text
    assert run.patch("there", "trafic", traffic=listed).status_code == 400
    bad = run.ask("POST", SERVICES, {"template": run.template()}, serviceId="No")
    assert "Violation in service_id" in bad.text


async def test_a_service_is_deleted_with_its_addresses(run: Run) -> None:
    uri = run.create("short")["response"]["uri"]
    run.done(run.ask("DELETE", f"{SERVICES}/short"))
    assert run.users(uri) == {"404": 1}
    assert run.ask("GET", f"{SERVICES}/short").status_code == 404


async def test_a_wait_for_an_operation_lasts_as_long_as_requested(run: Run) -> None:
    operation = run.ask("POST", SERVICES, {"template": run.template()}, serviceId="slow").json()
    assert "done" not in operation
    assert run.ask("GET", f"v2/{operation['name']}").json()["name"] == operation["name"]
    assert run.ask("POST", f"v2/{operation['name']}:wait", {"timeout": "soon"}).status_code == 400
    assert run.done(run.ask("POST", f"v2/{operation['name']}:wait", {}))["done"] is True


async def test_a_private_service_lets_in_who_has_an_id_token_for_it_and_may(run: Run) -> None:
    uri = run.create("private")["response"]["uri"]
    federated, account = run.federate(), run.setup.service_account

    def ask(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return run.http.get(f"{uri}/readyz", headers=headers).status_code

    def mint(audience: str, **also: bool) -> str:
        return str(run.act("generateIdToken", federated, account, audience=audience, **also).json()["token"])

    assert ask(mint(uri, includeEmail=True)) == 200
    assert ask("") == 403
    assert ask(run.impersonate()) == 401
    assert ask(mint(f"{uri}x", includeEmail=True)) == 401
    assert ask(mint(uri)) == 403  # whose it is, is not in it
    assert ask(mint(uri, includeEmail=True)[:-4] + "AAAA") == 401


async def test_a_public_service_lets_in_everybody_and_what_it_has_not_is_not_found(run: Run) -> None:
    uri = run.create("public", invokerIamDisabled=True)["response"]["uri"]
    assert run.http.get(f"{uri}/readyz").text == "ready"
    assert run.http.get(f"{uri}/nowhere").status_code == 404
    assert run.http.get(uri.replace("/public", "/none---public") + "/readyz").status_code == 404


async def test_an_instance_that_is_gone_is_an_error_that_counts(run: Run, fleet: Fleet) -> None:
    made = run.create("gone", invokerIamDisabled=True, template=run.template("gone-a"))["response"]
    control = {"Authorization": f"Bearer {KEY}"}
    elsewhere = {"instance": "http://127.0.0.1:9"}
    assert run.http.post("/control/revisions/gone-a", json=elsewhere, headers=control).status_code == 204
    assert run.http.get(f"{made['uri']}/readyz").status_code == 503
    assert run.http.get("/control/requests", headers=control).json()["gone-a"]["503"] == 1


@pytest.mark.parametrize(
    ("role", "permission"),
    [
        ("run.developer", "run.services.create"),
        ("iam.serviceAccountUser", "iam.serviceaccounts.actAs"),
        ("monitoring.viewer", "monitoring.timeSeries.list"),
    ],
)
def test_who_lacks_a_role_may_not(role: str, permission: str, start_google: Callable[..., str]) -> None:
    setup = usual_setup("the-request-token")
    kept = tuple(each for each in setup.bindings if each.role != f"roles/{role}")
    with Run(start_google(replace(setup, bindings=kept)), setup) as job:
        made = job.ask("POST", SERVICES, {"template": {"containers": [{"image": "a"}]}}, serviceId="service")
        counted = job.call("GET", "monitoring", "v3/projects/rehearsal-project/timeSeries", job.token)
    refused = counted if role == "monitoring.viewer" else made
    assert refused.status_code == 403
    assert permission in refused.json()["error"]["message"]


def test_the_door_for_starting_revisions_is_shut_without_its_key(start_google: Callable[..., str]) -> None:
    setup = usual_setup("the-request-token")
    for given, shown in ((setup, {}), (replace(setup, control_key=KEY), {"Authorization": "Bearer another"})):
        with httpx.Client(base_url=f"{start_google(given)}/control", headers=shown, timeout=60) as http:
            for path in ("/pending", "/requests"):
                assert http.get(path).status_code == 401
            assert http.post("/revisions/a").status_code == 401


async def test_the_door_says_when_nothing_is_to_be_started_and_what_it_does_not_know(run: Run) -> None:
    control = {"Authorization": f"Bearer {KEY}"}
    assert run.http.get("/control/pending", params={"seconds": "0"}, headers=control).status_code == 204
    assert run.http.post("/control/revisions/none", json={}, headers=control).status_code == 404


async def test_monitoring_counts_by_revision_and_class_and_knows_no_other_question(run: Run) -> None:
    uri = run.create("counted", template=run.template("counted-a"))["response"]["uri"]
    run.users(uri, 6)
    parameters = {
        "filter": 'metric.type="run.googleapis.com/request_count" AND resource.labels.service_name="counted" '
        'AND resource.labels.location="us-central1"',
        "interval.startTime": "2020-01-01T00:00:00Z",
        "interval.endTime": "2100-01-01T00:00:00Z",
        "aggregation.alignmentPeriod": "60s",
        "aggregation.perSeriesAligner": "ALIGN_DELTA",
        "aggregation.crossSeriesReducer": "REDUCE_SUM",
    }

    def series(**changes: str) -> httpx.Response:
        query = httpx.QueryParams(parameters | changes)
        return run.call(
            "GET", "monitoring", f"v3/projects/rehearsal-project/timeSeries?{query}", run.impersonate()
        )

    found = series().json()["timeSeries"]
    assert [(each["resource"]["labels"]["revision_name"], each["points"][0]["value"]) for each in found] == [
        ("counted-a", {"int64Value": "6"})
    ]
    latencies = series(filter=parameters["filter"].replace("count", "latencies", 1)).json()["timeSeries"][0]
    distribution = latencies["points"][0]["value"]["distributionValue"]
    assert sum(map(int, distribution["bucketCounts"])) == int(distribution["count"]) == 6
    assert series(**{"interval.endTime": "2020-01-01T00:00:01Z"}).json() == {}
    assert series(**{"aggregation.perSeriesAligner": "ALIGN_RATE"}).status_code == 400
    assert series(filter="").status_code == 400
    assert series(**{"interval.endTime": "now"}).status_code == 400


def test_a_request_that_google_does_not_describe_fails_these_tests() -> None:
    from tests.ci import discovery

    url = f"https://run.googleapis.com/{SERVICES}/a"
    for method, query, body in (
        ("PATCH", "?updateMusk=a", b"{}"),
        ("PATCH", "", b'{"trafic":[]}'),
        ("PATCH", "", json.dumps({"traffic": [{"type": "SOME"}]}).encode()),
        ("PUT", "", b"{}"),
    ):
        with pytest.raises(AssertionError):
            discovery.validate(httpx.Request(method, f"{url}{query}", content=body))
