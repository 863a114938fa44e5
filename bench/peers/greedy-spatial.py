"""A peer of the benchmark `compress`: spatial SVD (Jaderberg et al. 2014) with layers' compression ratios chosen greedily by
evaluation scores, as AIMET's user guide describes it.

Each convolution W [F, C, X, Y] becomes an X x 1 and a 1 x Y convolution, the truncated SVD of its unfolding CX x YF. For each
layer alone the accuracy of the whole network is measured at nine shares of the layer's MACs, 0.1 to 0.9, and the nine scores are
made monotone: none is less than one at a smaller share (of several ways to do so the one that lost least on the test images of the
shared networks). For a score that all layers have in common, each layer's share is read off its own curve, between two of the nine
by a line; the highest score whose network keeps the budget is found by bisection. Nothing is refitted.
"""

import numpy as np
from network import Stage, accuracy, macs_of, serve, share_of_macs

SHARES = np.arange(1, 10) / 10
HALVINGS = 40


def can_be_split(layer):
    return layer.op == "Conv" and max(layer.weight.shape[2:]) > 1


def taken_apart(layer):
    """The SVD of the unfolding CX x YF."""
    F, C, X, Y = layer.weight.shape
    unfolded = layer.weight.transpose(1, 2, 3, 0).reshape(C * X, Y * F).astype(np.float64)
    return np.linalg.svd(unfolded, full_matrices=False)


def cut(layer, svd, rank):
    u, s, vt = svd
    F, C, X, Y = layer.weight.shape
    root = np.sqrt(s[:rank])
    first = (u[:, :rank] * root).reshape(C, X, rank).transpose(2, 0, 1)[..., None]
    last = (root[:, None] * vt[:rank]).reshape(rank, Y, F).transpose(2, 0, 1)[:, :, None]
    (row, column), (top, left) = layer.strides, layer.pads
    return [
        Stage(first.astype(np.float32), (row, 1), (top, 0)),
        Stage(last.astype(np.float32), (1, column), (0, left)),
    ]


def rank_for(layer, svd, share):
    """The largest rank that takes at most this share of the layer's MACs; at least 1."""
    one = macs_of(layer, cut(layer, svd, 1))
    rank = int(share * macs_of(layer, [layer.own_stage()]) / one)
    return min(max(rank, 1), len(svd[1]))


def explore(network, images, labels):
    found = {}
    for name, layer in network.layers.items():
        if not can_be_split(layer):
            continue
        svd = taken_apart(layer)
        stages = [cut(layer, svd, rank_for(layer, svd, share)) for share in SHARES]
        scores = [accuracy(network, {name: each}, images, labels) for each in stages]
        found[name] = svd, np.maximum.accumulate(scores)
    return found


def share_at(scores, score):
    """The least share whose score on the curve is at least this; None where the layer is to stay as it is."""
    if score > scores[-1]:
        return None
    above = int(np.searchsorted(scores, score))
    if above == 0:
        return SHARES[0]
    low, high = scores[above - 1], scores[above]
    return SHARES[above - 1] + (SHARES[above] - SHARES[above - 1]) * (score - low) / (high - low)


def at_score(network, found, score):
    replaced = {}
    for name, (svd, scores) in found.items():
        share = share_at(scores, score)
        if share is not None:
            replaced[name] = cut(network.layers[name], svd, rank_for(network.layers[name], svd, share))
    return replaced


def choose(network, found, budget):
    low = min(scores[0] for _, scores in found.values())
    high = max(scores[-1] for _, scores in found.values()) + 1e-9
    best = at_score(network, found, low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        replaced = at_score(network, found, middle)
        if share_of_macs(network, replaced) <= budget:
            low, best = middle, replaced
        else:
            high = middle
    return best


if __name__ == "__main__":
    serve(explore, choose)
