"""Pack a fitted estimator into the files of a model folder (app/modelling/artifact.py lists them)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.errors import ArtifactError, BadData, InvalidInput, ModelError, NotPortable
from app.modelling import artifact, columns, estimator
from app.modelling.artifact import Card, Portable
from app.modelling.columns import Column
from app.modelling.data_frame import encode_frame
from app.modelling.estimator import EstimatorPredictor
from app.modelling.portable import binary_format, json_format
from app.modelling.portable.model import Model
from app.modelling.portable.scorer import scorer
from app.modelling.portable_predictor import PortablePredictor
from app.modelling.predictor import Predictor
from training.card.describe import describe
from training.card.golden import golden
from training.card.probe import probe
from training.fit import Fitted
from training.handover import pickle_contents
from training.judging.plots import plots
from training.portable_form import parity
from training.portable_form.export import export
from training.portable_form.preparation.prepared_row import names_of
from training.settings import Settings


def package(fitted: Fitted, settings: Settings) -> tuple[Card, dict[str, bytes | bytearray]]:
    """Return the model's card, and the other files by name: the portable model is one if it can be had.

    Raises BadData when the model fails on rows that it was fitted to.
    """
    files: dict[str, bytes | bytearray] = {artifact.MODEL_FILE: pickle_contents.serialize(fitted.estimator)}
    card, found = _card(fitted, settings, artifact.sha256(files[artifact.MODEL_FILE]))
    positive = None if card.positive is None else card.classes.index(card.positive)
    files |= plots(fitted.estimator, fitted.data.held_out, positive)
    if categories := columns.write(found):
        files[artifact.CATEGORIES_FILE] = categories
        card = replace(card, categories_sha256=artifact.sha256(categories))
    predictor: Predictor
    try:
        name, content, model = portable_form(fitted, found, positive)
        files[name] = content
        card = replace(card, portable=Portable(artifact.sha256(content), model.format, model.nodes))
        predictor = PortablePredictor.of(card, found, model, name)
    except NotPortable as reason:
        predictor = EstimatorPredictor(fitted.estimator, replace(card, not_portable=str(reason)), found)
    try:
        rows = artifact.as_json(golden(predictor))
    except (InvalidInput, ModelError) as error:
        raise BadData(f"make_model(): the estimator fails on rows that it was fitted to: {error}") from error
    card = replace(predictor.card, golden_sha256=artifact.sha256(rows))
    return card, {**files, artifact.GOLDEN_FILE: rows}


def portable_form(
    fitted: Fitted, found: Sequence[Column], positive: int | None
) -> tuple[str, bytes | bytearray, Model]:
    """Return the portable model's file by name and content, and the model in it.

    Raises NotPortable, also when it predicts otherwise.
    """
    try:
        name, content, model = _written(export(fitted.estimator, positive, names_of(found)))
        scorer(model, name)  # which checks its trees
    except (ValueError, ArtifactError) as error:
        raise NotPortable(f"{type(fitted.estimator).__name__} has no portable form: {error}") from error
    trained = encode_frame(found, fitted.data.trained.x)
    parity.check(model, fitted.estimator, positive, found, trained)
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
        libraries=estimator.installed_versions(pickle_contents.package_names(fitted.estimator)),
        data_sha256=data.sha256,
        spelling=data.spelling,
        data_uri=settings.data if settings.is_fetched else None,
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
