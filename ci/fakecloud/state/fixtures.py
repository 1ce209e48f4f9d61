"""Fixtures of a rehearsal: one provider, one job, accounts, bindings and repositories."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from advice.attribute_mapping import MAPPING
from conditions.attribute_condition import Condition

GITHUB = "https://token.actions.githubusercontent.com"
HOST_SUFFIX = "-docker.pkg.dev"
BUCKET = "rehearsal-data"  # of tables
_MAPPED = re.compile(r"google\.(subject|groups)|attribute\.[a-z0-9_]{1,100}")


@dataclass(frozen=True)
class Provider:
    """A workload identity provider: whose tokens it takes, and what it makes of their claims."""

    number: str
    pool: str
    name: str
    condition: str
    mapping: Mapping[str, str]
    issuer: str = GITHUB
    audiences: tuple[str, ...] = ()
    enabled: bool = True

    def __post_init__(self) -> None:
        """Refuse what Google would not let anybody set up."""
        unknown = [target for target in self.mapping if not _MAPPED.fullmatch(target)]
        if unknown or "google.subject" not in self.mapping:
            raise ValueError(f"attribute mapping: need google.subject, and cannot map to {unknown}")

    @property
    def pool_resource(self) -> str:
        """Return projects/NUMBER/locations/global/workloadIdentityPools/POOL."""
        return f"projects/{self.number}/locations/global/workloadIdentityPools/{self.pool}"

    @property
    def resource(self) -> str:
        """Return what --workload-identity-provider takes."""
        return f"{self.pool_resource}/providers/{self.name}"

    @property
    def accepted_audiences(self) -> tuple[str, ...]:
        """Return what a token's aud may be: those set, or else the provider's own name."""
        name = f"iam.googleapis.com/{self.resource}"
        return self.audiences or (f"https://{name}", f"//{name}")


@dataclass(frozen=True)
class Job:
    """GitHub job that requests an identity token. Owner and repository have numbers, as GitHub's have."""

    owner: str = "rehearsal"
    owner_id: str = "1001"
    repository: str = "milestone2"
    repository_id: str = "2002"
    ref: str = "refs/tags/v1.0.0"
    ref_type: str = "tag"
    runner_environment: str = "github-hosted"
    workflow: str = ".github/workflows/milestone2-ci.yml"
    event: str = "push"
    environment: str = ""
    visibility: str = "private"
    commit: str = "0" * 40

    @property
    def subject(self) -> str:
        """Return the subject as GitHub writes it by default since 2026-07-15, with the numbers."""
        return f"repo:{self.owner}@{self.owner_id}/{self.repository}@{self.repository_id}:ref:{self.ref}"

    @property
    def claims(self) -> dict[str, str]:
        """Return what GitHub says of the job."""
        full = f"{self.owner}/{self.repository}"
        return {
            "sub": self.subject,
            "repository": full,
            "repository_id": self.repository_id,
            "repository_owner": self.owner,
            "repository_owner_id": self.owner_id,
            "repository_visibility": self.visibility,
            "ref": self.ref,
            "ref_type": self.ref_type,
            "ref_protected": "false",
            "base_ref": "",
            "head_ref": "",
            "event_name": self.event,
            **({"environment": self.environment} if self.environment else {}),
            "actor": self.owner,
            "actor_id": self.owner_id,
            "run_id": "1",
            "run_number": "1",
            "run_attempt": "1",
            "runner_environment": self.runner_environment,
            "workflow": "CI",
            "workflow_ref": f"{full}/{self.workflow}@{self.ref}",
            "job_workflow_ref": f"{full}/{self.workflow}@{self.ref}",
            "job_workflow_sha": self.commit,
            "workflow_sha": self.commit,
            "sha": self.commit,
        }


@dataclass(frozen=True)
class ImageRepository:
    """A Docker repository of Artifact Registry."""

    project: str
    location: str
    name: str
    immutable_tags: bool = True

    @property
    def resource(self) -> str:
        """Return projects/PROJECT/locations/LOCATION/repositories/NAME."""
        return f"projects/{self.project}/locations/{self.location}/repositories/{self.name}"

    @property
    def host(self) -> str:
        """Return the registry host that serves it."""
        return f"{self.location}{HOST_SUFFIX}"

    @property
    def uri(self) -> str:
        """Return what --registry takes."""
        return f"{self.host}/{self.project}/{self.name}"


