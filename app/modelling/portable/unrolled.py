"""Unrolled linear models: a Python function with a product for each coefficient.

There is no source text: the function is built as a syntax tree, so nothing in a model file can become code.
What comes from the file are constants, which were checked to be finite doubles.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, TypedDict

from app.modelling.portable.model import Model, Row, Scores
from app.modelling.portable.operations import Arithmetic, Clip

MAX_PRODUCTS = 1000  # more are no faster than a loop, and take long to build
MAX_STEPS = 100  # more are too deep for Python's compiler


class _Place(TypedDict):
    lineno: int
    col_offset: int


_AT: _Place = {"lineno": 1, "col_offset": 0}  # Python wants to know a line of everything
_LOAD, _STORE = ast.Load(), ast.Store()
_ADD, _MULTIPLY, _DIVIDE = ast.Add(), ast.Mult(), ast.Div()
_LESS, _MORE = ast.Lt(), ast.Gt()
_OPERATORS: dict[str, ast.operator] = {
    "add": _ADD,
    "subtract": ast.Sub(),
    "multiply": _MULTIPLY,
    "divide": _DIVIDE,
}


def is_possible(model: Model) -> bool:
    """Return whether a model is small, linear, and has only steps that change all features."""
    if model.coefficients is None or len(model.coefficients) > MAX_PRODUCTS or len(model.steps) > MAX_STEPS:
        return False
    return all(isinstance(step, Arithmetic | Clip) and step.columns is None for step in model.steps)


def row_scores(model: Model) -> Callable[[Row], Scores]:
    """Return a function that takes a row and returns its score, or the tuple of its scores."""
    scores, features = _names("s", len(model.start)), _names("x", model.features)
    body = [_unpack(features, "row"), *_steps(model, features), *_products(model, features)]
    result = _load("s0") if len(scores) == 1 else _tuple(scores, _LOAD)
    function: Callable[[Row], Scores] = _function(["row"], [*body, ast.Return(result, **_AT)])
    return function


def _steps(model: Model, names: Iterable[str]) -> Iterator[ast.stmt]:
    for index, name in enumerate(names):
        changed = _load(name)
        for step in model.steps:
            if isinstance(step, Clip):
                yield _assign(name, changed)
                changed = _clip(name, step.minimum, step.maximum)
            elif isinstance(step, Arithmetic):
                value = _number(step.values[index])
                changed = ast.BinOp(changed, _OPERATORS[step.operation], value, **_AT)
        yield _assign(name, changed)


def _clip(name: str, smallest: float, largest: float) -> ast.expr:
    upper = ast.IfExp(_compare(name, _MORE, largest), _number(largest), _load(name), **_AT)
    return ast.IfExp(_compare(name, _LESS, smallest), _number(smallest), upper, **_AT)


def _products(model: Model, features: Sequence[str]) -> Iterator[ast.stmt]:
    weights = iter(model.coefficients or ())
    for score, start in zip(_names("s", len(model.start)), model.start, strict=True):
        for number, feature in enumerate(features):
            product = ast.BinOp(_load(feature), _MULTIPLY, _number(next(weights)), **_AT)
            yield _change("sum", _ADD, product) if number else _assign("sum", product)
        yield _assign(score, ast.BinOp(_number(start), _ADD, _load("sum"), **_AT))
        if model.divisor != 1:
            yield _change(score, _DIVIDE, _number(float(model.divisor)))


def _function(arguments: Sequence[str], body: list[ast.stmt]) -> Any:
    names = [ast.arg(name, **_AT) for name in arguments]
    taken = ast.arguments(posonlyargs=[], args=names, kwonlyargs=[], kw_defaults=[], defaults=[])
    function = ast.FunctionDef("unrolled", taken, body, [], **_AT)
    namespace: dict[str, Any] = {"__builtins__": {}}
    exec(compile(ast.Module([function], []), "<model>", "exec", dont_inherit=True), namespace)
    return namespace["unrolled"]


def _names(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


@cache
def _load(name: str) -> ast.expr:
    return ast.Name(name, _LOAD, **_AT)


@cache
def _store(name: str) -> ast.Name:
    return ast.Name(name, _STORE, **_AT)


def _number(value: float) -> ast.expr:
    return ast.Constant(value, **_AT)


def _tuple(names: Iterable[str], context: ast.expr_context) -> ast.expr:
    return ast.Tuple([ast.Name(name, context, **_AT) for name in names], context, **_AT)


def _unpack(names: Iterable[str], source: str) -> ast.stmt:
    return ast.Assign([_tuple(names, _STORE)], _load(source), **_AT)


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([_store(name)], value, **_AT)


def _change(name: str, operator: ast.operator, value: ast.expr) -> ast.stmt:
    return ast.AugAssign(_store(name), operator, value, **_AT)


def _compare(name: str, operator: ast.cmpop, value: float) -> ast.expr:
    return ast.Compare(_load(name), [operator], [_number(value)], **_AT)
