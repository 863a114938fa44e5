"""Trains the demo's network, examples/digits.onnx, with PyTorch: four convolutions and three fully connected layers, as in
the paper, on coloured digits (digits-data.ts writes them).

    tsx -C source bench/peers/digits-data.ts digits.npz
    python bench/peers/train_digits.py digits.npz examples/digits.onnx
"""

import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, EPOCHS, RATE = 128, 3, 1.5e-3


def build():
    return nn.Sequential(
        nn.Conv2d(3, 48, 7, padding=3), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(48, 96, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(96, 128, 3, padding=1), nn.ReLU(),
        nn.Conv2d(128, 96, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        nn.Flatten(), nn.Linear(96 * 16, 384), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(384, 256), nn.ReLU(), nn.Linear(256, 10),
    )


def images(x):
    x = torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2) / 255
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        right = sum((net(x[i : i + 500]).argmax(1) == y[i : i + 500]).sum().item() for i in range(0, len(x), 500))
    net.train()
    return right / len(x)


def train(net, x, y, test):
    steps = EPOCHS * (len(x) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1)
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x))
        for i in range(0, len(x) - BATCH + 1, BATCH):
            batch = order[i : i + BATCH]
            loss = F.cross_entropy(net(x[batch]), y[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            schedule.step()
        print(f"epoch {epoch + 1}: top-1 {accuracy(net, *test):.4f}", flush=True)


def export(net, path):
    nodes, tensors, value = [], [], "image"
    layers = [m for m in net if not isinstance(m, nn.Dropout)]
    for i, layer in enumerate(layers):
        out = "logits" if i == len(layers) - 1 else f"v{i}"
        name = f"{type(layer).__name__.lower()}{i}"
        inputs, attributes = [value], {}
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            for key in ("weight", "bias"):
                tensors.append(numpy_helper.from_array(getattr(layer, key).detach().numpy(), f"{name}.{key}"))
                inputs.append(f"{name}.{key}")
        if isinstance(layer, nn.Conv2d):
            op, attributes = "Conv", {"kernel_shape": layer.kernel_size, "pads": layer.padding * 2}
        elif isinstance(layer, nn.Linear):
            op, attributes = "Gemm", {"transB": 1}
        elif isinstance(layer, nn.MaxPool2d):
            op, attributes = "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
        else:
            op = {"ReLU": "Relu", "Flatten": "Flatten"}[type(layer).__name__]
        nodes.append(helper.make_node(op, inputs, [out], name=name, **attributes))
        value = out
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="lowrank")
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    torch.manual_seed(0)
    data = np.load(sys.argv[1])
    part = lambda name: (images(data[f"x_{name}"]), torch.from_numpy(data[f"y_{name}"].astype(np.int64)))
    net = build()
    for layer in net:
        if hasattr(layer, "weight"):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    train(net, *part("train"), part("test"))
    export(net, sys.argv[2])
