"""Error classes of the pipeline, the service with training, and the engine, with their codes."""

from __future__ import annotations

from types import ModuleType

import errors as pipeline_errors
from app import errors as app_errors
from daggerw_engine import errors as engine_errors

MODULES = (pipeline_errors, app_errors, engine_errors)
# Groups, which are raised only as one of their subclasses.
GROUPS = {"pipeline.failed", "google.failed", "service.failed", "training.failed", "service.request_refused"}


def error_classes(module: ModuleType) -> list[type[Exception]]:
    """Return the error classes that a module defines."""
    types = (each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Exception))
    return [each for each in types if each.__module__ == module.__name__]


def own_codes() -> list[str]:
    """Return the code that each class defines itself."""
    return [
        vars(each)["code"] for module in MODULES for each in error_classes(module) if "code" in vars(each)
    ]
