"""Writes small networks as PyTorch exports them, without weights (NAME.onnx), and the gradients of their cross-entropy loss with
respect to every weight and to the images as PyTorch computes them in float64 (networks.json).

    python3 test/golden/autodiff/networks.py

Needs torch and numpy. Weights, images and labels come from recipe.py, so that the tests can make them again.
"""

import base64
import io
import json
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from recipe import uniform

FOLDER = os.path.dirname(os.path.abspath(__file__))
IMAGES, CLASSES = 3, 5


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.fc1 = nn.Linear(32, 10)
        self.fc2 = nn.Linear(10, CLASSES)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = F.max_pool2d(torch.relu(self.conv2(x)), 3, 2, 1)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv1, self.norm1 = nn.Conv2d(6, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.shortcut, self.shortcut_norm = nn.Conv2d(6, 8, 1, 2, bias=False), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = torch.relu(self.stem_norm(self.stem(x)))
        y = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        x = torch.relu(y + self.shortcut_norm(self.shortcut(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Mobile(nn.Module):
    """Depthwise separable, with squeeze and excitation and hard-swish."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2, 1)
        self.expand = nn.Conv2d(6, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 5, 1, 2, groups=12)
        self.squeeze, self.excite = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1)
        self.project = nn.Conv2d(12, 6, 1)
        self.down = nn.Conv2d(6, 12, 3, 2, 1, groups=6)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        y = F.hardswish(self.depthwise(F.hardswish(self.expand(x))))
        gate = self.excite(torch.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1))))
        x = x + self.project(y * F.hardsigmoid(gate))
        return self.fc(F.relu6(self.down(x)).mean((2, 3)))


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, 2)
        self.one = nn.Conv2d(6, 4, 1)
        self.three1, self.three2 = nn.Conv2d(6, 3, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.seven1, self.seven2 = nn.Conv2d(6, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, (7, 1), padding=(3, 0))
        self.pool = nn.Conv2d(6, 3, 1)
        self.fc = nn.Linear(15, CLASSES)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        pooled = self.pool(F.max_pool2d(x, 3, 1, 1) + F.avg_pool2d(x, 3, 1, 1))
        branches = [self.one(x), self.three2(torch.relu(self.three1(x))), self.seven2(self.seven1(x)), pooled]
        x = F.leaky_relu(torch.cat(branches, 1), 0.1)
        return self.fc(F.dropout(F.adaptive_avg_pool2d(x, 1).flatten(1), 0.4, self.training))


class Transformer(nn.Module):
    """One block of attention over patches."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.heads = heads
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(torch.zeros(1, 9, width))
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.fc = nn.Linear(width, CLASSES)

    def attention(self, x):
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, tokens, width))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.position
        x = x + self.attention(self.norm1(x))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.fc(self.norm3(x).mean(1))


def fill(net):
    """Gives every weight and statistic its recipe: spread by the number of inputs, gains and variances above 0."""
    recipes = {}
    for i, (name, tensor) in enumerate([*net.named_parameters(), *net.named_buffers()]):
        if tensor.dtype != torch.float32:
            continue
        dims = list(tensor.shape)
        wide = (3 / np.prod(dims[1:])) ** 0.5 if len(dims) > 1 else 0.2
        gain = name.endswith("running_var") or ("norm" in name and name.endswith("weight"))
        low, high = (0.5, 1.5) if gain else (-float(np.float32(wide)), float(np.float32(wide)))
        recipes[name] = {"dims": dims, "seed": 10 + i, "range": [low, high]}
        tensor.data = torch.tensor(uniform(dims, 10 + i, low, high))
    return recipes


def network(name, net):
    net.eval()
    recipes = fill(net)
    x = {"dims": [IMAGES, 3, 12, 12], "seed": 1, "range": [-1, 1]}
    images = torch.tensor(uniform(x["dims"], 1))
    file = io.BytesIO()
    preserve = torch.onnx.TrainingMode.PRESERVE
    names = dict(input_names=["x"], output_names=["logits"], dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}})
    torch.onnx.export(net, images, file, opset_version=17, export_params=False, training=preserve, do_constant_folding=False, **names)
    with open(os.path.join(FOLDER, f"{name}.onnx"), "wb") as out:
        out.write(file.getvalue())
    net.double()
    labels = [i % CLASSES for i in range(IMAGES)]
    precise = images.double().requires_grad_()
    loss = F.cross_entropy(net(precise), torch.tensor(labels))
    loss.backward()
    wanted = {"x": precise, **dict(net.named_parameters())}
    grads = {key: base64.b64encode(value.grad.numpy().astype("<f4").tobytes()).decode() for key, value in wanted.items()}
    return {"name": name, "x": x, "labels": labels, "classes": CLASSES, "values": recipes, "loss": loss.item(), "grads": grads}


nets = [network(net.__name__.lower(), net()) for net in (Plain, Residual, Mobile, Inception, Transformer)]
path = os.path.join(FOLDER, "networks.json")
with open(path, "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(each, separators=(",", ":")) for each in nets) + "\n]\n")
for each in nets:
    print(each["name"], os.path.getsize(os.path.join(FOLDER, each["name"] + ".onnx")), round(each["loss"], 4))
print(os.path.getsize(path), "bytes")
