"""A Swarm's Engine API, as far as a deployment asks it, and the orchestrator behind it.

Updates take one step whenever a service is looked at. tests/host has the real one.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx

from tests.ci.deploying.targets.labs.fleet import Fleet

Object = dict[str, Any]
NODES = ("node-1", "node-2", "node-3")
_TASKS = count(1)  # of all swarms, as they share a fleet
_SERVICE = re.compile(r"/services/(?P<name>[a-z0-9-]+)(?P<update>/update)?")


class Refused(Exception):
    """Refusal of the daemon."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Swarm:
    """The services and tasks of some nodes, each of which has every port once."""

    fleet: Fleet
    services: dict[str, Object] = field(default_factory=dict)
    tasks: list[Object] = field(default_factory=list)
    index: int = 0
    state: str = "running"  # that tasks of a release that starts get to
    silent: bool = False  # no node takes a connection

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer the daemon's requests, and those to a port of a node."""
        if request.url.host in NODES:
            return await self._pass_on(request)
        try:
            content = self._respond(request)
        except Refused as refused:
            return httpx.Response(refused.code, json={"message": str(refused)})
        return httpx.Response(200, json=content)

    def _respond(self, request: httpx.Request) -> object:
        path, method = request.url.path, request.method
        if path == "/tasks":
            return self._list_tasks(json.loads(request.url.params["filters"]))
        if path.startswith("/nodes/"):
            node = path.rpartition("/")[2]
            return {"ID": node, "Status": {"State": "ready", "Addr": node}}
        if path == "/services/create":
            return self._create(json.loads(request.content))
        found = _SERVICE.fullmatch(path)
        assert found, path
        service = self._service(found["name"])
        if method == "DELETE":
            del self.services[found["name"]]
            self.tasks = [task for task in self.tasks if task["ServiceID"] != found["name"]]
            return {}
        if found["update"]:
            return self._update(service, request)
        self._orchestrate(found["name"], service)
        return deepcopy(service)

    def _service(self, name: str) -> Object:
        if name not in self.services:
            raise Refused(404, f"service {name} not found")
        return self.services[name]

    def _create(self, spec: Object) -> object:
        name = spec["Name"]
        if name in self.services:
            why = f"name conflicts with an existing object: service {name} already exists"
            raise Refused(409, f"rpc error: code = AlreadyExists desc = {why}")
        self.services[name] = {"ID": name, "Spec": spec}
        self._touch(self.services[name])
        return {"ID": name}

    def _update(self, service: Object, request: httpx.Request) -> object:
        if request.url.params["version"] != str(service["Version"]["Index"]):
            raise Refused(500, "rpc error: code = Unknown desc = update out of sequence")
        spec = json.loads(request.content)
        service["PreviousSpec"] = service["Spec"]
        if spec["TaskTemplate"] != service["Spec"]["TaskTemplate"] and _replicas(spec):
            service["UpdateStatus"] = {"State": "updating", "Message": "update in progress"}
        service["Spec"] = spec
        self._touch(service)
        return {"Warnings": None}

    def _touch(self, service: Object) -> None:
        self.index += 1
        service["Version"] = {"Index": self.index}

    def _list_tasks(self, filters: Object) -> list[Object]:
        for name in filters["service"]:
            self._service(name)
        return [
            deepcopy(task)
            for task in self.tasks
            if task["ServiceID"] in filters["service"] and task["DesiredState"] in filters["desired-state"]
        ]

    def _orchestrate(self, name: str, service: Object) -> None:
        """Take one step: replace an old task, or go back when a new one has failed."""
        spec, own = service["Spec"], [task for task in self.tasks if task["ServiceID"] == name]
        wanted = [task for task in own if task["DesiredState"] == "running"]
        old = [task for task in wanted if task["Spec"] != spec["TaskTemplate"]]
        new = [task for task in wanted if task["Spec"] == spec["TaskTemplate"]]
        ended = [task for task in own if task["Spec"] == spec["TaskTemplate"]]
        failed = any(task["Status"]["State"] == "failed" for task in ended)
        updating = service.get("UpdateStatus", {}).get("State") == "updating"
        if failed and updating:
            for task in new:
                task["DesiredState"] = "shutdown"
            service["Spec"], service["UpdateStatus"] = (
                service["PreviousSpec"],
                {"State": "rollback_completed"},
            )
            service["UpdateStatus"]["Message"] = "update rolled back due to failure or early termination"
            return self._touch(service)
        if len(new) < _replicas(spec) and not failed:
            for task in old[:1]:
                task["DesiredState"] = "shutdown"
            self.tasks += self._schedule(name, spec)
        elif len(wanted) > _replicas(spec):
            wanted[-1]["DesiredState"] = "shutdown"
        elif updating:
            service["UpdateStatus"] = {"State": "completed", "Message": "update completed"}

    def _schedule(self, name: str, spec: Object) -> list[Object]:
        """Return a new task, none while no node has its port free."""
        taken = {task["NodeID"] for task in self.tasks if _serves(task) and self._port(task) == _port(spec)}
        free = [node for node in NODES if node not in taken]
        return [self._task(name, spec["TaskTemplate"], free[0])] if free else []

    def _port(self, task: Object) -> int:
        return _port(self.services[task["ServiceID"]]["Spec"])

    def _task(self, name: str, template: Object, node: str) -> Object:
        task_name, container = f"task{next(_TASKS)}", template["ContainerSpec"]
        variables = dict(each.split("=", 1) for each in container["Env"])
        again = template["RestartPolicy"]["Condition"] != "none"
        started = self.fleet.start(task_name, container["Image"].partition("@")[2], variables)
        status = {"State": self.state} if started else {"State": "failed", "Err": "task: non-zero exit (3)"}
        return {
            **{"ID": task_name, "ServiceID": name, "NodeID": node, "Spec": deepcopy(template)},
            **{"Status": status, "DesiredState": "running" if started or again else "shutdown"},
        }

    async def _pass_on(self, request: httpx.Request) -> httpx.Response:
        for task in [] if self.silent else self.tasks:
            if _serves(task) and (task["NodeID"], self._port(task)) == (request.url.host, request.url.port):
                return await self.fleet.send(request, task["ID"], request.url.path)
        raise httpx.ConnectError("connection refused")


def _serves(task: Object) -> bool:
    return bool(task["DesiredState"] == "running" and task["Status"]["State"] == "running")


def _replicas(spec: Object) -> int:
    return int(spec["Mode"]["Replicated"]["Replicas"])


def _port(spec: Object) -> int:
    return int(spec["EndpointSpec"]["Ports"][0]["PublishedPort"])
