"""A peer of the benchmark `compress`: Tucker-2 with ranks by variational Bayes (Kim et al. 2016), without the fine-tuning that
follows there.

Each convolution W [F, C, X, Y] becomes a 1x1 C -> r1, an X x Y r1 -> r2 and a 1x1 r2 -> F convolution: the higher-order SVD
bettered by orthogonal iteration. The ranks are those of the unfoldings by C and by F by the global analytic solution of
empirical variational Bayes matrix factorisation (Nakajima et al. 2013). Where r1 is C or r2 is F the factor is left out. Fully
connected layers are cut by SVD at such a rank, but for the last, which is small and cannot spare it. To keep a budget of MACs all
ranks are multiplied by one number, the largest that does; layers that cost more in parts stay whole. The images are not looked at.
"""

import numpy as np
from network import Stage, macs_of, serve, share_of_macs

ITERATIONS = 10
HALVINGS = 40


def evbmf_rank(matrix):
    """How many singular values stand above the noise; the noise's variance minimises the free energy."""
    L, M = sorted(matrix.shape)
    squares = np.linalg.svd(matrix.astype(np.float64), compute_uv=False) ** 2
    alpha = L / M
    tau_bar = 2.5129 * np.sqrt(alpha)
    x_bar = (1 + tau_bar) * (1 + alpha / tau_bar)
    most = min(int(np.ceil(L / (1 + alpha))) - 1, L - 1)

    def energy(variance):
        x = np.maximum(squares / (M * variance), 1e-300)
        above = x[x > x_bar]
        tau = (above - (1 + alpha) + np.sqrt((above - (1 + alpha)) ** 2 - 4 * alpha)) / 2
        return np.sum(x - np.log(x)) + np.sum(np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau)

    low = max(squares[most] / (M * x_bar), squares[most:].mean() / M)
    variance = minimum(energy, low, squares.sum() / (L * M))
    return int(np.sum(squares > M * variance * x_bar))


def minimum(of, low, high, points=400, rounds=4):
    """Where the function is least: the best of a logarithmic grid, each grid finer than the last."""
    for _ in range(rounds):
        grid = np.geomspace(low, high, points)
        best = int(np.argmin([of(x) for x in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, points - 1)]
    return grid[best]


def by_channel(tensor):
    return np.moveaxis(tensor, 1, 0).reshape(tensor.shape[1], -1)


def by_output(tensor):
    return tensor.reshape(len(tensor), -1)


def explore(network, images, labels):
    """Ranks [r1, r2] of each convolution, [r] of each fully connected layer."""
    ranks = {}
    for name, layer in network.layers.items():
        if name == network.model.graph.output[0].name:
            continue
        unfoldings = [by_channel(layer.weight), by_output(layer.weight)] if layer.op == "Conv" else [layer.weight]
        ranks[name] = [max(1, evbmf_rank(each)) for each in unfoldings]
    return ranks


def leading(matrix, rank):
    """The first left singular vectors, as columns."""
    return np.linalg.eigh(matrix @ matrix.T)[1][:, ::-1][:, :rank]


def tucker2(layer, r1, r2):
    """Stages for r1 input and r2 output channels; a factor of full rank is left out."""
    F, C, _, _ = layer.weight.shape
    w = layer.weight.astype(np.float64)
    inputs = leading(by_channel(w), r1) if r1 < C else np.eye(C)
    outputs = leading(by_output(w), r2) if r2 < F else np.eye(F)
    for _ in range(ITERATIONS if r1 < C and r2 < F else 0):
        outputs = leading(by_output(np.einsum("fcxy,cr->frxy", w, inputs)), r2)
        inputs = leading(by_channel(np.einsum("fcxy,fr->rcxy", w, outputs)), r1)
    core = np.einsum("fcxy,cr,fs->srxy", w, inputs, outputs)
    stages = [Stage(inputs.T[:, :, None, None])] if r1 < C else []
    stages.append(Stage(core, layer.strides, layer.pads))
    if r2 < F:
        stages.append(Stage(outputs[:, :, None, None]))
    return [stage._replace(weight=stage.weight.astype(np.float32)) for stage in stages]


def svd(layer, rank):
    u, s, vt = np.linalg.svd(layer.weight.astype(np.float64), full_matrices=False)
    first, last = s[:rank, None] * vt[:rank], u[:, :rank]
    return [Stage(first.astype(np.float32)), Stage(last.astype(np.float32))]


def scaled(layer, ranks, factor):
    sides = layer.weight.shape[1::-1] if layer.op == "Conv" else [min(layer.weight.shape)]
    return tuple(min(max(1, round(factor * rank)), side) for rank, side in zip(ranks, sides))


def shapes(layer, ranks):
    """Stages of the right sizes, for counting alone."""
    if layer.op == "Gemm":
        F, C = layer.weight.shape
        return [Stage(np.empty((ranks[0], C))), Stage(np.empty((F, ranks[0])))]
    F, C, X, Y = layer.weight.shape
    r1, r2 = ranks
    first = [Stage(np.empty((r1, C, 1, 1)))] if r1 < C else []
    last = [Stage(np.empty((F, r2, 1, 1)))] if r2 < F else []
    return [*first, Stage(np.empty((r2, r1, X, Y)), layer.strides, layer.pads), *last]


def worth_it(layer, ranks):
    """A layer that would cost more in parts stays whole."""
    return macs_of(layer, shapes(layer, ranks)) < macs_of(layer, [layer.own_stage()])


def choose(network, found, budget):
    def at(factor):
        ranks = {name: scaled(network.layers[name], each, factor) for name, each in found.items()}
        return {name: each for name, each in ranks.items() if worth_it(network.layers[name], each)}

    def share(ranks):
        return share_of_macs(network, {name: shapes(network.layers[name], each) for name, each in ranks.items()})

    low, high = 0.0, 64.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if share(at(middle)) <= budget:
            low = middle
        else:
            high = middle
    replaced = {}
    for name, ranks in at(low).items():
        layer = network.layers[name]
        replaced[name] = svd(layer, *ranks) if layer.op == "Gemm" else tucker2(layer, *ranks)
    return replaced


if __name__ == "__main__":
    serve(explore, choose)
