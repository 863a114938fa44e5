"""Writes training.json: losses with their gradients, five steps of optimisers on a small net, clipped gradients, as PyTorch
computes them in float64.

    python3 test/golden/finetune/make.py

Needs torch and numpy. Numbers that go in are those of ../autodiff/recipe.py, so that the tests can make them again.
"""

import base64
import json
import os
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(FOLDER, "..", "autodiff"))
from recipe import uniform  # noqa: E402

N, K = 6, 5
LABELS = [0, 3, 4, 1, 3, 2]
STEPS = 5
WEIGHTS = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (K, 4 * 4 * 4), "b2": (K,)}


def data(dims, seed, low=-1.0, high=1.0):
    return torch.tensor(uniform(dims, seed, low, high), dtype=torch.float64)


def encode(tensor):
    return base64.b64encode(tensor.detach().numpy().astype("<f4").tobytes()).decode()


def losses():
    logits, teacher = data((N, K), 1, -3, 3), data((N, K), 2, -4, 4)
    labels = torch.tensor(LABELS)

    def distillation(x, T):
        return T * T * F.kl_div(F.log_softmax(x / T, 1), F.softmax(teacher / T, 1), reduction="batchmean")

    cases = [
        ({"kind": "cross-entropy"}, lambda x: F.cross_entropy(x, labels)),
        ({"kind": "cross-entropy", "smoothing": 0.1}, lambda x: F.cross_entropy(x, labels, label_smoothing=0.1)),
        ({"kind": "distillation"}, lambda x: distillation(x, 1)),
        ({"kind": "distillation", "temperature": 4}, lambda x: distillation(x, 4)),
    ]
    found = []
    for loss, f in cases:
        x = logits.clone().requires_grad_()
        value = f(x)
        value.backward()
        found.append({"loss": loss, "value": value.item(), "grad": encode(x.grad)})
    return found


class Net(nn.Module):
    """Conv 3x3, tanh, fully connected: smooth, so that rounding decides nothing."""

    def __init__(self):
        super().__init__()
        for i, (name, dims) in enumerate(WEIGHTS.items()):
            setattr(self, name, nn.Parameter(data(dims, 10 + i, -0.3, 0.3)))

    def forward(self, x):
        return F.linear(torch.tanh(F.conv2d(x, self.w1, self.b1, padding=1)).flatten(1), self.w2, self.b2)


def train(make, clip, rates):
    """Steps with weight decay on weights of two axes or more; the norms of the gradients before clipping."""
    net = Net()
    parameters = dict(net.named_parameters())
    optimiser = make([p for p in parameters.values() if p.dim() > 1], [p for p in parameters.values() if p.dim() <= 1])
    norms, values = [], []
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = rates[step]
        optimiser.zero_grad()
        loss = F.cross_entropy(net(data((N, 3, 4, 4), 100 + step)), torch.tensor(LABELS))
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), clip or 1e9)))
        values.append(loss.item())
        optimiser.step()
    return {"losses": values, "norms": norms, "weights": {name: encode(p) for name, p in parameters.items()}}


def groups(matrices, vectors, decay):
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def optimisers():
    def sgd(momentum, decay):
        return lambda m, v: torch.optim.SGD(groups(m, v, decay), lr=1, momentum=momentum, nesterov=momentum > 0)

    def adamw(decay):
        return lambda m, v: torch.optim.AdamW(groups(m, v, decay), lr=1, betas=(0.9, 0.999), eps=1e-8)

    rates = [0.05, 0.1, 0.2, 0.1, 0.05]
    small = [rate / 10 for rate in rates]
    adam = {"kind": "adamw", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    cases = [
        ({"kind": "sgd", "momentum": 0.9, "weightDecay": 0.05}, None, rates, sgd(0.9, 0.05)),
        ({"kind": "sgd", "momentum": 0, "weightDecay": 0}, None, rates, sgd(0, 0)),
        ({"kind": "sgd", "momentum": 0.9, "weightDecay": 0.05}, 1.6, rates, sgd(0.9, 0.05)),
        ({**adam, "weightDecay": 0.1}, None, small, adamw(0.1)),
        ({**adam, "weightDecay": 0.1}, 0.5, small, adamw(0.1)),
    ]
    return [
        {"optimiser": optimiser, "clip": clip, "rates": rates, **train(make, clip, rates)}
        for optimiser, clip, rates, make in cases
    ]


golden = {"labels": LABELS, "losses": losses(), "optimisers": optimisers()}
with open(os.path.join(FOLDER, "training.json"), "w") as file:
    json.dump(golden, file, indent=1)
    file.write("\n")
