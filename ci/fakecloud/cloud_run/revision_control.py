"""Control endpoint by which a rehearsal starts revisions, with a key; Google does that by itself."""

from collections import Counter
from dataclasses import dataclass

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.cloud_run.resources import State
from fakecloud.identity.iam import read_content
from fakecloud.state import control_key
from fakecloud.state.refusals import PlainRefusal

_WAIT = 5.0  # seconds that a request waits for a revision, at most


@dataclass(frozen=True)
class Control:
    """Control endpoint; without a key it refuses every request."""

    state: State
    key: str

    @property
    def routes(self) -> list[Route]:
        """Return what is served below /control."""
        return [
            Route("/pending", self.next_revision),
            Route("/revisions/{name}", self.arrive, methods=["POST"]),
            Route("/requests", self.requests),
        ]

    async def next_revision(self, request: Request) -> Response:
        """Respond with a revision that the rehearsal has to start, or with nothing after a while."""
        control_key.check(request, self.key)
        with anyio.move_on_after(min(float(request.query_params.get("seconds", _WAIT)), _WAIT)):
            while not self.state.pending:
                self.state.announced = anyio.Event()
                await self.state.announced.wait()
        if not self.state.pending:
            return Response(status_code=204)
        message = self.state.pending.pop(0).message
        container = message.containers[0]
        variables = {variable.name: variable.value for variable in container.env}
        name = message.name.rpartition("/")[2]
        return JSONResponse({"revision": name, "image": container.image, "environment": variables})

    async def arrive(self, request: Request) -> Response:
        """Take where a revision's instance is, or that it has ended."""
        control_key.check(request, self.key)
        content = read_content(await request.body(), {"instance": str})
        for revision in self.state.revisions():
            if revision.name == request.path_params["name"]:
                revision.arrive(content.get("instance", ""))
                return Response(status_code=204)
        raise PlainRefusal(404, "no such revision\n")

    async def requests(self, request: Request) -> Response:
        """Respond with the number of requests of each revision, by status."""
        control_key.check(request, self.key)
        served = self.state.counts.served.items()
        return JSONResponse(
            {name: Counter(str(each.status) for each in requests) for name, requests in served}
        )
