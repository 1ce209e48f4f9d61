"""Errors of training and of the service, as a tree.

AppError                         (raised only as one of these)
├── SettingsError                service.invalid_settings
├── ListenError                  service.port_unavailable
├── WorkerError                  service.worker_failed
├── ArtifactError                service.model_unavailable
├── ModelError                   service.model_failed
├── NotReady                     service.not_ready
├── Overloaded                   service.overloaded
├── TrainingError                (raised only as one of these)
│   ├── BadData                  training.unusable_data
│   ├── BelowMinimum             training.below_minimum
│   └── NotPortable              training.not_portable
└── RequestError                 (raised only as one of these)
    ├── InvalidInput             service.invalid_input
    ├── UnknownPath              service.not_found
    ├── WrongMethod              service.method_not_allowed
    ├── TooSlow                  service.too_slow
    ├── TooLarge                 service.too_large
    ├── UnknownContentEncoding   service.unsupported_encoding
    ├── HeadTooLarge             service.head_too_large
    └── UnknownTransferEncoding  service.not_implemented

A code is stable: docs/runbook.md has an entry for each, and tests match it. Messages may be reworded. The
statuses and codes of HTTP responses are in connections/error_responses.py.
"""

from __future__ import annotations

from typing import ClassVar


class AppError(Exception):
    """An expected failure of training or of the service."""

    code: ClassVar[str] = "service.failed"


class SettingsError(AppError):
    """An environment variable has an invalid value."""

    code = "service.invalid_settings"


class ListenError(AppError):
    """The service cannot listen on its port."""

    code = "service.port_unavailable"


class WorkerError(AppError):
    """A worker process ended before the service started."""

    code = "service.worker_failed"


class ArtifactError(AppError):
    """The model on disk is missing, altered, or made by other library versions."""

    code = "service.model_unavailable"


class ModelError(AppError):
    """The model raised an exception on valid input."""

    code = "service.model_failed"


class NotReady(AppError):
    """The readiness check failed: no model is loaded."""

    code = "service.not_ready"


class Overloaded(AppError):
    """A limit on concurrent work is reached; the same request may succeed a moment later."""

    code = "service.overloaded"


class TrainingError(AppError):
    """A model cannot be trained."""

    code = "training.failed"


class BadData(TrainingError):
    """The settings or the data are invalid."""

    code = "training.unusable_data"


class BelowMinimum(TrainingError):
    """The model's score is below the minimum."""

    code = "training.below_minimum"


class NotPortable(TrainingError):
    """The model has no portable form, so scikit-learn serves it."""

    code = "training.not_portable"


class RequestError(AppError):
    """A request is refused; `name` is the input at fault, as in `features[1]`."""

    code = "service.request_refused"

    def __init__(self, name: str, expected: str, received: str) -> None:
        super().__init__(f"{name}: expected {expected}, got {received}")
        self.name, self.expected, self.received = name, expected, received


class InvalidInput(RequestError):
    """The request does not match the schema of its path."""

    code = "service.invalid_input"


class UnknownPath(RequestError):
    """The service has no such path."""

    code = "service.not_found"


class WrongMethod(RequestError):
    """The path has other methods; `expected` lists them."""

    code = "service.method_not_allowed"


class TooSlow(RequestError):
    """The request did not arrive in time."""

    code = "service.too_slow"


class TooLarge(RequestError):
    """The body exceeds the limit."""

    code = "service.too_large"


class UnknownContentEncoding(RequestError):
    """The body has an unsupported Content-Encoding."""

    code = "service.unsupported_encoding"


class HeadTooLarge(RequestError):
    """The request line and headers exceed the limit."""

    code = "service.head_too_large"


class UnknownTransferEncoding(RequestError):
    """The body has an unsupported Transfer-Encoding."""

    code = "service.not_implemented"
