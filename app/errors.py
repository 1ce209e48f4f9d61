"""What can go wrong in training and in the service.

AppError
├── SettingsError       the environment holds a value that cannot be used
├── ListenError         the port cannot be listened on
├── ArtifactError       the model on disk is missing, altered or made by other library versions
├── ModelError          the model raised on input that it should take
├── NotReady            a readiness check finds no model
├── TrainingError       a model cannot be trained
│   ├── BadData         the settings or the data are unusable
│   ├── BelowMinimum    the model is not good enough to be shipped
│   └── NotPortable     the model has no portable form; says why, and scikit-learn serves it
└── RequestError        a request is refused; says which input, what was expected and what came
    ├── InvalidInput    400
    └── TooLarge        413
"""

from __future__ import annotations


class AppError(Exception):
    """Base of every error that is raised on purpose."""


class SettingsError(AppError):
    """The environment holds a value that cannot be used."""


class ListenError(AppError):
    """The port cannot be listened on."""


class ArtifactError(AppError):
    """The model on disk is missing, altered, or made by other library versions."""


class ModelError(AppError):
    """The model raised on input that it should take."""


class NotReady(AppError):
    """A readiness check finds no model; says why."""


class TrainingError(AppError):
    """Base of what keeps a model from being trained."""


class BadData(TrainingError):
    """The settings or the data are unusable."""


class BelowMinimum(TrainingError):
    """The model is not good enough to be shipped."""


class NotPortable(TrainingError):
    """The model has no portable form; says why, and scikit-learn serves it."""


class RequestError(AppError):
    """A request is refused; `name` is the input at fault, as in `features[1]`."""

    def __init__(self, name: str, expected: str, received: str) -> None:
        super().__init__(f"{name}: expected {expected}, got {received}")
        self.name, self.expected, self.received = name, expected, received


class InvalidInput(RequestError):
    """The body is not what POST /predict takes."""


class TooLarge(RequestError):
    """The body is longer than the service reads."""
