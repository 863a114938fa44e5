"""Writes mahalanobis.json: what PyTorch finds in float64 of a small network's gradients for each image (Denton et al. 2014,
section 3.1): alpha and the full Mahalanobis distance of changes to each weight, and the exact second moment of the gradients at
each layer's outputs where labels are drawn from the network's own answers (the Fisher matrix's output side, for kfac).

    python3 test/golden/mahalanobis.py

Needs torch and numpy. Numbers that go in are those of autodiff/recipe.py, so that the tests can make them again.
"""

import base64
import json
import os
import sys

import torch
import torch.nn.functional as F

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(FOLDER, "autodiff"))
from recipe import uniform  # noqa: E402

N, K, H = 7, 5, 2
LABELS = [0, 3, 4, 1, 3, 2, 2]
DIMS = {"w1": (20, 3, 3, 3), "w2": (12, 20, 3, 3), "w3": (K, 192)}


def data(dims, seed, low=-1.0, high=1.0):
    return torch.tensor(uniform(dims, seed, low, high), dtype=torch.float64)


def encode(tensor):
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()


x = data((N, 3, 8, 8), 1)
weights = {name: data(dims, 10 + i, -0.4, 0.4).requires_grad_() for i, (name, dims) in enumerate(DIMS.items())}
biases = {name: data((dims[0],), 20 + i, -0.2, 0.2) for i, (name, dims) in enumerate(DIMS.items())}
changes = {name: data(dims, 30 + i, -0.1, 0.1) for i, (name, dims) in enumerate(DIMS.items())}


def forward(images):
    """The logits, and the outputs of the layers."""
    first = F.conv2d(images, weights["w1"], biases["w1"], padding=1)
    second = F.conv2d(torch.tanh(first), weights["w2"], biases["w2"], stride=2, padding=1)
    third = F.linear(torch.tanh(second).flatten(1), weights["w3"], biases["w3"])
    return third, {"w1": first, "w2": second, "w3": third}


squares = {name: torch.zeros(dims, dtype=torch.float64) for name, dims in DIMS.items()}
full = {name: 0.0 for name in DIMS}
moments = {name: torch.zeros(dims[0], dims[0], dtype=torch.float64) for name, dims in DIMS.items()}
confusable = []
for n in range(N):
    logits, outputs = forward(x[n : n + 1])
    others = [label for label in logits[0].argsort(descending=True).tolist() if label != LABELS[n]][:H]
    confusable.append(others)
    for label in others:
        # The gradient of cross-entropy towards the label is softmax - delta at the logits.
        loss = F.cross_entropy(logits, torch.tensor([label]))
        for name, d in zip(DIMS, torch.autograd.grad(loss, list(weights.values()), retain_graph=True)):
            squares[name] += d**2
            full[name] += float((d * changes[name]).sum()) ** 2
    for label, p in enumerate(F.softmax(logits[0], 0).tolist()):
        loss = F.cross_entropy(logits, torch.tensor([label]))
        for name, g in zip(outputs, torch.autograd.grad(loss, list(outputs.values()), retain_graph=True)):
            rows = g[0].reshape(g.shape[1], -1)
            moments[name] += p * rows @ rows.T / rows.shape[1] / N

golden = {
    "labels": LABELS,
    "confusable": confusable,
    "layers": [
        {"weight": name, "alpha": encode(squares[name].sqrt()), "full": full[name] ** 0.5, "outputs": encode(moments[name])}
        for name in DIMS
    ],
}
with open(os.path.join(FOLDER, "mahalanobis.json"), "w") as file:
    json.dump(golden, file, indent=1)
    file.write("\n")