@dataclass(frozen=True)
class Binding:
    """A role that a member has on a resource: a repository's resource, or a service account's address."""

    resource: str
    role: str
    member: str


@dataclass(frozen=True)
class CloudSetup:
    """State of the fake cloud before the first request; the issuer signs the job's identity tokens."""

    provider: Provider
    repository: ImageRepository
    service_account: str
    bindings: tuple[Binding, ...]
    request_token: str = field(repr=False)
    job: Job = Job()
    issuer: str = GITHUB
    default_account: str = "123456789012-compute@developer.gserviceaccount.com"
    objects: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # of Cloud Storage: BUCKET/NAME
    control_key: str = field(default="", repr=False)  # of the rehearsal's control endpoint; closed when empty
    deployers: Mapping[str, str] = field(default_factory=dict)  # accounts by GitHub's environment
    tokens_per_key: int = 3  # that an issuer signs before its next key

    @property
    def accounts(self) -> frozenset[str]:
        """Return the addresses of all service accounts whose tokens a binding gives to a member."""
        return frozenset({self.service_account, *self.deployers.values()})


def usual_setup(request_token: str, job: Job | None = None, control_key: str = "") -> CloudSetup:
    """Return a setup as `setup-google` makes it, for a job and its request token."""
    job = job or Job()
    provider = Provider(
        number="123456789012",
        pool="github",
        name="milestone2",
        condition=str(Condition.of(job.repository_id, job.owner_id)),
        mapping=MAPPING,
    )
    repository = ImageRepository("rehearsal-project", "us-central1", "models")
    account = "publisher@rehearsal-project.iam.gserviceaccount.com"
    members = f"principalSet://iam.googleapis.com/{provider.pool_resource}"
    ours = f"{members}/attribute.repository_id/{job.repository_id}"
    bindings = (
        Binding(account, "roles/iam.workloadIdentityUser", ours),
        Binding(repository.resource, "roles/artifactregistry.writer", ours),
        Binding(repository.resource, "roles/artifactregistry.writer", f"serviceAccount:{account}"),
        Binding(bucket_resource(BUCKET), "roles/storage.objectViewer", f"serviceAccount:{account}"),
        *_deployer_bindings(repository.project, f"serviceAccount:{account}"),
    )
    return CloudSetup(provider, repository, account, bindings, request_token, job, control_key=control_key)


def with_deployers(setup: CloudSetup) -> CloudSetup:
    """Return a setup in which deploying is the right of other accounts, as `setup-google` separates them.

    Each is for the repository's jobs in one environment of GitHub's. Unlike there, an account may make its
    service, which a rehearsal begins without.
    """
    project, repository = setup.repository.project, setup.repository.resource
    given_up = _deployer_bindings(project, f"serviceAccount:{setup.service_account}")
    kept = [each for each in setup.bindings if each not in given_up]
    members = f"principalSet://iam.googleapis.com/{setup.provider.pool_resource}/attribute.environment"
    deployers = {
        name: f"{name}-deployer@{project}.iam.gserviceaccount.com" for name in ("staging", "production")
    }
    for name, account in deployers.items():
        member = f"serviceAccount:{account}"
        runs = f"{members}/{setup.job.repository_id}:{name}"
        kept += [
            Binding(account, "roles/iam.workloadIdentityUser", runs),
            Binding(repository, "roles/artifactregistry.reader", member),
            *_deployer_bindings(project, member),
        ]
    return replace(setup, bindings=tuple(kept), deployers=deployers)


def bucket_resource(bucket: str) -> str:
    """Return what IAM calls a bucket of Cloud Storage."""
    return f"projects/_/buckets/{bucket}"


def _deployer_bindings(project: str, member: str) -> tuple[Binding, ...]:
    """Return the bindings of who deploys to Cloud Run and judges what runs there."""
    roles = ("roles/run.developer", "roles/run.invoker", "roles/monitoring.viewer")
    account = "roles/iam.serviceAccountUser"
    return (
        *(Binding(f"projects/{project}", role, member) for role in roles),
        Binding(CloudSetup.default_account, account, member),
    )
