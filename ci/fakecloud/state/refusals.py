"""Error responses, in the form of each kind of service.

Refusal
├── OAuthRefusal       STS: RFC 6749's error and error_description
├── ApiRefusal         Google's JSON APIs: error.code, message, status, details
├── RegistryRefusal    Artifact Registry: the distribution protocol's errors, perhaps with a challenge
└── PlainRefusal       a status and a text, nothing to parse
"""

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

REGISTRY_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
_STATUS = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
}
_CREDENTIAL = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


class Refusal(Exception):
    """Error response of a service."""

    def response(self) -> Response:
        """Return the answer."""
        raise NotImplementedError


class OAuthRefusal(Refusal):
    """The Security Token Service's answer to an exchange that it does not make; always 400."""

    def __init__(self, error: str, description: str) -> None:
        """Refuse with an error code of RFC 6749 or 8693."""
        super().__init__(f"{error}: {description}")
        self.body = {"error": error, "error_description": description}

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse(self.body, 400)


class ApiRefusal(Refusal):
    """A Google API's answer, as google.rpc.Status in JSON."""

    def __init__(self, status: str, message: str, reason: str = "", **metadata: str) -> None:
        """Refuse with a canonical status; a reason adds an ErrorInfo."""
        super().__init__(message)
        error: dict[str, object] = {"code": _STATUS[status], "message": message, "status": status}
        if reason:
            domain = "iam.googleapis.com" if "permission" in metadata else "googleapis.com"
            kind = "type.googleapis.com/google.rpc.ErrorInfo"
            error["details"] = [{"@type": kind, "reason": reason, "domain": domain, "metadata": metadata}]
        self.code, self.body = _STATUS[status], {"error": error}

    def response(self) -> Response:
        """Return the response; without credentials in the request, it has a challenge."""
        challenge = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'}
        return JSONResponse(self.body, self.code, headers=challenge if self.code == 401 else None)


class RegistryRefusal(Refusal):
    """Artifact Registry's answer to a Docker client."""

    def __init__(self, status: int, code: str, message: str, challenge: str = "") -> None:
        """Refuse with an error code of the distribution protocol."""
        super().__init__(message)
        self.status, self.body = status, {"errors": [{"code": code, "message": message}]}
        self.headers = REGISTRY_VERSION | ({"WWW-Authenticate": challenge} if challenge else {})

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse(self.body, self.status, headers=self.headers)


class PlainRefusal(Refusal):
    """A status, and a text that clients do not parse."""

    def __init__(self, status: int, text: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Refuse with a status."""
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers

    def response(self) -> Response:
        """Return the answer."""
        return Response(self.text, self.status, headers=self.headers, media_type="text/plain")


def violation(field: str, description: str) -> ApiRefusal:
    """Return a Google API's answer to a request with a field that cannot be so."""
    refusal = ApiRefusal("INVALID_ARGUMENT", f"Violation in {field}: {description}")
    violations = [{"field": f"Violation in {field}", "description": description}]
    kind = "type.googleapis.com/google.rpc.BadRequest"
    refusal.body["error"]["details"] = [{"@type": kind, "fieldViolations": violations}]
    return refusal


def credential_missing() -> ApiRefusal:
    """Return a Google API's response to a request without valid credentials."""
    message = f"Request is missing required authentication credential. {_CREDENTIAL}"
    return ApiRefusal("UNAUTHENTICATED", message, "CREDENTIALS_MISSING")


def credential_invalid(reason: str) -> ApiRefusal:
    """Return a Google API's answer to a token that it does not know, or knew until it expired."""
    return ApiRefusal(
        "UNAUTHENTICATED", f"Request had invalid authentication credentials. {_CREDENTIAL}", reason
    )


def permission_denied(permission: str, resource: str) -> ApiRefusal:
    """Return a Google API's response to a known caller without the permission."""
    message = f"Permission '{permission}' denied on resource (or it may not exist)."
    if resource:
        message = f"Permission '{permission}' denied on resource '{resource}' (or it may not exist)."
    metadata = {"permission": permission} | ({"resource": resource} if resource else {})
    return ApiRefusal("PERMISSION_DENIED", message, "IAM_PERMISSION_DENIED", **metadata)
