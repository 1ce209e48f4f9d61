"""Pack a fitted estimator into the files of a model folder (app/modelling/artifact.py lists them)."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from app.errors import ArtifactError, BadData, InvalidInput, ModelError, NotPortable
from app.modelling import artifact, estimator, portable_model
from app.modelling.artifact import Card, Portable
from app.modelling.estimator import EstimatorPredictor
from app.modelling.portable_model import Model
from app.modelling.portable_predictor import PortablePredictor
from app.modelling.predictor import Predictor
from app.modelling.scorer import scorer
from training import describe, parity
from training.export import export
from training.fit import Fitted
from training.golden import golden
from training.plots import plots
from training.settings import Settings
from training.table import Table, feature_names


def package(fitted: Fitted, table: Table, settings: Settings) -> tuple[Card, dict[str, bytes]]:
    """Return the model's card, and the other files by name: the portable model is one if it can be had.

    Raises BadData when the model fails on rows that it was fitted to.
    """
    pickle = estimator.serialize(fitted.estimator)
    card = _card(fitted, table, settings, artifact.sha256(pickle))
    positive = None if card.positive is None else card.classes.index(card.positive)
    files = {artifact.MODEL_FILE: pickle, **plots(fitted.estimator, fitted.held_out, positive)}
    predictor: Predictor
    try:
        files[artifact.PORTABLE_FILE], model = portable_form(fitted, positive)
        sha256 = artifact.sha256(files[artifact.PORTABLE_FILE])
        card = replace(card, portable=Portable(sha256, model.format, model.nodes))
        predictor = PortablePredictor(card, scorer(model))
    except NotPortable as reason:
        predictor = EstimatorPredictor(fitted.estimator, replace(card, not_portable=str(reason)))
    try:
        rows = artifact.as_json(golden(predictor, fitted.trained.x))
    except (InvalidInput, ModelError) as error:
        raise BadData(f"make_model(): the estimator fails on rows that it was fitted to: {error}") from error
    card = replace(predictor.card, golden_sha256=artifact.sha256(rows))
    return card, {**files, artifact.GOLDEN_FILE: rows}


def portable_form(fitted: Fitted, positive: int | None) -> tuple[bytes, Model]:
    """Return the portable model's file and model. Raises NotPortable, also when it predicts otherwise."""
    try:
        exported = asdict(export(fitted.estimator, positive))
        content = json.dumps(exported, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        model = portable_model.parse(content, artifact.PORTABLE_FILE)
    except (ValueError, ArtifactError) as error:
        raise NotPortable(f"{type(fitted.estimator).__name__} has no portable form: {error}") from error
    if len(content) > artifact.MAX_BYTES:
        raise NotPortable(f"{len(content)} bytes are more than the {artifact.MAX_BYTES} of a portable model")
    parity.check(model, fitted.estimator, positive, fitted.trained.x)
    return content, model


def _card(fitted: Fitted, table: Table, settings: Settings, sha256: str) -> Card:
    names = feature_names(table, settings)
    classes = fitted.trained.classes
    return Card(
        name=settings.name,
        task="classification" if classes else "regression",
        features=tuple(
            describe.feature(name, values) for name, values in zip(names, fitted.trained.x.T, strict=True)
        ),
        target=settings.target,
        classes=classes,
        positive=(settings.positive or classes[1]) if len(classes) == 2 else None,
        metrics=dict(fitted.metrics),
        rows={"train": len(fitted.trained.x), "test": len(fitted.held_out.x)},
        libraries=estimator.installed_versions(),
        data_sha256=table.sha256,
        artifact_sha256=sha256,
        portable=None,
        not_portable=None,
        golden_sha256="",
    )
