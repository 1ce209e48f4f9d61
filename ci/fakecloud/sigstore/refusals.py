"""Error responses of Sigstore's services."""

from starlette.responses import JSONResponse, Response

from fakecloud.state.refusals import Refusal


class SigstoreRefusal(Refusal):
    """Fulcio's answer as google.rpc.Status, and Rekor's, whose code is the HTTP status."""

    def __init__(self, status: int, code: int, message: str) -> None:
        """Refuse with an HTTP status."""
        super().__init__(message)
        self.status, self.body = status, {"code": code, "message": message}

    def response(self) -> Response:
        """Return the answer."""
        return JSONResponse(self.body, self.status)
