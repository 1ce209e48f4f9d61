"""Pack a fitted estimator into the files of a model folder (app/modelling/artifact.py lists them)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from app.errors import ArtifactError, BadData, InvalidInput, ModelError, NotPortable
from app.modelling import artifact, columns, estimator, portable_model
from app.modelling.artifact import Card, Portable
from app.modelling.columns import Column
from app.modelling.data_frame import encode_frame
from app.modelling.estimator import EstimatorPredictor
from app.modelling.portable_model import Model
from app.modelling.portable_predictor import PortablePredictor
from app.modelling.predictor import Predictor
from app.modelling.scorer import scorer
from training import parity
from training.describe import describe
from training.export import export
from training.fit import Fitted
from training.golden import golden
from training.plots import plots
from training.probe import probe
from training.settings import Settings


def package(fitted: Fitted, settings: Settings) -> tuple[Card, dict[str, bytes]]:
    """Return the model's card, and the other files by name: the portable model is one if it can be had.

    Raises BadData when the model fails on rows that it was fitted to.
    """
    files = {artifact.MODEL_FILE: estimator.serialize(fitted.estimator)}
    card, found = _card(fitted, settings, artifact.sha256(files[artifact.MODEL_FILE]))
    positive = None if card.positive is None else card.classes.index(card.positive)
    files |= plots(fitted.estimator, fitted.data.held_out, positive)
    if categories := columns.write(found):
        files[artifact.CATEGORIES_FILE] = categories
        card = replace(card, categories_sha256=artifact.sha256(categories))
    predictor: Predictor
    try:
        files[artifact.PORTABLE_FILE], model = portable_form(fitted, found, positive)
        sha256 = artifact.sha256(files[artifact.PORTABLE_FILE])
        card = replace(card, portable=Portable(sha256, model.format, model.nodes))
        predictor = PortablePredictor(card, found, scorer(model))
    except NotPortable as reason:
        predictor = EstimatorPredictor(fitted.estimator, replace(card, not_portable=str(reason)), found)
    try:
        rows = artifact.as_json(golden(predictor))
    except (InvalidInput, ModelError) as error:
        raise BadData(f"make_model(): the estimator fails on rows that it was fitted to: {error}") from error
    card = replace(predictor.card, golden_sha256=artifact.sha256(rows))
    return card, {**files, artifact.GOLDEN_FILE: rows}


def portable_form(fitted: Fitted, found: Sequence[Column], positive: int | None) -> tuple[bytes, Model]:
    """Return the portable model's file and model. Raises NotPortable, also when it predicts otherwise."""
    try:
        exported = asdict(export(fitted.estimator, positive))
        content = json.dumps(exported, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        model = portable_model.parse(content, artifact.PORTABLE_FILE)
    except (ValueError, ArtifactError) as error:
        raise NotPortable(f"{type(fitted.estimator).__name__} has no portable form: {error}") from error
    if len(content) > artifact.MAX_BYTES:
        raise NotPortable(f"{len(content)} bytes are more than the {artifact.MAX_BYTES} of a portable model")
    trained = encode_frame(found, fitted.data.trained.x)
    parity.check(model, fitted.estimator, positive, found, trained)
    return content, model


def _card(fitted: Fitted, settings: Settings, sha256: str) -> tuple[Card, tuple[Column, ...]]:
    """Return the card and its columns, without what is only known of the files."""
    data, described = fitted.data, describe(fitted.data.trained, settings)
    classes = data.trained.classes
    card = Card(
        name=settings.name,
        task="classification" if classes else "regression",
        features=tuple(column.feature for column in described),
        target=settings.target,
        classes=classes,
        positive=(settings.positive or classes[1]) if len(classes) == 2 else None,
        metrics=dict(fitted.metrics),
        rows={"train": len(data.trained.y), "test": len(data.held_out.y)},
        libraries=estimator.installed_versions(),
        data_sha256=data.sha256,
        artifact_sha256=sha256,
        portable=None,
        not_portable=None,
        golden_sha256="",
    )
    found = tuple(
        replace(each, feature=replace(each.feature, importance=fitted.importances[each.feature.name]))
        for each in probe(EstimatorPredictor(fitted.estimator, card, described), data.trained.x)
    )
    return replace(card, features=tuple(column.feature for column in found)), found
