"""Canonical polyadic decompositions by TensorLy's alternating least squares from given starts, written to parafac.json.

Run with NumPy and TensorLy 0.10: python make.py
"""

import json
from pathlib import Path

import numpy as np
import tensorly as tl
from tensorly.cp_tensor import CPTensor
from tensorly.decomposition import parafac


def rounded(array):
    return [float(f"{value:.6g}") for value in np.ravel(array)]


def case(name, seed, dims, rank, sweeps, planted=None, noise=1.0):
    rng = np.random.default_rng(seed)
    tensor = noise * rng.standard_normal(dims)
    if planted is not None:
        factors = [rng.standard_normal((size, planted)) for size in dims]
        tensor += tl.cp_to_tensor(CPTensor((np.ones(planted), factors)))
    tensor = np.reshape(rounded(tensor), dims)
    start = [np.reshape(rounded(rng.standard_normal((size, rank))), (size, rank)) for size in dims]
    results = []
    for count in sweeps:
        init = CPTensor((np.ones(rank), [factor.copy() for factor in start]))
        found = parafac(tensor, rank, n_iter_max=count, init=init, tol=0, normalize_factors=False)
        rebuilt = tl.cp_to_tensor(found)
        error = np.linalg.norm(rebuilt - tensor) / np.linalg.norm(tensor)
        print(name, count, "sweeps:", error)
        results.append({"sweeps": count, "error": error, "rebuilt": rounded(rebuilt)})
    return {
        "name": name,
        "dims": dims,
        "tensor": rounded(tensor),
        "start": {mode: rounded(factor) for mode, factor in zip("abc", start)},
        "rank": rank,
        "results": results,
    }


def main():
    cases = [
        case("noise", 1, (7, 6, 5), 4, (1, 3, 40)),
        case("three planted in noise", 2, (8, 5, 9), 3, (1, 5), planted=3, noise=0.1),
        case("more components than the first mode", 3, (3, 8, 4), 5, (2, 10)),
    ]
    (Path(__file__).parent / "parafac.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
