"""Numbers that the tests make again without Python: see test/autodiff/golden.ts, which has the same recipe."""

import numpy as np


def uniform(dims, seed, low=-1.0, high=1.0):
    """Float32 numbers in [low, high) from a linear congruential generator (Numerical Recipes), its top 24 bits."""
    state = (seed * 2654435761 + 12345) % 2**32
    out = np.empty(int(np.prod(dims)), np.float32)
    for i in range(out.size):
        state = (1664525 * state + 1013904223) % 2**32
        out[i] = low + (high - low) * ((state >> 8) / 2**24)
    return out.reshape(dims)
