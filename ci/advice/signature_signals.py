"""Known errors of signatures: Sigstore's services when signing, its clients when verifying."""

from advice.signals import STATUS, Signal

_UNREACHABLE = (
    r"(?:timed? ?out|deadline exceeded|refused|reset by peer|giving up|Max retries exceeded|unreachable"
    r"|INTERNAL_ERROR|failed with 50[0234]|"
    rf"{STATUS}\(?50[0234]\b|\b50[0234] (?:Server Error|Bad Gateway|Service|Gateway))"
)
_CLAIMS = ("iss", "aud", "exp")
# A status or a name that does not resolve also shows as an error of its own, which says less.
_GENERAL = ("no answer", "identity refused")

SIGNATURE_SIGNALS = (
    Signal(
        "no token for Sigstore",
        r"using device flow|error obtaining token: expired_token"
        r"|error retrieving identity token|issues no token for Sigstore",
        "the job has no identity token for Sigstore: it may ask for none, or the CI system issues none on "
        "request",
        "on GitHub, write in the job: permissions: id-token: write; on GitLab, write id_tokens: "
        "SIGSTORE_TOKEN: aud: sigstore, and pass --sigstore-token env:SIGSTORE_TOKEN",
        (),
        ("no identity",),
    ),
    Signal(
        "token for Sigstore expired",
        r"not within its validity period|\bExpired(?:Identity|Certificate)\b",
        "the token, or the certificate that came of it, ran out before the signature was made: GitHub's "
        "tokens live 5 minutes, certificates 10",
        "give publish --oidc-url and --oidc-token rather than a token made earlier, and start the job again",
        _CLAIMS,
    ),
    Signal(
        "token refused by Sigstore",
        r"error processing the (?:identity token|credentials for this request)"
        r"|Identity token is (?:malformed|missing)"
        r"|40[01] (?:Client Error: )?(?:Bad Request|Unauthorized)\b.{0,30}fulcio"
        r"|fulcio\S* returned 40[01]|Fulcio returned 40[01]",
        "the token is not one that Fulcio takes: its audience has to be `sigstore`, its issuer a public CI "
        "system, and it must not have expired",
        "on GitHub, publish requests it; elsewhere, make one with the audience sigstore, as GitLab's "
        "id_tokens: SIGSTORE_TOKEN: aud: sigstore, and pass --sigstore-token env:SIGSTORE_TOKEN",
        _CLAIMS,
    ),
    Signal(
        "Fulcio unavailable",
        rf"(?:fulcio|error creating signing certificate)\b.{{0,250}}{_UNREACHABLE}"
        rf"|{_UNREACHABLE}.{{0,120}}\bfulcio\b",
        "Sigstore's certificate authority does not answer, or a firewall or proxy keeps this machine from it",
        "curl -sSI https://fulcio.sigstore.dev # then https://status.sigstore.dev; start the job again, "
        "nothing was pushed",
        (),
        _GENERAL,
    ),
    Signal(
        "log entry exists",
        r"createLogEntryConflict|equivalent entry already exists in the transparency log",
        "Rekor had taken the entry before its answer was lost; another signature is another entry",
        "start the job again: publish makes a new key and so a new entry",
        (),
    ),
    Signal(
        "Rekor unavailable",
        rf"(?:rekor|error creating tlog entry|/api/v[12]/log/entries)\b.{{0,250}}{_UNREACHABLE}"
        rf"|{_UNREACHABLE}.{{0,120}}\brekor\b",
        "Sigstore's signature log does not answer, or a firewall or proxy keeps this machine from it",
        "curl -sSI https://rekor.sigstore.dev/api/v1/log # then https://status.sigstore.dev; start the job "
        "again, nothing was pushed",
        (),
        _GENERAL,
    ),
    Signal(
        "signed late",
        r"cert(?:ificate)? is not valid at validation time|certificate expired before signatures were entered"
        r"|certificate is not yet valid|not enough sources of verified time",
        "the signature was made outside the ten minutes of its certificate, or nothing trusted says when",
        "publish this version again; a valid signature beside a bad one is enough",
        (),
        ("not signed",),
    ),
    Signal(
        "another signer",
        r"none of the expected identities matched|no matching Certificate ?Identity"
        r"|SANs do not match|OIDC ?Issuer does not match|the certificate says .{1,300}the policy demands",
        "another workflow, ref, repository or issuer signed than the verifier demands",
        "compare both with the table [signature] of deploy/environments.toml; then correct the table, or "
        "publish this version again from its own tag",
        (),
        ("not signed",),
    ),
    Signal(
        "unknown signing keys",
        r"SCT verify failed|verifying SCT|ctfe public key not found"
        r"|failed to build timestamp certificate chain|no matching targets by custom metadata"
        r"|checkpoint: invalid signature|Missing fallback target",
        "the verifier's trusted root lacks a key of Sigstore's, or the signature comes from another Sigstore",
        "dagger call update # raises deploy/sigstore/trusted_root.json; elsewhere: cosign initialize",
        (),
        ("not signed",),
    ),
    Signal(
        "not signed",
        r"no signatures found|no matching (?:signatures|attestations)"
        r"|no attestations found|signature: \S+ has none|a signature was required, but no signature exists",
        "the image has no signature that this verifier finds",
        "publish this version again by its workflow, in a private repository with --sign-private; copy "
        "images with `dagger call promote`, which brings signatures along",
        (),
    ),
)
