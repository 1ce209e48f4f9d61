"""Catalogue of the known errors of keyless releases: how each shows, why it comes, and what ends it.

Patterns are matched against a text that `known_errors.plain` has freed of its wrapping: any quote is ', and
white space is one blank. `tests/ci/advice/seen_errors.toml` has what people really saw.
"""

from dataclasses import dataclass

from advice import attribute_mapping

# What stands in a command whose value is not known.
NAMES = {
    "account": "SERVICE_ACCOUNT",
    "audience": "https://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/"
    "providers/PROVIDER",
    "bucket": "BUCKET",
    "condition": "CONDITION",
    "given": "AUDIENCE",
    "host": "HOST",
    "issuer": "https://token.actions.githubusercontent.com",
    "location": "LOCATION",
    "member": "principalSet://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/"
    "attribute.repository_id/REPOSITORY_ID",
    "number": "NUMBER",
    "pool": "POOL",
    "project": "PROJECT",
    "provider": "PROVIDER",
    "pusher": "serviceAccount:SERVICE_ACCOUNT",
    "repository": "REPOSITORY",
}
_PROVIDER = "{provider} --location=global --workload-identity-pool={pool} --project={number}"
MAPPING = ",".join(f"{target}={source}" for target, source in attribute_mapping.MAPPING.items())
UPDATE = f"gcloud iam workload-identity-pools providers update-oidc {_PROVIDER}"
DESCRIBE = f"gcloud iam workload-identity-pools providers describe {_PROVIDER}"
IN_REPOSITORY = "{repository} --location={location} --project={project}"
# A number alone may be anything.
STATUS = r"(?:answered|status(?: code)?|error|HTTP/[\d.]+)\W{1,3}"
RUN = (
    *("repository", "repository_id", "repository_owner_id", "ref_type", "ref", "runner_environment", "sub"),
    *("event_name", "workflow_ref", "environment"),
)


@dataclass(frozen=True)
class Signal:
    """One known error: its name, how it shows in a text, its cause and the command or line that ends it.

    `claims` are those of an identity token that tell whether it is the token that has to change. `covers`
    are more general errors that show in the same text, and are not the cause then.
    """

    name: str
    pattern: str
    cause: str
    fix: str
    claims: tuple[str, ...] = ("iss", "sub", "aud")
    covers: tuple[str, ...] = ()
