"""The application: which path answers what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from pydantic import BaseModel, Field

from app.artifact import Card
from app.body import parse_features, read_body
from app.errors import ArtifactError, NotReady
from app.predictor import Predictor, load
from app.problems import documented, install_handlers
from app.settings import Settings

router = APIRouter()


class Prediction(BaseModel):
    """The answer of POST /predict."""

    prediction: int | float = Field(
        description="The value (regression), the probability of the card's positive class (two classes) "
        "or the index of the most likely class."
    )
    model_version: str


class Health(BaseModel):
    """The answer of a health check that passes."""

    status: Literal["alive", "ready"]


@dataclass(frozen=True)
class Served:
    """What this process serves: a model, or the reason why there is none."""

    version: str
    model: Predictor | ArtifactError

    def predictor(self) -> Predictor:
        """Return the model, or raise the reason why there is none."""
        if isinstance(self.model, ArtifactError):
            raise self.model
        return self.model


def served(request: Request) -> Served:
    """Return what `create_app` was given."""
    state: Served = request.app.state.served
    return state


ServedDep = Annotated[Served, Depends(served)]


def create_app(settings: Settings) -> FastAPI:
    """Load the model and return the application; a model that cannot be loaded is told in its answers."""
    app = FastAPI(
        title="milestone2",
        version=settings.model_version,
        docs_url=None,  # its page loads scripts from the network
        redoc_url=None,
        redirect_slashes=False,
        responses=documented(404, 405, 500),
    )
    app.state.served = Served(settings.model_version, _load(settings))
    app.include_router(router)
    install_handlers(app)
    return app


def _load(settings: Settings) -> Predictor | ArtifactError:
    try:
        return load(settings.model_dir)
    except ArtifactError as error:
        return error


REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["features"],
                    "additionalProperties": False,
                    "properties": {
                        "features": {
                            "type": "array",
                            "items": {"type": "number"},
                            "description": "As many finite numbers as the model's card has features.",
                        }
                    },
                }
            }
        },
    }
}


@router.post("/predict", responses=documented(400, 413), openapi_extra=REQUEST_BODY)
async def predict(request: Request, served: ServedDep) -> Prediction:
    """Answer the model's prediction for one row of features; the body is JSON whatever Content-Type says."""
    predictor = served.predictor()
    body = await read_body(request.stream(), request.headers.get("content-length"))
    features = parse_features(body, len(predictor.card.features))
    # On a thread, so that a slow model does not keep health checks waiting.
    value = await to_thread.run_sync(predictor.predict, features)
    return Prediction(prediction=value, model_version=served.version)


@router.get("/model")
async def model(served: ServedDep) -> Card:
    """Answer the model's card."""
    return served.predictor().card


@router.get("/livez")
async def livez() -> Health:
    """Answer that the process is up."""
    return Health(status="alive")


@router.get("/readyz", responses=documented(503))
async def readyz(served: ServedDep) -> Health:
    """Answer whether POST /predict can be answered, and why not."""
    if isinstance(served.model, ArtifactError):
        raise NotReady(str(served.model))
    return Health(status="ready")
