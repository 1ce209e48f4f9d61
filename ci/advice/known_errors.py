"""Known errors of keyless releases: how each shows, why it comes, and what ends it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from advice import attribute_condition
from errors import Unexplained

# What stands in a command whose value is not known.
_NAMES = {
    "account": "SERVICE_ACCOUNT",
    "audience": "https://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/"
    "providers/PROVIDER",
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
MAPPING = ",".join(f"{target}={source}" for target, source in attribute_condition.MAPPING.items())
_UPDATE = f"gcloud iam workload-identity-pools providers update-oidc {_PROVIDER}"
_DESCRIBE = f"gcloud iam workload-identity-pools providers describe {_PROVIDER}"
_REPOSITORY = "{repository} --location={location} --project={project}"
# A number alone may be anything.
_STATUS = r"(?:answered|status(?: code)?|error|HTTP/[\d.]+)\W{1,3}"
_RUN = ("repository", "repository_id", "repository_owner_id", "ref_type", "ref", "runner_environment", "sub")


@dataclass(frozen=True)
class Signal:
    """One known error: its name, how it shows in a text, its cause and the command or line that ends it.

    `claims` are those of an identity token that tell whether it is the token that has to change.
    """

    name: str
    pattern: str
    cause: str
    fix: str
    claims: tuple[str, ...] = ("iss", "sub", "aud")

    def shows(self, text: str) -> bool:
        """Whether a text has the error in it."""
        return re.search(self.pattern, text, re.IGNORECASE | re.DOTALL) is not None


# The more special comes first: of several that show, an error message has the first.
SIGNALS = (
    Signal(
        "no identity",
        r"(?:unset|not set|not found|did not inject|missing|unable to get|no identity)"
        r".{0,80}ACTIONS_ID_TOKEN_REQUEST_"
        r"|ACTIONS_ID_TOKEN_REQUEST_\w+.{0,40}(?:unset|not set|not found|empty)"
        r"|secret env var not found: \W*ACT|--oidc-\w+\W+no such environment variable",
        "GitHub gives a job an identity only when it has `id-token: write`, and forks and Dependabot none",
        "write in the job: permissions: id-token: write; start releases from the repository itself",
    ),
    Signal(
        "identity refused",
        r"identity: .{1,300} 40[13]\b",
        "the CI system did not take the request token: it lives as long as its job, and belongs to one URL",
        "pass --oidc-url and --oidc-token of the running job, and start the job again",
    ),
    Signal(
        "provider name",
        r"Invalid value for \W*audience\W|is no workload identity provider",
        "the provider's name is a pool's, or has the project's id in place of its number",
        "gcloud iam workload-identity-pools providers list --location=global --workload-identity-pool={pool} "
        "--project={project} --format='value(name)'",
    ),
    Signal(
        "provider unknown",
        r"invalid_target|target service indicated by the \W*audience",
        "pool or provider is misspelt, disabled, deleted, or younger than 5 minutes",
        f"{_DESCRIBE} # state has to be ACTIVE, disabled absent",
    ),
    Signal(
        "subject",
        r"(?:attribute|value for) google\.subject\b",
        "the provider maps the token's claims to no subject, or to one of more than 127 bytes",
        f'{_UPDATE} --attribute-mapping="{MAPPING}"',
        ("sub", "repository_id", "run_id"),
    ),
    Signal(
        "not a release",
        r"assertion\.ref(?:_type)?\b\S* fails on",
        "the condition wants the ref of a version tag, and the job runs for another",
        "git tag v1.0.0 && git push origin v1.0.0",
        _RUN,
    ),
    Signal(
        "not a machine of GitHub's",
        r"assertion\.runner_environment\S* fails on",
        "the condition wants a machine that GitHub owns, and the job runs on another",
        "write in the job: runs-on: ubuntu-24.04",
        _RUN,
    ),
    Signal(
        "condition",
        r"unauthorized_client|rejected by the attribute condition",
        "the provider's attribute condition is false for this token; since July 2026 GitHub's subject holds "
        "numeric ids, which conditions on `sub` have to know",
        f'{_UPDATE} --attribute-condition="{{condition}}"',
        _RUN,
    ),
    Signal(
        "issuer out of reach",
        r"Error connecting to the given credential.?s issuer",
        "the issuer is not public, so that Google cannot fetch its keys",
        f"{_UPDATE} --jwk-json-path=jwks.json",
        ("iss",),
    ),
    Signal(
        "issuer",
        r"\bissuer in (?:ID Token|JWT)"
        r"|invalid_grant.{0,200}\bissuer\b.{0,200}(?:does not match|mismatch|invalid)",
        "the token's `iss` is not the provider's issuer, which is compared as text, slash at the end and all",
        f"{_UPDATE} --issuer-uri={{issuer}}",
        ("iss",),
    ),
    Signal(
        "audience",
        r"\baudience in (?:ID Token|JWT)|invalid_grant.{0,200}\baudience\b",
        "the token's `aud` is not what the provider expects",
        "ask for a token with the audience {audience}, or allow its audience: "
        f"{_UPDATE} --allowed-audiences={{given}}",
        ("aud",),
    ),
    Signal(
        "token too old or early",
        r"stale to sign-in|\bID Token expired"
        r"|invalid_grant.{0,200}(?:expired|\bexp\b|\bnbf\b|\biat\b|issued at|not yet valid|future)",
        "the identity token ran out before it was used (GitHub's lives 5 minutes), or two clocks differ",
        "date -u; curl -sI https://{host} | grep -i '^date' # then set the clock of the one that is wrong",
        ("iat", "nbf", "exp"),
    ),
    Signal(
        "signature",
        r"invalid_grant.{0,200}(?:signature|parse the ID Token|\bkid\b|JWKS?\b|signing key)",
        "the token is not signed by a key that the issuer publishes, or the JWKS uploaded to Google is old",
        f"{_DESCRIBE} # then --issuer-uri of the real issuer, or --jwk-json-path with its present keys",
        ("iss",),
    ),
    Signal(
        "access token",
        r"invalid authentication credentials|ACCESS_TOKEN_(?:EXPIRED|INVALID)|invalid_token",
        "the access token has run out, or the service takes none that was not impersonated",
        "give --service-account, which publish then works as; `dagger call setup-google` prints its bindings",
    ),
    Signal(
        "API disabled",
        r"SERVICE_DISABLED|API has not been used in project",
        "the project has not enabled an API that releases use",
        "gcloud services enable iam.googleapis.com iamcredentials.googleapis.com sts.googleapis.com "
        "artifactregistry.googleapis.com --project={project}",
    ),
    Signal(
        "service account not ours to use",
        r"iam\.serviceAccounts\.get(?:AccessToken|OpenIdToken)"
        r"|generate(?:AccessToken|IdToken)\b.{0,120}answered 403",
        "the service account's principalSet binding is missing, or names an attribute that is not mapped",
        "gcloud iam service-accounts add-iam-policy-binding {account} --role=roles/iam.workloadIdentityUser "
        '--member="{member}"',
        _RUN,
    ),
    Signal(
        "service account unknown",
        r"generate(?:AccessToken|IdToken)\b.{0,80}\b404\b|Gaia id not found",
        "there is no service account of that address",
        "gcloud iam service-accounts list --project={project} --format='value(email)'",
    ),
    Signal(
        "no password",
        r"Unauthenticated request",
        "the registry was sent no access token: an empty password counts as nobody",
        "dagger call doctor --tag=… --registry=… --workload-identity-provider=… # says which step fails",
    ),
    Signal(
        "no right to push",
        r"artifactregistry\.repositories\.(?:upload|download)Artifacts",
        "the writer role is missing on that repository, or region or repository are others",
        f"gcloud artifacts repositories add-iam-policy-binding {_REPOSITORY} "
        '--role=roles/artifactregistry.writer --member="{pusher}"',
        _RUN,
    ),
    Signal(
        "no such repository",
        r"NAME_UNKNOWN|Repository \S+ not found",
        "there is no such repository in that project and region",
        f"gcloud artifacts repositories create {_REPOSITORY} --repository-format=docker --immutable-tags",
    ),
    Signal(
        "tag taken",
        r"immutab.{0,40}\btags?\b|\btags?\b.{0,60}immutab",
        "the tag names another image already, and the repository's tags never move",
        "git tag the next version and push that one",
    ),
    Signal(
        "no right to deploy as",
        r"iam\.serviceaccounts\.actAs",
        "who deploys may not use the account that the service runs as",
        "gcloud iam service-accounts add-iam-policy-binding RUNTIME_ACCOUNT "
        '--role=roles/iam.serviceAccountUser --member="serviceAccount:{account}"',
    ),
    Signal(
        "service did not start",
        r"failed to start and listen on the port",
        "the image ignores PORT or listens on the loopback interface only",
        "docker run --rm -e PORT=8081 -p 8081:8081 IMAGE # has to answer from outside, at 0.0.0.0:$PORT",
    ),
    Signal(
        "certificate",
        r"CERTIFICATE_VERIFY_FAILED|x509: certificate signed by unknown",
        "{host} shows a certificate that this machine's store does not know, as behind a company's proxy",
        "add the company's certificate to /usr/local/share/ca-certificates and run update-ca-certificates",
    ),
    Signal(
        "name",
        r"Name or service not known|No address associated|Temporary failure in name resolution|no such host",
        "the name {host} leads nowhere from here",
        "getent hosts {host} # then correct the name, the DNS or --google-endpoints",
    ),
    Signal(
        "too many requests",
        rf"{_STATUS}429\b|RESOURCE_EXHAUSTED|Quota exceeded",
        "a quota is used up, and waiting within the time there is did not help",
        "start the release again later, or raise the quota in the project's console under IAM, Quotas",
        (),
    ),
    Signal(
        "no answer",
        rf"\bno answer to\b|{_STATUS}50[0234]\b",
        "{host} is down, or a firewall or proxy keeps this machine from it",
        "curl -sSI https://{host} # then start the release again; nothing half done has to be cleaned up",
        (),
    ),
)


def advice(text: str, claims: Mapping[str, object] | None = None, **known: str) -> str:
    """Return what a message about an error is to go on with: the claims that matter, cause and fix.

    Nothing of it when the error is not known, nor claims where none are given.
    """
    found = next((signal for signal in SIGNALS if signal.shows(text)), None)
    shown = (
        [f"{name}={claims[name]!r}" for name in found.claims if name in claims] if found and claims else []
    )
    lines = [f"  claims: {', '.join(shown)}"] if shown else []
    return "".join(f"\n{line}" for line in [*lines, *([_told(found, known)] if found else [])])


def explain(text: str) -> str:
    """Return every known error that a text shows; raises Unexplained when there is none."""
    found = [signal for signal in SIGNALS if signal.shows(text)]
    if not found:
        raise Unexplained(
            f"explain: none of the {len(SIGNALS)} known errors is in this text; `dagger call doctor` with "
            "publish's arguments tries each step of a release by itself"
        )
    return "\n".join(f"{signal.name}\n{_told(signal, {})}" for signal in found)


def _told(signal: Signal, known: dict[str, str]) -> str:
    names = _NAMES | known
    return f"  cause: {signal.cause.format_map(names)}\n  fix: {signal.fix.format_map(names)}"
