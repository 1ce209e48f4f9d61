"""Pack a fitted estimator into the files of a model folder (app/modelling/artifact.py lists them)."""

from __future__ import annotations

from dataclasses import replace

from app.errors import ArtifactError, BadData, InvalidInput, ModelError, NotPortable
from app.modelling import artifact, estimator
from app.modelling.artifact import Card, Portable
from app.modelling.estimator import EstimatorPredictor
from app.modelling.portable import binary_format, json_format
from app.modelling.portable.model import Model
from app.modelling.portable.scorer import scorer
from app.modelling.portable_predictor import PortablePredictor
from app.modelling.predictor import Predictor
from training import describe, parity
from training.export import export
from training.fit import Fitted
from training.golden import golden
from training.plots import plots
from training.settings import Settings
from training.table import Table, feature_names


def package(fitted: Fitted, table: Table, settings: Settings) -> tuple[Card, dict[str, bytes | bytearray]]:
    """Return the model's card, and the other files by name: the portable model is one if it can be had.

    Raises BadData when the model fails on rows that it was fitted to.
    """
    pickle = estimator.serialize(fitted.estimator)
    card = _card(fitted, table, settings, artifact.sha256(pickle))
    positive = None if card.positive is None else card.classes.index(card.positive)
    files: dict[str, bytes | bytearray] = {
        artifact.MODEL_FILE: pickle,
        **plots(fitted.estimator, fitted.held_out, positive),
    }
    predictor: Predictor
    try:
        name, content, model = portable_form(fitted, positive)
        files[name] = content
        card = replace(card, portable=Portable(artifact.sha256(content), model.format, model.nodes))
        predictor = PortablePredictor.of(card, model, name)
    except NotPortable as reason:
        predictor = EstimatorPredictor(fitted.estimator, replace(card, not_portable=str(reason)))
    try:
        rows = artifact.as_json(golden(predictor, fitted.trained.x))
    except (InvalidInput, ModelError) as error:
        raise BadData(f"make_model(): the estimator fails on rows that it was fitted to: {error}") from error
    card = replace(predictor.card, golden_sha256=artifact.sha256(rows))
    return card, {**files, artifact.GOLDEN_FILE: rows}


def portable_form(fitted: Fitted, positive: int | None) -> tuple[str, bytes | bytearray, Model]:
    """Return the portable model's file by name and content, and the model in it.

    Raises NotPortable, also when it predicts otherwise.
    """
    try:
        name, content, model = _written(export(fitted.estimator, positive))
        scorer(model, name)  # which checks its trees
    except (ValueError, ArtifactError) as error:
        raise NotPortable(f"{type(fitted.estimator).__name__} has no portable form: {error}") from error
    parity.check(model, fitted.estimator, positive, fitted.trained.x)
    return name, content, model


def _written(exported: Model) -> tuple[str, bytes | bytearray, Model]:
    """Return the model as a file, in JSON if that can express it, and what is read from it."""
    text = json_format.write(exported)
    if text is not None and len(text) <= artifact.MAX_BYTES:
        return artifact.PORTABLE_FILE, text, json_format.parse(text, artifact.PORTABLE_FILE)
    content = binary_format.write(exported)
    if len(content) > binary_format.MAX_BYTES:
        raise NotPortable(
            f"{len(content)} bytes are more than the {binary_format.MAX_BYTES} of a portable model"
        )
    return artifact.BINARY_FILE, content, binary_format.parse(content, artifact.BINARY_FILE)


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
