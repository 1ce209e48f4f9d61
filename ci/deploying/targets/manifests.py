"""Kubernetes' objects for a release, made from the manifests in deploy/kubernetes."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import yaml

from deploying.rollout.journal import FINGERPRINT, RELEASE
from deploying.rollout.target import fingerprint
from errors import InvalidEnvironment
from oci.reference import Release

NAME = "app.kubernetes.io/name"  # of the pods that a Service sends requests to
INSTANCE = (
    "app.kubernetes.io/instance"  # of a candidate's pods, whether they have a share of the traffic or not
)
KINDS = ("Deployment", "Service", "PodDisruptionBudget")

Object = dict[str, Any]


@dataclass(frozen=True)
class Manifests:
    """The objects as they stand in the file, by kind."""

    objects: Mapping[str, Object]

    @classmethod
    def of(cls, text: str) -> "Manifests":
        """Return a file's objects; raises InvalidEnvironment unless there is one of each kind."""
        try:
            objects = {each["kind"]: each for each in yaml.safe_load_all(text)}
            containers = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
        except (yaml.YAMLError, LookupError, TypeError) as error:
            raise InvalidEnvironment(f"deploy/kubernetes: no Deployment can be read: {error!r}") from error
        if set(objects) != set(KINDS) or len(containers) != 1:
            raise InvalidEnvironment(
                f"deploy/kubernetes: has {', '.join(objects)} with {len(containers)} containers; keep one "
                f"each of {', '.join(KINDS)}, with one container"
            )
        return cls(objects)

    def make(self, kind: str, name: str, label: str = NAME) -> Object:
        """Return an object of a kind with another name, by which a label of its pods says whose they are."""
        made = deepcopy(self.objects[kind])
        made["metadata"] |= {"name": name, "labels": {**made["metadata"].get("labels", {}), label: name}}
        selector = {label: name}
        made["spec"]["selector"] = selector if kind == "Service" else {"matchLabels": selector}
        return made

    def deployment(self, name: str, release: Release, replicas: int) -> Object:
        """Return a release's Deployment."""
        made = self.make("Deployment", name)
        marks = {FINGERPRINT: self.fingerprint(release, replicas)}
        return _set_release(made, release, replicas, {NAME: name}, marks)

    def candidate(self, name: str, release: Release, replicas: int, service: str) -> Object:
        """Return a candidate's Deployment, whose pods the service of a name sends requests to.

        Its pods then match the selector of the Deployment of that name, too. The controllers keep them apart
        by their owner: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/
        """
        made = self.make("Deployment", name, INSTANCE)
        return _set_release(made, release, replicas, {NAME: service, INSTANCE: name}, {})

    def fingerprint(self, release: Release, replicas: int) -> str:
        """Return what stands for the image, the manifests and the number of replicas."""
        return fingerprint(release.digest, self.objects, replicas)


def _set_release(
    made: Object, release: Release, replicas: int, labels: Mapping[str, str], marks: Mapping[str, str]
) -> Object:
    """Return a Deployment that runs a release, with labels and annotations of its pods."""
    made["spec"]["replicas"] = replicas
    template = made["spec"]["template"]
    template["metadata"] = {
        "labels": {**template["metadata"].get("labels", {}), **labels},
        "annotations": {RELEASE: str(release), **marks},
    }
    for spread in template["spec"].get("topologySpreadConstraints", []):
        spread["labelSelector"] = {"matchLabels": {NAME: labels[NAME]}}
    container = template["spec"]["containers"][0]
    container["image"] = f"{release.image.host}/{release.image.repository}@{release.digest}"
    kept = [each for each in container.get("env", []) if each["name"] != "IMAGE_DIGEST"]
    container["env"] = [*kept, {"name": "IMAGE_DIGEST", "value": release.digest}]
    return made
