"""Relative errors of TensorLy's partial Tucker decomposition (orthogonal iteration over outputs and channels, to convergence) of
weights F x C x XY, written to partial_tucker.json with the weights' recipes: test/approximate/tucker2.test.ts makes the
same weights from the same seeded uniform numbers.

Run with NumPy and TensorLy 0.10: python make.py
"""

import json
from pathlib import Path

import numpy as np
import tensorly as tl
from tensorly.decomposition import partial_tucker

MASK = 0xFFFFFFFF


def uniform(seed, count):
    """src/linalg/random.ts: sfc32, its state filled by splitmix32; numbers in [0, 1)."""
    state = seed & MASK

    def splitmix():
        nonlocal state
        state = (state + 0x9E3779B9) & MASK
        z = state ^ (state >> 16)
        z = (z * 0x21F0AAAD) & MASK
        z = ((z ^ (z >> 15)) * 0x735A2D97) & MASK
        return z ^ (z >> 15)

    a, b, c, counter = splitmix(), splitmix(), splitmix(), 1
    numbers = []
    for _ in range(12 + count):
        t = (a + b + counter) & MASK
        counter = (counter + 1) & MASK
        a = b ^ (b >> 9)
        b = (c + (c << 3)) & MASK
        c = (((c << 21) | (c >> 11)) + t) & MASK
        numbers.append(t / 2**32)
    return np.array(numbers[12:])


def weight(F, C, X, Y, seed, decay):
    """A product of uniform numbers whose i-th channel and j-th output direction count (1 + i)^-decay (1 + j)^-decay."""
    mix_c = np.array(uniform(seed, C * C)).reshape(C, C) - 0.5
    mix_f = np.array(uniform(seed + 1, F * F)).reshape(F, F) - 0.5
    core = np.array(uniform(seed + 2, F * C * X * Y)).reshape(F, C, X * Y) - 0.5
    core *= (1.0 + np.arange(F))[:, None, None] ** -decay * (1.0 + np.arange(C))[None, :, None] ** -decay
    return np.einsum("fg,gcp,cd->fdp", mix_f, core, mix_c).astype(np.float32).astype(np.float64)


CASES = [
    ((20, 12, 3, 3), 1, 0.0, [(3, 5), (6, 10), (10, 14)]),
    ((24, 16, 3, 3), 4, 1.0, [(2, 4), (4, 8), (8, 8), (12, 20)]),
    ((12, 18, 2, 5), 7, 0.5, [(4, 3), (9, 6)]),
]


def main():
    cases = []
    for dims, seed, decay, pairs in CASES:
        tensor = weight(*dims, seed, decay)
        errors = []
        for r1, r2 in pairs:
            found, _ = partial_tucker(tensor, rank=[r2, r1], modes=[0, 1], n_iter_max=500, tol=1e-12)
            core, (v, u) = found
            rebuilt = tl.tenalg.multi_mode_dot(core, [v, u], modes=[0, 1])
            error = float(np.linalg.norm(rebuilt - tensor) / np.linalg.norm(tensor))
            errors.append({"rank": [r1, r2], "error": error})
            print(dims, r1, r2, error)
        cases.append({"dims": dims, "seed": seed, "decay": decay, "norm": float(np.linalg.norm(tensor)), "errors": errors})
    (Path(__file__).parent / "partial_tucker.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
