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

NAME = "app.kubernetes.io/name"
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

    def called(self, kind: str, name: str) -> Object:
        """Return an object of a kind with another name, by which its pods are known, too."""
        made = deepcopy(self.objects[kind])
        made["metadata"] |= {"name": name, "labels": {**made["metadata"].get("labels", {}), NAME: name}}
        spec = made["spec"]
        if kind == "Service":
            spec["selector"] = {NAME: name}
        else:
            spec["selector"] = {"matchLabels": {NAME: name}}
        return made

    def deployment(self, name: str, release: Release, replicas: int) -> Object:
        """Return a release's Deployment."""
        made = self.called("Deployment", name)
        made["spec"]["replicas"] = replicas
        template = made["spec"]["template"]
        template["metadata"] = {
            "labels": {**template["metadata"].get("labels", {}), NAME: name},
            "annotations": {RELEASE: str(release), FINGERPRINT: self.fingerprint(release, replicas)},
        }
        for spread in template["spec"].get("topologySpreadConstraints", []):
            spread["labelSelector"] = {"matchLabels": {NAME: name}}
        container = template["spec"]["containers"][0]
        container["image"] = f"{release.image.host}/{release.image.repository}@{release.digest}"
        kept = [each for each in container.get("env", []) if each["name"] != "IMAGE_DIGEST"]
        container["env"] = [*kept, {"name": "IMAGE_DIGEST", "value": release.digest}]
        return made

    def fingerprint(self, release: Release, replicas: int) -> str:
        """Return what stands for the image, the manifests and the number of replicas."""
        return fingerprint(release.digest, self.objects, replicas)
