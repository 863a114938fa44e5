"""What the peers of the benchmark `compress` share: an ONNX classifier read, its layers replaced by smaller ones in a row, run on
images with PyTorch, counted, and written as ONNX again.

A replacement is a list of stages. A stage is a weight, [F, C, X, Y] of a convolution or [F, C] of a fully connected layer, with
the strides and the padding of its rows and columns; the layer's bias goes to the last stage.
"""

import json
import os
import sys
import time
from typing import NamedTuple

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from train import call, constants_of

BATCH = 128


class Stage(NamedTuple):
    weight: np.ndarray
    strides: tuple = (1, 1)
    pads: tuple = (0, 0)


class Layer(NamedTuple):
    """A Conv, or a Gemm x W' + b, whose weight is a constant."""

    name: str
    op: str
    weight: np.ndarray
    bias: np.ndarray
    strides: tuple
    pads: tuple
    size: tuple  # height and width of its input; (1, 1) of a Gemm

    def own_stage(self):
        return Stage(self.weight, self.strides, self.pads)


class Network(NamedTuple):
    model: onnx.ModelProto
    constants: dict
    nodes: list  # those that depend on the image, each with its attributes
    layers: dict  # by the name of the node's output


def attributes_of(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def load(path, image_shape):
    """@param image_shape [C, H, W]"""
    model = onnx.load(path)
    constants = {name: np.array(value) for name, value in constants_of(model.graph).items()}
    nodes = [(node, attributes_of(node)) for node in model.graph.node if node.output[0] not in constants]
    network = Network(model, constants, nodes, {})
    sizes = {}
    forward(network, torch.zeros(1, *image_shape), {}, sizes)
    for node, attributes in nodes:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in constants:
            network.layers[node.output[0]] = layer_of(node, attributes, constants, sizes[node.input[0]])
    return network


def layer_of(node, attributes, constants, input_shape):
    conv = node.op_type == "Conv"
    assert attributes.get("group", 1) == 1 and set(attributes.get("dilations", [1])) == {1}, node.name
    assert conv or attributes.get("transB") == 1, node.name
    pads = attributes.get("pads", [0] * 4)
    assert pads[:2] == pads[2:], f"{node.name}: uneven padding"
    weight = constants[node.input[1]]
    bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(len(weight), np.float32)
    strides = tuple(attributes.get("strides", [1, 1]))
    size = tuple(input_shape[2:]) if conv else (1, 1)
    return Layer(node.output[0], node.op_type, weight, bias, strides, tuple(pads[:2]), size)


def run_stages(layer, stages, x):
    for index, (weight, strides, pads) in enumerate(stages):
        weight = torch.from_numpy(weight)
        bias = torch.from_numpy(layer.bias) if index == len(stages) - 1 else None
        x = F.conv2d(x, weight, bias, strides, pads) if layer.op == "Conv" else F.linear(x, weight, bias)
    return x


def forward(network, x, replaced, sizes=None):
    """The network's answers [N, classes], some layers replaced. `sizes`, where given, receives every value's shape."""
    graph = network.model.graph
    values = {name: torch.from_numpy(value) for name, value in network.constants.items()}
    values[graph.input[0].name] = x
    with torch.no_grad():
        for node, attributes in network.nodes:
            name = node.output[0]
            inputs = [values[each] for each in node.input if each in values]
            if name in replaced:
                values[name] = run_stages(network.layers[name], replaced[name], inputs[0])
            else:
                values[name] = call(node, attributes, inputs, network.constants)
    if sizes is not None:
        sizes.update((name, tuple(value.shape)) for name, value in values.items())
    return values[graph.output[0].name]


def accuracy(network, replaced, images, labels):
    """The share of images, a float32 tensor [N, C, H, W], whose top answer is their label."""
    parts = [forward(network, part, replaced).argmax(1) for part in images.split(BATCH)]
    return (torch.cat(parts) == labels).double().mean().item()


def macs_of(layer, stages):
    """Multiply-accumulates for one image."""
    total, size = 0, layer.size
    for weight, strides, pads in stages:
        if layer.op == "Conv":
            size = tuple((size[i] + 2 * pads[i] - weight.shape[2 + i]) // strides[i] + 1 for i in (0, 1))
        total += weight.size * size[0] * size[1]
    return total


def share_of_macs(network, replaced):
    """Of the whole original's."""
    own = {name: macs_of(layer, [layer.own_stage()]) for name, layer in network.layers.items()}
    left = {name: macs_of(network.layers[name], stages) for name, stages in replaced.items()}
    return sum({**own, **left}.values()) / sum(own.values())


def write(network, replaced, path):
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    graph = model.graph
    nodes = []
    for node in network.model.graph.node:
        if node.output[0] in replaced:
            nodes += written_stages(graph, network.layers[node.output[0]], replaced[node.output[0]], node.input[0])
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def written_stages(graph, layer, stages, source):
    """The stages' nodes; their weights go into the graph."""
    nodes = []
    for index, (weight, strides, pads) in enumerate(stages):
        last = index == len(stages) - 1
        tensors = {f"{layer.name}_weight{index}": weight, **({f"{layer.name}_bias": layer.bias} if last else {})}
        graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(t), n) for n, t in tensors.items())
        output = layer.name if last else f"{layer.name}_stage{index}"
        if layer.op == "Conv":
            settings = {"kernel_shape": weight.shape[2:], "strides": strides, "pads": [*pads, *pads]}
        else:
            settings = {"transB": 1}
        nodes.append(onnx.helper.make_node(layer.op, [source, *tensors], [output], name=output, **settings))
        source = output
    return nodes


def serve(explore, choose):
    """
    Answers each line {"budget", "file"} with a network of at most that share of the MACs, written to that file.

        python3 SCRIPT.py MODEL FOLDER THREADS

    FOLDER holds images.f32, images.json (their shape [N, C, H, W]) and labels.i32, made by bench/compress-peers.ts.

    @param explore (network, images, labels) -> what the choice needs, found once
    @param choose (network, found, budget) -> stages by layer
    """
    path, folder, threads = sys.argv[1:4]
    torch.set_num_threads(int(threads))
    shape = json.load(open(os.path.join(folder, "images.json")))
    images = torch.from_numpy(np.fromfile(os.path.join(folder, "images.f32"), np.float32).reshape(shape))
    labels = torch.from_numpy(np.fromfile(os.path.join(folder, "labels.i32"), np.int32).astype(np.int64))
    network = load(path, shape[1:])
    start = time.perf_counter()
    found = explore(network, images, labels)
    explored = time.perf_counter() - start
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.perf_counter()
        replaced = choose(network, found, asked["budget"])
        write(network, replaced, asked["file"])
        seconds = explored + time.perf_counter() - start
        ranks = {name: [len(stage.weight) for stage in stages[:-1]] for name, stages in replaced.items()}
        print(json.dumps({"seconds": seconds, "macs": share_of_macs(network, replaced), "ranks": ranks}), flush=True)
    print(json.dumps({"version": torch.__version__}), flush=True)
