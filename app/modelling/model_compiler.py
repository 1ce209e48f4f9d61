"""Unroll a portable model into Python functions: a comparison for each split, a product for each coefficient.

That is two to three times as fast as walking lists of nodes (`python bench/scoring.py`). The functions are
built as syntax trees: there is no source text, so nothing in a model file can become code. What comes from
the file are constants, and `app.modelling.portable_model` has checked that these are finite doubles.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, TypedDict

from app.modelling.portable_model import Model, Step, Tree

Row = Sequence[float]
Scores = Any  # a double, or a tuple of them when there are several
Part = Callable[[Scores, Row], Scores]

# Of trees: fewer spend their time on calls, which unpack every feature, more lose the processor's cache.
NODES_A_FUNCTION, NODES_A_FEATURE = 1000, 50


class _Place(TypedDict):
    lineno: int
    col_offset: int


_AT: _Place = {"lineno": 1, "col_offset": 0}  # Python wants to know a line of everything
_LOAD, _STORE = ast.Load(), ast.Store()
_ADD, _MULTIPLY, _DIVIDE = ast.Add(), ast.Mult(), ast.Div()
_LESS, _AT_MOST, _MORE = ast.Lt(), ast.LtE(), ast.Gt()
_OPERATORS: dict[str, ast.operator] = {
    "add": _ADD,
    "subtract": ast.Sub(),
    "multiply": _MULTIPLY,
    "divide": _DIVIDE,
}


def preparation(model: Model) -> Callable[[Row], Row] | None:
    """Return what a row must go through before the parts take it, or None."""
    if not model.steps or model.coefficients:
        return None
    names = _names("x", model.features)
    body = [_unpack(names, "row"), *_steps(model.steps, names), ast.Return(_tuple(names, _LOAD), **_AT)]
    function: Callable[[Row], Row] = _function(["row"], body)
    return function


def parts(model: Model) -> list[Part]:
    """Return functions to be called in order: each takes scores and a prepared row, and returns new scores.

    The last of them divides by the model's divisor.
    """
    if model.coefficients:
        steps = _steps(model.steps, _names("x", model.features))
        return [_part(model, [*steps, *_products(model.coefficients), *_division(model)])]
    *groups, last = _groups(model)
    found = [_part(model, [line for tree in group for line in _tree(tree, model)]) for group in groups]
    final = [line for tree in last for line in _tree(tree, model)]
    return [*found, _part(model, [*final, *_division(model)])]


def _part(model: Model, body: list[ast.stmt]) -> Part:
    scores = _names("s", len(model.start))
    unpacked = [_unpack(_names("x", model.features), "row")]
    part: Part
    if len(scores) == 1:
        part = _function(["s0", "row"], [*unpacked, *body, ast.Return(_load("s0"), **_AT)])
    else:
        unpacked.append(_unpack(scores, "scores"))
        part = _function(["scores", "row"], [*unpacked, *body, ast.Return(_tuple(scores, _LOAD), **_AT)])
    return part


def _groups(model: Model) -> Iterator[list[Tree]]:
    limit = max(NODES_A_FUNCTION, NODES_A_FEATURE * model.features)
    group: list[Tree] = []
    nodes = 0
    for tree in model.trees:
        nodes += len(tree.features)
        if group and nodes > limit:
            yield group
            group, nodes = [], len(tree.features)
        group.append(tree)
    yield group


def _steps(steps: Iterable[Step], names: Iterable[str]) -> Iterator[ast.stmt]:
    for index, name in enumerate(names):
        changed = _load(name)
        for step in steps:
            if step.operation == "clip":
                yield _assign(name, changed)
                changed = _clipped(name, *step.values)
            else:
                value = _number(step.values[index])
                changed = ast.BinOp(changed, _OPERATORS[step.operation], value, **_AT)
        yield _assign(name, changed)


def _clipped(name: str, smallest: float, largest: float) -> ast.expr:
    upper = ast.IfExp(_compared(name, _MORE, largest), _number(largest), _load(name), **_AT)
    return ast.IfExp(_compared(name, _LESS, smallest), _number(smallest), upper, **_AT)


def _products(coefficients: Sequence[Sequence[float]]) -> Iterator[ast.stmt]:
    for index, row in enumerate(coefficients):
        for number, weight in enumerate(row):
            product = ast.BinOp(_load(f"x{number}"), _MULTIPLY, _number(weight), **_AT)
            yield _change("sum", _ADD, product) if number else _assign("sum", product)
        yield _change(f"s{index}", _ADD, _load("sum"))


def _division(model: Model) -> Iterator[ast.stmt]:
    if model.divisor != 1:
        for name in _names("s", len(model.start)):
            yield _change(name, _DIVIDE, _number(float(model.divisor)))


def _tree(tree: Tree, model: Model) -> list[ast.stmt]:
    features, thresholds, leaves = iter(tree.features), iter(tree.thresholds), iter(tree.leaves)
    outputs = range(len(model.start)) if tree.output is None else [tree.output]

    def leaf() -> list[ast.stmt]:
        values = zip(outputs, islice(leaves, len(outputs)), strict=True)
        changes = [_change(f"s{output}", _ADD, _number(value)) for output, value in values if value]
        return changes or [ast.Pass(**_AT)]

    def grown() -> list[ast.stmt]:
        feature = next(features)
        if feature < 0:
            return leaf()
        test = _compared(f"x{feature}", _AT_MOST, next(thresholds))
        return [ast.If(test, grown(), grown(), **_AT)]

    return grown()


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


def _compared(name: str, operator: ast.cmpop, value: float) -> ast.expr:
    return ast.Compare(_load(name), [operator], [_number(value)], **_AT)
