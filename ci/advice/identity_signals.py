"""Known errors of identities: tokens, pools, providers and conditions."""

from advice.signals import DESCRIBE, MAPPING, RUN, UPDATE, Signal

IDENTITY_SIGNALS = (
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
        "provider condition missing",
        r"attribute condition must reference one of the provider.?s claims",
        "Google creates no provider for GitHub or GitLab without a condition, as all their customers share "
        "one issuer",
        f'{UPDATE} --attribute-condition="{{condition}}"',
        (),
    ),
    Signal(
        "pool or provider exists",
        r"(?:WorkloadIdentityPool|workload-identity-pool).{0,300}(?:ALREADY_EXISTS|already exists)"
        r"|ALREADY_EXISTS|Requested entity already exists",
        "the name is taken, also for 30 days after a pool or provider was deleted",
        "gcloud iam workload-identity-pools undelete {pool} --location=global --project={project}",
        (),
    ),
    Signal(
        "pool unknown",
        r"Identity Pool does not exist",
        "a binding names a pool that is not there: misspelt, deleted, or with the project's id in place of "
        "its number",
        "gcloud iam workload-identity-pools list --location=global --project={project}",
        (),
    ),
    Signal(
        "provider unknown",
        r"invalid_target|target service indicated by the \W*audience",
        "pool or provider is misspelt, disabled, deleted, or younger than 5 minutes",
        f"{DESCRIBE} # state has to be ACTIVE, disabled absent",
    ),
    Signal(
        "subject",
        r"(?:attribute|value for) '?google\.subject\b|mapped attribute\b.{0,60}(?:exceeds|must be of type)"
        r"|Invalid mapped attribute key",
        "the provider maps the token's claims to no subject, to one of more than 127 bytes, to something "
        "that is no text, or to a name that does not begin with `attribute.`",
        f'{UPDATE} --attribute-mapping="{MAPPING}"',
        ("sub", "repository_id", "run_id"),
        ("condition",),
    ),
    Signal(
        "not a release",
        r"assertion\.ref(?:_type)?\b\S* fails on",
        "the condition wants the ref of a version tag, and the job runs for another",
        "git tag v1.0.0 && git push origin v1.0.0",
        RUN,
        ("condition",),
    ),
    Signal(
        "not the workflow of releases",
        r"assertion\.(?:event_name|workflow_ref)\b\S* fails on",
        "the condition wants this pipeline's workflow, started by the push of a tag, and another one asks",
        "git push origin v1.0.0; after the workflow file was renamed: setup-google again",
        RUN,
        ("condition",),
    ),
    Signal(
        "not a machine of GitHub's",
        r"assertion\.runner_environment\S* fails on",
        "the condition wants a machine that GitHub owns, and the job runs on another",
        "write in the job: runs-on: ubuntu-24.04",
        RUN,
        ("condition",),
    ),
    Signal(
        "condition",
        r"unauthorized_client|rejected by the attribute condition",
        "the provider's attribute condition is false for this token; since July 2026 GitHub's subject holds "
        "numeric ids, which conditions on `sub` have to know",
        f'{UPDATE} --attribute-condition="{{condition}}"',
        RUN,
    ),
    Signal(
        "issuer out of reach",
        r"Error connecting to the given credential.?s issuer",
        "the issuer is not public, so that Google cannot fetch its keys",
        f"{UPDATE} --jwk-json-path=jwks.json",
        ("iss",),
    ),
    Signal(
        "issuer of GitLab",
        r"issuer in (?:ID Token|JWT)\b.{0,60}gitlab",
        "the token is GitLab's, and the provider is another issuer's",
        f"{UPDATE} --issuer-uri=https://gitlab.com # or your own GitLab's address; the token's `iss` has it",
        ("iss",),
        ("issuer",),
    ),
    Signal(
        "issuer",
        r"\bissuer in (?:ID Token|JWT)"
        r"|'issuer' claim in OIDC discovery document does not match"
        r"|invalid_grant.{0,200}\bissuer\b.{0,200}(?:does not match|mismatch|invalid)",
        "the token's `iss` is not the provider's issuer, which is compared as text, slash at the end and all",
        f"{UPDATE} --issuer-uri={{issuer}}",
        ("iss",),
    ),
    Signal(
        "audience",
        r"\baudience in (?:ID Token|JWT)|invalid_grant.{0,200}\baudience\b",
        "the token's `aud` is not what the provider expects",
        "ask for a token with the audience {audience}, or allow its audience: "
        f"{UPDATE} --allowed-audiences={{given}}",
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
        f"{DESCRIBE} # then --issuer-uri of the real issuer, or --jwk-json-path with its present keys",
        ("iss",),
    ),
)
