"""PyTorch's side of the benchmark `train`: two training steps of an ONNX classifier, the second timed, for each line that
it is sent.

    python3 bench/peers/train.py MODEL BATCH THREADS

The network is the ONNX graph itself, its nodes called one after the other as torch.nn.functional, its constants
parameters; the operators are those of the shared CIFAR-10 networks.
"""

import json
import resource
import sys
import time

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

CLASSES, RATE = 10, 1e-5


def call(node, attributes, x, fixed):
    """One node; `fixed` holds what is computed from constants alone."""
    op = node.op_type
    if op == "Conv":
        pads = attributes.get("pads", [0] * 4)
        assert pads[:2] == pads[2:], "uneven padding"
        return F.conv2d(*x, stride=attributes["strides"], padding=pads[:2], groups=attributes.get("group", 1))
    if op == "MaxPool":
        return F.max_pool2d(x[0], attributes["kernel_shape"], attributes["strides"], attributes["pads"][:2])
    if op == "Relu":
        return F.relu(x[0])
    if op == "Add":
        return x[0] + x[1]
    if op in ("GlobalAveragePool", "ReduceMean"):
        return x[0].mean((2, 3), keepdim=op == "GlobalAveragePool" or attributes.get("keepdims", 1) == 1)
    if op == "AveragePool":
        return F.avg_pool2d(x[0], attributes["kernel_shape"], attributes.get("strides", [1, 1]))
    if op in ("Flatten", "Reshape"):
        return x[0].flatten(1)
    if op == "Gemm":
        assert attributes.get("transB") == 1
        return F.linear(*x)
    if op == "Slice":
        starts, ends, axes, steps = (fixed[name].tolist() for name in node.input[1:5])
        where = [slice(None)] * x[0].dim()
        for start, end, axis, step in zip(starts, ends, axes, steps):
            where[axis] = slice(start, min(end, x[0].shape[axis]), step)
        return x[0][tuple(where)]
    if op == "Pad":
        pads = fixed[node.input[1]].tolist()
        half = len(pads) // 2
        return F.pad(x[0], [p for axis in reversed(range(half)) for p in (pads[axis], pads[axis + half])])
    raise SystemExit(f"the peer does not know {op}")


def constants_of(graph):
    """Values of all nodes that depend on constants alone, by onnx's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    known = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for node in graph.node:
        if all(name in known for name in node.input if name):
            inner = onnx.helper.make_graph(
                [node], "one", [onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(known[n].dtype), known[n].shape) for n in node.input if n],
                [onnx.helper.make_tensor_value_info(n, 0, None) for n in node.output],
            )
            model = onnx.helper.make_model(inner, opset_imports=[onnx.helper.make_opsetid("", 13)])
            found = ReferenceEvaluator(model).run(None, {n: known[n] for n in node.input if n})
            known.update(zip(node.output, found))
    return known


def main(path, batch, threads):
    torch.set_num_threads(threads)
    graph = onnx.load(path).graph
    fixed = constants_of(graph)
    weights = {
        t.name: torch.nn.Parameter(torch.from_numpy(numpy_helper.to_array(t).copy()))
        for t in graph.initializer
        if t.data_type == onnx.TensorProto.FLOAT
    }
    nodes = [
        (node, {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
        for node in graph.node
        if node.output[0] not in fixed
    ]

    def forward(x):
        values = {**weights, graph.input[0].name: x}
        for node, attributes in nodes:
            inputs = [values[name] for name in node.input if name in values]
            values[node.output[0]] = call(node, attributes, inputs, fixed)
        return values[graph.output[0].name]

    numbers = (np.arange(batch * 3 * 1024, dtype=np.int64) * 7919) % 1009
    images = torch.from_numpy((numbers / 504.5 - 1).astype(np.float32).reshape(batch, 3, 32, 32))
    labels = torch.arange(batch) % CLASSES
    decayed = [w for w in weights.values() if w.dim() > 1]
    plain = [w for w in weights.values() if w.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=RATE, momentum=0.9, nesterov=True)
    for _ in sys.stdin:
        for _ in range(2):
            start = time.perf_counter()
            loss = F.cross_entropy(forward(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "loss": loss.item()}), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"version": torch.__version__, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
