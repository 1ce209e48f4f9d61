"""The timestamp authority: a signed time for a signature (RFC 3161, in CMS of RFC 5652)."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fakecloud.sigstore.certificate_authority import Authority
from fakecloud.sigstore.keys import moment
from fakecloud.sigstore.refusals import SigstoreRefusal

PATH = "/api/v1/timestamp"
_SHA256, _ECDSA = ObjectIdentifier("2.16.840.1.101.3.4.2.1"), ObjectIdentifier("1.2.840.10045.4.3.2")
_SIGNED_DATA, _TST_INFO = (
    ObjectIdentifier("1.2.840.113549.1.7.2"),
    ObjectIdentifier("1.2.840.113549.1.9.16.1.4"),
)
_CONTENT_TYPE, _DIGEST = ObjectIdentifier("1.2.840.113549.1.9.3"), ObjectIdentifier("1.2.840.113549.1.9.4")
_SIGNING_CERTIFICATE = ObjectIdentifier("1.2.840.113549.1.9.16.2.47")
_POLICY = ObjectIdentifier("1.3.6.1.4.1.57264.2")


@asn1.sequence
class Algorithm:
    """AlgorithmIdentifier."""

    algorithm: ObjectIdentifier
    parameters: asn1.Null | None = None


@asn1.sequence
class Imprint:
    """MessageImprint: the digest of what is timestamped."""

    algorithm: Algorithm
    message: bytes


@asn1.sequence
class Query:
    """TimeStampReq."""

    version: int
    imprint: Imprint
    policy: ObjectIdentifier | None
    nonce: int | None
    with_certificate: Annotated[bool, asn1.Default(False)]


@asn1.sequence
class Information:
    """TSTInfo: what is signed."""

    version: int
    policy: ObjectIdentifier
    imprint: Imprint
    serial: int
    time: asn1.GeneralizedTime
    nonce: int | None


@asn1.sequence
class Attribute:
    """A signed attribute of one value."""

    kind: ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class Certificate:
    """ESSCertIDv2 (RFC 5035); SHA-256 is its default."""

    digest: bytes


@asn1.sequence
class SigningCertificate:
    """SigningCertificateV2."""

    certificates: list[Certificate]


@asn1.sequence
class Serial:
    """IssuerAndSerialNumber."""

    issuer: asn1.TLV
    serial: int


@asn1.sequence
class Signer:
    """SignerInfo."""

    version: int
    certificate: Serial
    digest: Algorithm
    attributes: Annotated[asn1.SetOf[Attribute], asn1.Implicit(0)]
    algorithm: Algorithm
    signature: bytes


@asn1.sequence
class Content:
    """EncapsulatedContentInfo."""

    kind: ObjectIdentifier
    content: Annotated[bytes, asn1.Explicit(0)]


@asn1.sequence
class Signed:
    """SignedData."""

    version: int
    digests: asn1.SetOf[Algorithm]
    content: Content
    certificates: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]
    signers: asn1.SetOf[Signer]


@asn1.sequence
class Token:
    """ContentInfo."""

    kind: ObjectIdentifier
    content: Annotated[Signed, asn1.Explicit(0)]


@asn1.sequence
class Status:
    """PKIStatusInfo."""

    status: int


@asn1.sequence
class Reply:
    """TimeStampResp that grants."""

    status: Status
    token: Token


@dataclass(frozen=True)
class TimestampAuthority:
    """A clock that signs."""

    now: Callable[[], float]
    authority: Authority = field(default_factory=lambda: Authority.of_timestamps("timestamps"))

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the authority's address."""
        return [Route(PATH, self.timestamp, methods=["POST"])]

    async def timestamp(self, request: Request) -> Response:
        """Answer a query with a timestamp."""
        try:
            query = asn1.decode_der(Query, await request.body())
        except ValueError as error:
            raise SigstoreRefusal(400, 400, "Error generating timestamp response") from error
        if query.version != 1 or query.imprint.algorithm.algorithm != _SHA256:
            raise SigstoreRefusal(400, 400, "Error generating timestamp response")
        reply = asn1.encode_der(Reply(status=Status(status=0), token=self._token(query)))
        return Response(reply, 201, media_type="application/timestamp-reply")

    def _token(self, query: Query) -> Token:
        content = asn1.encode_der(self._information(query))
        issuer = self.authority.issuer
        certificates = asn1.SetOf([_tlv(issuer.der)]) if query.with_certificate else None
        signed = Signed(
            version=3,
            digests=asn1.SetOf([_algorithm(_SHA256)]),
            content=Content(kind=_TST_INFO, content=content),
            certificates=certificates,
            signers=asn1.SetOf([self._signer(content)]),
        )
        return Token(kind=_SIGNED_DATA, content=signed)

    def _information(self, query: Query) -> Information:
        return Information(
            version=1,
            policy=_POLICY,
            imprint=query.imprint,
            serial=secrets.randbits(64),
            time=asn1.GeneralizedTime(moment(self.now())),
            nonce=query.nonce,
        )

    def _signer(self, content: bytes) -> Signer:
        """Return the signature of what is signed, over attributes that bind it and the certificate."""
        issuer = self.authority.issuer
        own = SigningCertificate(certificates=[Certificate(digest=hashlib.sha256(issuer.der).digest())])
        values = {
            _CONTENT_TYPE: asn1.encode_der(_TST_INFO),
            _DIGEST: asn1.encode_der(hashlib.sha256(content).digest()),
            _SIGNING_CERTIFICATE: asn1.encode_der(own),
        }
        attributes = asn1.SetOf(
            [Attribute(kind=kind, values=asn1.SetOf([_tlv(value)])) for kind, value in values.items()]
        )
        return Signer(
            version=1,
            certificate=_serial(issuer.certificate),
            digest=_algorithm(_SHA256),
            attributes=attributes,
            algorithm=_algorithm(_ECDSA),
            signature=issuer.key.sign(asn1.encode_der(attributes)),
        )


def _algorithm(kind: ObjectIdentifier) -> Algorithm:
    return Algorithm(algorithm=kind, parameters=None)


def _serial(certificate: x509.Certificate) -> Serial:
    issuer = _tlv(certificate.issuer.public_bytes())
    return Serial(issuer=issuer, serial=certificate.serial_number)


def _tlv(content: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, content)
