"""Fulcio: a certificate of ten minutes for a key, in the name of an identity token.

Paths, bodies, messages and extensions are those of https://github.com/sigstore/fulcio (`fulcio.swagger.json`,
`docs/oid-info.md`, `pkg/server/error.go`); the claims of GitHub's tokens go into extensions as its
configuration maps them.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.identity.keys import KeyRing
from fakecloud.sigstore.certificate_authority import Authority, add_issuer, builder_of, usage
from fakecloud.sigstore.certificate_log import SCT_LIST, CertificateLog
from fakecloud.sigstore.keys import moment
from fakecloud.sigstore.paths import FULCIO
from fakecloud.sigstore.refusals import SigstoreRefusal

AUDIENCE = "sigstore"
_LIFETIME, _TOLERANCE = timedelta(minutes=10), 300
_SITE = "https://github.com/"
_ARC = "1.3.6.1.4.1.57264.1"
# The first six are plain text, all others UTF8String in DER.
_PLAIN = {1: "{iss}", 2: "{event_name}", 3: "{sha}", 4: "{workflow}", 5: "{repository}", 6: "{ref}"}
_STRINGS = {
    8: "{iss}",
    9: f"{_SITE}{{job_workflow_ref}}",
    10: "{job_workflow_sha}",
    11: "{runner_environment}",
    12: f"{_SITE}{{repository}}",
    13: "{sha}",
    14: "{ref}",
    15: "{repository_id}",
    16: f"{_SITE}{{repository_owner}}",
    17: "{repository_owner_id}",
    18: f"{_SITE}{{workflow_ref}}",
    19: "{workflow_sha}",
    20: "{event_name}",
    21: f"{_SITE}{{repository}}/actions/runs/{{run_id}}/attempts/{{run_attempt}}",
    22: "{repository_visibility}",
}


@dataclass(frozen=True)
class Fulcio:
    """A certificate authority that knows one issuer of identity tokens."""

    issuer: str
    ring: KeyRing
    now: Callable[[], float]
    authority: Authority = field(default_factory=lambda: Authority.of_certificates("fulcio"))
    log: CertificateLog = field(default_factory=CertificateLog)

    @property
    def routes(self) -> list[Route]:
        """Return what is served at the root of a host: clients put the path there."""
        return [Route(FULCIO, self.signing_certificate, methods=["POST"])]

    async def signing_certificate(self, request: Request) -> Response:
        """Answer a signing request with a certificate and those above it."""
        claims = self._verify_token(request.headers.get("authorization", ""))
        key = _parse_signing_request(await _body(request))
        certificate = self.certificate(key, claims)
        above = (self.authority.issuer.pem, self.authority.root.pem)
        chain = [certificate.public_bytes(Encoding.PEM).decode(), *above]
        return JSONResponse({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}, 201)

    def certificate(self, key: ec.EllipticCurvePublicKey, claims: Mapping[str, Any]) -> x509.Certificate:
        """Return a key's certificate, with the log's promise as the last extension."""
        start, issuer = moment(self.now()), self.authority.issuer
        builder = builder_of(key, x509.Name([]), start, start + _LIFETIME)
        builder = add_issuer(builder, issuer.key, digital_signature=True)
        builder = builder.add_extension(usage(ExtendedKeyUsageOID.CODE_SIGNING), critical=False)
        builder = _add_claims(builder, claims)
        promise = self.log.timestamps(issuer.sign(builder), issuer.key, self.now())
        return issuer.sign(builder.add_extension(x509.UnrecognizedExtension(SCT_LIST, promise), False))

    def _verify_token(self, authorization: str) -> dict[str, Any]:
        """Return the claims of an identity token that is the issuer's, for Sigstore, and of this time."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise SigstoreRefusal(401, 16, "There was an error processing the credentials for this request")
        keys = {key["kid"]: key for key in self.ring.jwks()["keys"]}
        try:
            key = jwt.PyJWK(keys[str(jwt.get_unverified_header(token).get("kid"))])
            given = jwt.PyJWS().decode(token, key, ["RS256"])
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        except (jwt.InvalidTokenError, LookupError) as error:
            raise _invalid_token() from error
        expires, begins = claims.get("exp"), claims.get("nbf", 0)
        if not (given and isinstance(expires, int) and isinstance(begins, int)):
            raise _invalid_token()
        timely = begins <= self.now() + _TOLERANCE and self.now() < expires
        if claims.get("iss") != self.issuer or claims.get("aud") != AUDIENCE or not timely:
            raise _invalid_token()
        return claims


def _invalid_token() -> SigstoreRefusal:
    return SigstoreRefusal(401, 16, "There was an error processing the identity token")


async def _body(request: Request) -> bytes:
    """Return the signing request in PEM."""
    try:
        return base64.b64decode((await request.json())["certificateSigningRequest"], validate=True)
    except (ValueError, LookupError, TypeError) as error:
        raise SigstoreRefusal(400, 3, "The certificate signing request could not be parsed") from error


def _parse_signing_request(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Return the key of a signing request that proves its possession."""
    try:
        request = x509.load_pem_x509_csr(pem)
    except ValueError as error:
        raise SigstoreRefusal(400, 3, "The certificate signing request could not be parsed") from error
    if not request.is_signature_valid:
        raise SigstoreRefusal(400, 3, "The signature supplied in the request could not be verified")
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SigstoreRefusal(400, 3, "The public key supplied in the request is insecure")
    return key


def _add_claims(builder: x509.CertificateBuilder, claims: Mapping[str, Any]) -> x509.CertificateBuilder:
    """Return a builder with what the token says: the workflow as the name, everything in extensions."""
    try:
        name = x509.UniformResourceIdentifier(f"{_SITE}{claims['job_workflow_ref']}")
        values = {number: text.format(**claims).encode() for number, text in _PLAIN.items()}
        values |= {number: asn1.encode_der(text.format(**claims)) for number, text in _STRINGS.items()}
    except KeyError as error:
        raise _invalid_token() from error
    builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=True)
    for number, value in values.items():
        kind = x509.ObjectIdentifier(f"{_ARC}.{number}")
        builder = builder.add_extension(x509.UnrecognizedExtension(kind, value), critical=False)
    return builder
