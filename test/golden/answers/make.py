"""Makes custom-vision.onnx: a small classifier whose outputs are those of Custom Vision, a string and a sequence of maps, neither of which
a session in Node can give out. Run with the onnx package: python3 make.py"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(1)


def weight(name, shape, scale):
    return numpy_helper.from_array((scale * rng.standard_normal(shape)).astype(np.float32), name)


labels = helper.make_tensor("labels", TensorProto.STRING, [5], [b"cat", b"dog", b"fox", b"hen", b"owl"])
nodes = [
    helper.make_node("Conv", ["data", "w1"], ["c1"], "conv1", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    helper.make_node("Relu", ["c1"], ["r1"]),
    helper.make_node("Conv", ["r1", "w2"], ["c2"], "conv2", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    helper.make_node("Relu", ["c2"], ["r2"]),
    helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
    helper.make_node("Flatten", ["p"], ["f"]),
    helper.make_node("Gemm", ["f", "w3"], ["z"], "fc", transB=1),
    helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    helper.make_node("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=0),
    helper.make_node("ArrayFeatureExtractor", ["labels", "best"], ["classLabel"], domain="ai.onnx.ml"),
    helper.make_node(
        "ZipMap", ["probabilities"], ["loss"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog", "fox", "hen", "owl"]
    ),
]
map_type = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
graph = helper.make_graph(
    nodes,
    "custom vision",
    [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["N", 3, 32, 32])],
    [
        helper.make_tensor_value_info("classLabel", TensorProto.STRING, [1, "N"]),
        helper.make_value_info("loss", helper.make_sequence_type_proto(map_type)),
    ],
    [
        labels,
        weight("w1", [16, 3, 3, 3], 0.3),
        weight("w2", [32, 16, 3, 3], 0.12),
        weight("w3", [5, 32], 2.0),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)])
model.ir_version = 7
onnx.checker.check_model(model)
onnx.save(model, "custom-vision.onnx")
