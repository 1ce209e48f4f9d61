"""What can go wrong in training and in the service.

AppError
├── SettingsError       the environment holds a value that cannot be used
├── ListenError         the port cannot be listened on
├── WorkerError         a worker process ended before the service could begin
├── ArtifactError       the model on disk is missing, altered or made by other library versions
├── ModelError          the model raised on input that it should take
├── NotReady            a readiness check finds no model
├── Overloaded          a limit on what is done at once is reached
├── TrainingError       a model cannot be trained
│   ├── BadData         the settings or the data are unusable
│   ├── BelowMinimum    the model is not good enough to be shipped
│   └── NotPortable     the model has no portable form; says why, and scikit-learn serves it
└── RequestError        a request is refused; says which input, what was expected and what came
    ├── InvalidInput    400
    ├── UnknownPath     404
    ├── WrongMethod     405
    ├── TooSlow         408
    ├── TooLarge        413
    ├── UnknownEncoding 415
    ├── HeadTooLarge    431
    └── UnknownCoding   501
"""

from __future__ import annotations


class AppError(Exception):
    """Base of every error that is raised on purpose."""


class SettingsError(AppError):
    """The environment holds a value that cannot be used."""


class ListenError(AppError):
    """The port cannot be listened on."""


class WorkerError(AppError):
    """A worker process ended before the service could begin."""


class ArtifactError(AppError):
    """The model on disk is missing, altered, or made by other library versions."""


class ModelError(AppError):
    """The model raised on input that it should take."""


class NotReady(AppError):
    """A readiness check finds no model; says why."""


class Overloaded(AppError):
    """A limit on what is done at once is reached; the same request may succeed a moment later."""


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
    """The request is not what its path takes."""


class UnknownPath(RequestError):
    """There is nothing at the path."""


class WrongMethod(RequestError):
    """The path has other methods; `expected` lists them."""


class TooSlow(RequestError):
    """The request did not come in the time that it may take."""


class TooLarge(RequestError):
    """The body is longer than the service reads."""


class UnknownEncoding(RequestError):
    """The body has a Content-Encoding that the service doesn't decode."""


class HeadTooLarge(RequestError):
    """The request line and the header fields are longer, or more, than the service reads."""


class UnknownCoding(RequestError):
    """The body has a Transfer-Encoding that the service doesn't decode."""
