"""The service as it is usually written: FastAPI, pydantic, and scikit-learn asked for every request."""

import os

import joblib
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()
model = joblib.load(os.path.join(os.environ["MODEL_DIR"], "model.joblib"))
version = os.environ.get("MODEL_VERSION", "v0.0.0-dev")


class PredictRequest(BaseModel):
    features: list[float]


class PredictResponse(BaseModel):
    prediction: float
    model_version: str


class BatchRequest(BaseModel):
    instances: list[list[float]]


class BatchResponse(BaseModel):
    predictions: list[float]


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
async def predict(request: PredictRequest) -> PredictResponse:
    try:
        prediction = model.predict_proba([request.features])[0][1]
    except ValueError as error:
        raise HTTPException(status_code=400, detail=str(error)) from error
    return PredictResponse(prediction=float(prediction), model_version=version)


@app.post("/batch")
async def batch(request: BatchRequest) -> BatchResponse:
    return BatchResponse(predictions=model.predict_proba(request.instances)[:, 1].tolist())
