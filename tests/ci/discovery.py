"""Google's descriptions of its APIs, and a check of requests and responses against them."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import httpx

TYPES: dict[str, tuple[type, ...]] = {
    **{"string": (str,), "integer": (int,), "boolean": (bool,), "number": (int, float)},
    **{"array": (list,), "object": (dict,), "any": (str, int, float, bool, list, dict)},
}
VERSIONS = {"sts": "v1", "iamcredentials": "v1", "artifactregistry": "v1", "run": "v2", "monitoring": "v3"}
HOSTS = {f"{api}.googleapis.com": f"{api}.{version}" for api, version in VERSIONS.items()}


def check(base: str, request: httpx.Request, answer: httpx.Response) -> None:
    """Fail unless a request to the fake Google and its response are as Google's description says."""
    api, _, path = str(request.url).removeprefix(f"{base}/").partition("/")
    if api in VERSIONS and api not in ("sts", "iamcredentials"):
        url = f"https://{api}.googleapis.com/{path}"
        validate(httpx.Request(request.method, url, content=request.content), answer)


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
    for parameter in request.url.params:
        assert parameter in {**method["parameters"], **api["parameters"]}, (
            f"{parameter} is not of {method['id']}"
        )
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
    assert type(value) in TYPES[schema["type"]], f"{value!r} is no {schema['type']}"
    assert value in schema.get("enum", [value]), f"{value!r} is none of {schema['enum']}"
    if isinstance(value, list):
        for item in value:
            _check(api, schema["items"], item)
    elif isinstance(value, dict) and "properties" in schema:
        for name, item in value.items():
            assert name in schema["properties"], f"{schema['id']} has no {name}"
            _check(api, schema["properties"][name], item)
    elif isinstance(value, dict) and schema["additionalProperties"].get("type") != "any":
        for item in value.values():
            _check(api, schema["additionalProperties"], item)
