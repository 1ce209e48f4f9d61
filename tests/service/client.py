"""Client of a service's application, without a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import httpx

from app.api.asgi_app import AsgiApp
from app.service import Service
from app.settings import Settings


@dataclass(frozen=True)
class Client:
    """Sends requests to an application, each in an event loop of its own."""

    app: AsgiApp

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the application's answer."""

        async def send() -> httpx.Response:
            async with self.open() as client:
                return await client.request(method, path, **options)

        return anyio.run(send)

    def open(self) -> httpx.AsyncClient:
        """Return a client to be used in an event loop that runs already."""
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    def get(self, path: str) -> httpx.Response:
        """Send a GET request."""
        return self.request("GET", path)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a POST request."""
        return self.request("POST", path, **options)


def client_of(folder: Path, **settings: Any) -> Client:
    """Return a client of a service with the folder's model, if it has one; settings are those of Settings."""
    chosen = Settings(model_version="v1.2.3", model_dir=folder, hot_path=False)
    return Client(AsgiApp(Service.load(replace(chosen, **settings))))


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return the error of an answer, which has the one shape."""
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    error: dict[str, Any] = response.json()["error"]
    assert list(error) == ["code", "message", "input", "expected", "received"]
    return error
