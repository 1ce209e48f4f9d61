"""IAM policy: principals, the names that bindings know them by, and what roles allow."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fakecloud.state.fixtures import CloudSetup

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
DOWNLOAD = "artifactregistry.repositories.downloadArtifacts"
UPLOAD = "artifactregistry.repositories.uploadArtifacts"
DELETE = "artifactregistry.repositories.deleteArtifacts"
ACCESS_TOKEN = "iam.serviceAccounts.getAccessToken"
ID_TOKEN = "iam.serviceAccounts.getOpenIdToken"
ACT_AS = "iam.serviceAccounts.actAs"
INVOKE = "run.routes.invoke"
TIME_SERIES = "monitoring.timeSeries.list"
READ_OBJECT, LIST_OBJECTS = "storage.objects.get", "storage.objects.list"

_READER = frozenset(
    {
        DOWNLOAD,
        "artifactregistry.repositories.get",
        "artifactregistry.repositories.list",
        "artifactregistry.dockerimages.get",
        "artifactregistry.dockerimages.list",
        "artifactregistry.packages.get",
        "artifactregistry.packages.list",
        "artifactregistry.tags.get",
        "artifactregistry.tags.list",
        "artifactregistry.versions.get",
        "artifactregistry.versions.list",
    }
)
_WRITER = _READER | {UPLOAD, "artifactregistry.tags.create", "artifactregistry.tags.update"}
# The permissions that matter here, of Google's predefined roles.
_ROLES = {
    "roles/artifactregistry.reader": _READER,
    "roles/artifactregistry.writer": _WRITER,
    "roles/artifactregistry.repoAdmin": _WRITER | {DELETE, "artifactregistry.tags.delete"},
    "roles/iam.workloadIdentityUser": frozenset({ACCESS_TOKEN, ID_TOKEN}),
    "roles/iam.serviceAccountTokenCreator": frozenset({ACCESS_TOKEN, ID_TOKEN}),
    "roles/iam.serviceAccountOpenIdTokenCreator": frozenset({ID_TOKEN}),
    "roles/iam.serviceAccountUser": frozenset({ACT_AS}),
    "roles/run.developer": frozenset(
        {
            *(f"run.services.{verb}" for verb in ("create", "get", "list", "update", "delete")),
            *(f"run.revisions.{verb}" for verb in ("get", "list", "delete")),
            *(f"run.operations.{verb}" for verb in ("get", "list")),
        }
    ),
    "roles/run.invoker": frozenset({INVOKE}),
    "roles/monitoring.viewer": frozenset({TIME_SERIES}),
    "roles/storage.objectViewer": frozenset({READ_OBJECT, LIST_OBJECTS}),
}


@dataclass(frozen=True)
class Federated:
    """Principal of a workload identity pool; attributes by name, without `attribute.`."""

    pool: str
    subject: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def members(self) -> frozenset[str]:
        """Return every name that a binding can know this principal by. Case matters."""
        pool = f"iam.googleapis.com/{self.pool}"
        sets = {f"principalSet://{pool}/attribute.{name}/{value}" for name, value in self.attributes.items()}
        return frozenset({f"principal://{pool}/subject/{self.subject}", f"principalSet://{pool}/*", *sets})


@dataclass(frozen=True)
class ServiceAccount:
    """A service account, by its address."""

    email: str

    @property
    def members(self) -> frozenset[str]:
        """Return the name that a binding knows it by."""
        return frozenset({f"serviceAccount:{self.email}"})


Principal = Federated | ServiceAccount


def allows(setup: CloudSetup, principal: Principal, permission: str, resource: str) -> bool:
    """Return whether some binding on the resource gives the principal the permission."""
    return any(
        binding.resource == resource
        and binding.member in principal.members
        and permission in _ROLES[binding.role]
        for binding in setup.bindings
    )
