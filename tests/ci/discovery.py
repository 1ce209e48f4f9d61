"""Google's own descriptions of its APIs, and whether a request or an answer is as they say."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import httpx

TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
HOSTS = {f"{api}.googleapis.com": f"{api}.v1" for api in ("sts", "iamcredentials", "artifactregistry")}


@cache
def document(name: str) -> dict[str, Any]:
    """Return a description, such as iamcredentials.v1."""
    folder = files("googleapiclient.discovery_cache.documents")
    described: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return described


def validate(request: httpx.Request, answer: httpx.Response | None = None) -> str:
    """Return the id of the method that a request to a Google API calls; fail unless it calls one rightly.

    An answer is checked, too, when it is a success.
    """
    api = document(HOSTS[request.url.host])
    method = _method(api, request)
    if "request" in method:
        _check(api, method["request"], json.loads(request.content))
    else:
        assert not request.content
    if answer is not None and answer.is_success:
        _check(api, method["response"], answer.json())
    name: str = method["id"]
    return name


def _method(api: dict[str, Any], request: httpx.Request) -> dict[str, Any]:
    path = request.url.path.removeprefix("/")
    for method in _methods(api):
        pattern = re.sub(r"\\\{[^}]+\\\}", "[^/:]+", re.escape(method["flatPath"]))
        if method["httpMethod"] == request.method and re.fullmatch(pattern, path):
            return method
    raise AssertionError(f"{api['name']} has no {request.method} {path}")


def _methods(resource: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [method for each in resource.get("resources", {}).values() for method in _methods(each)]
    return [*resource.get("methods", {}).values(), *inner]


def _check(api: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    if "$ref" in schema:
        schema = api["schemas"][schema["$ref"]]
    kind = TYPES[schema["type"]]
    assert type(value) is kind, f"{value!r} is no {schema['type']}"
    if isinstance(value, list):
        for item in value:
            _check(api, schema["items"], item)
    elif isinstance(value, dict) and "properties" in schema:
        for name, item in value.items():
            assert name in schema["properties"], f"{schema['id']} has no {name}"
            _check(api, schema["properties"][name], item)
