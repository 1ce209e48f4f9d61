"""Pickle of an estimator: its bytes, and the classes, functions and packages that reading it needs."""

from __future__ import annotations

import pickle
import pickletools
from importlib import metadata

from app.errors import BadData
from app.modelling import estimator as scikit_learn
from app.modelling.estimator import Estimator

NAMELESS = ("<lambda>", "<locals>")


def serialize(estimator: Estimator) -> bytes:
    """Return the bytes of `model.joblib`. Raises BadData when no file can hold the estimator."""
    try:
        return scikit_learn.serialize(estimator)
    except Exception as error:  # what is pickled may be of any class, and raise anything
        reason = str(error)
        if any(word in reason for word in NAMELESS):
            reason = (
                "it has a lambda, or a function or class made inside of a function; define that at the head "
                "of a module in features/, and import it from there"
            )
        raise BadData(f"make_model(): the estimator can't be written to a file: {reason}") from error


def names(estimator: Estimator) -> set[tuple[str, str]]:
    """Return module and name of each class and function that an estimator's pickle names.

    Protocol 3 writes each of them whole, as the operand of GLOBAL (pickletools.py of CPython).
    """
    found = set()
    for opcode, operand, _ in pickletools.genops(pickle.dumps(estimator, protocol=3)):
        if opcode.name == "GLOBAL":
            module, _, name = str(operand).partition(" ")
            found.add((module, name))
    return found


def package_names(estimator: Estimator) -> set[str]:
    """Return the installed distributions that the names come from; the standard library and ours are none."""
    distributions = metadata.packages_distributions()
    tops = {module.partition(".")[0] for module, _ in names(estimator)}
    return {name for top in tops for name in distributions.get(top, ())}
