"""The peers' models: each estimator as ONNX.

skl2onnx knows no histogram boosting, so its trees are written here, from their portable form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import skl2onnx
from onnx import helper
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from app.modelling.portable.model import LEAF, MISSING_RIGHT, Forest
from training.portable_form.export import export

INPUT, OUTPUT = "X", "probability"


def write(estimator: Any, path: Path) -> None:
    """Write an estimator of two classes; its last output has the positive class's probability last."""
    if isinstance(estimator, HistGradientBoostingClassifier):
        found = _trees(estimator)
    else:
        row = np.zeros((1, estimator.n_features_in_), np.float32)
        found = skl2onnx.to_onnx(_without_functions(estimator), row, options={"zipmap": False})
    path.write_bytes(found.SerializeToString())


def _without_functions(estimator: Any) -> Any:
    """Return a pipeline without what skl2onnx can't convert; it changes no row that is measured."""
    if not isinstance(estimator, Pipeline):
        return estimator
    return Pipeline([each for each in estimator.steps if not isinstance(each[1], FunctionTransformer)])


def _trees(estimator: HistGradientBoostingClassifier) -> onnx.ModelProto:
    model = export(estimator, 1)
    assert model.forest
    trees = {"n_targets": 1, "base_values": [*model.start], **_attributes(model.forest)}
    nodes = [
        helper.make_node("TreeEnsembleRegressor", [INPUT], ["score"], domain="ai.onnx.ml", **trees),
        helper.make_node("Sigmoid", ["score"], [OUTPUT]),
    ]
    tensors = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, width])
        for name, width in ((INPUT, model.features), (OUTPUT, 1))
    ]
    graph = helper.make_graph(nodes, "trees", tensors[:1], tensors[1:])
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=versions, ir_version=10)


def _attributes(forest: Forest) -> dict[str, list[Any]]:
    """Return the trees as the operator TreeEnsembleRegressor of ai.onnx.ml has them."""
    names = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")
    nodes: dict[str, list[Any]] = {name: [] for name in (*names, "missing_value_tracks_true")}
    leaves: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree, (root, size) in enumerate(zip(forest.roots(), forest.sizes, strict=True)):
        for place in range(root, root + size):
            kind, following, threshold = forest.kinds[place], forest.nexts[place], forest.thresholds[place]
            is_leaf = bool(kind & LEAF)
            left = 0 if is_leaf else following - root
            mode, feature = ("LEAF", 0) if is_leaf else ("BRANCH_LEQ", kind & 0xFFFFFF)
            tracks = 0 if is_leaf or kind & MISSING_RIGHT else 1
            values = (tree, place - root, feature, threshold, mode, left, left + (not is_leaf), tracks)
            for name, value in zip(nodes, values, strict=True):
                nodes[name].append(value)
            if is_leaf:
                for name, value in zip(
                    leaves, (tree, place - root, 0, forest.leaves[following]), strict=True
                ):
                    leaves[name].append(value)
    attributes = {f"nodes_{name}": values for name, values in nodes.items()}
    return attributes | {f"target_{name}": values for name, values in leaves.items()}
