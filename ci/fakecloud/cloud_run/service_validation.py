"""Validation of services, in the words of the real Cloud Run.

Reserved names, revision names, conflicts and ports are in the words of the real service, as reports of it
show them; how it words a wrong traffic list or a wrong annotation was never seen, so those are in the form of
the others.
"""

import json
import re
from collections import Counter
from typing import Any

from google.cloud import run_v2
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict, ParseError

from fakecloud.cloud_run.resources import KINDS
from fakecloud.state.refusals import ApiRefusal, violation

# What the API gives and does not take.
MUTABLE = frozenset(
    (
        *("annotations", "labels", "description", "template", "traffic", "ingress", "scaling", "client"),
        *("client_version", "launch_stage", "custom_audiences", "invoker_iam_disabled"),
    )
)
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_TAG = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_RESERVED_ANNOTATION = re.compile(
    r"([\w.-]+\.)?(run\.googleapis\.com|cloud\.googleapis\.com|serving\.knative\.dev|autoscaling\.knative\.dev)/"
)
_RESERVED_VARIABLES = ("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION")
_ANNOTATIONS = 256 * 1024


def parse_service(body: bytes) -> Any:
    """Return the service of a request's JSON; a name, type or enum that there is not is refused."""
    try:
        return ParseDict(json.loads(body or b"{}"), run_v2.Service.pb(run_v2.Service()))
    except (ParseError, ValueError) as error:
        raise ApiRefusal("INVALID_ARGUMENT", f"Invalid JSON payload received. {error}") from error


def parse_mask(text: str) -> list[str]:
    """Return the fields that a mask names, all that can be changed when it names none."""
    mask = FieldMask()
    mask.FromJsonString(text)
    if not mask.IsValidForDescriptor(run_v2.Service.pb(run_v2.Service()).DESCRIPTOR):
        raise violation("update_mask", f"Invalid field mask: {text}")
    return [path for path in mask.paths if path.partition(".")[0] in MUTABLE] or sorted(MUTABLE)


def check(service: Any, name: str) -> None:
    """Refuse a service that cannot be; its name is what its revisions begin with."""
    if not _NAME.fullmatch(name) or len(name) > 49:
        raise violation("service_id", f"Invalid value '{name}'.")
    _check_annotations(service.annotations)
    _check_template(service.template, name)
    _check_traffic(service.traffic)


def _check_annotations(annotations: Any) -> None:
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS:
        raise violation("service.annotations", f"annotations may have {_ANNOTATIONS} bytes at most")
    for key in annotations:
        if _RESERVED_ANNOTATION.match(key):
            raise violation("service.annotations", f"annotation {key!r} is of a reserved namespace")


def _check_template(template: Any, name: str) -> None:
    where = "service.template.containers"
    if not template.containers:
        raise violation(where, "at least one container is required.")
    revision = template.revision
    if revision and not (revision.startswith(f"{name}-") and _NAME.fullmatch(revision)):
        raise violation(
            "service.template.revision",
            f"Revision name '{revision}' must be prefixed by the name of the enclosing Service or "
            "Configuration with a trailing -",
        )
    for number, container in enumerate(template.containers):
        _check_container(container, f"{where}[{number}]")


def _check_container(container: Any, where: str) -> None:
    if not container.image:
        raise violation(f"{where}.image", "image is required.")
    if len(container.ports) > 1:
        raise violation(f"{where}.ports", "ports should contain 0 or 1 port.")
    reserved = [variable.name for variable in container.env if variable.name in _RESERVED_VARIABLES]
    if reserved:
        names = ", ".join(reserved)
        problem = f"The following reserved env names were provided: {names}. "
        raise violation(f"{where}.env", f"{problem}These values are automatically set by the system.")
    for kind in ("startup_probe", "liveness_probe"):
        probe = getattr(container, kind)
        if probe.timeout_seconds > (probe.period_seconds or 10):
            raise violation(f"{where}.{kind}", "timeout_seconds must be smaller than period_seconds.")


def _check_traffic(traffic: Any) -> None:
    where = "service.traffic"
    for target in traffic:
        by_name = target.type_ == KINDS.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
        if by_name != bool(target.revision):
            raise violation(where, "revision is set for an allocation by revision, and only then.")
        if not 0 <= target.percent <= 100:
            raise violation(where, f"percent {target.percent} is not between 0 and 100.")
        if target.tag and not _TAG.fullmatch(target.tag):
            raise violation(where, f"tag {target.tag!r} is invalid.")
    if traffic and (whole := sum(target.percent for target in traffic)) != 100:
        raise violation(where, f"percents sum up to {whole}, not to 100.")
    twice = [tag for tag, times in Counter(each.tag for each in traffic if each.tag).items() if times > 1]
    if twice:
        raise violation(where, f"tag {twice[0]!r} is there more than once.")
