"""Writes spectra.json and systems.json: what LAPACK (through NumPy, float64) says of matrices that test/linalg/recipes.ts
makes of the same recipes, to the last bit.

    python3 test/golden/linalg/make.py

Needs numpy. spectra.json: singular values, or eigenvalues of a symmetric matrix, descending. systems.json: the X (columns x
right-hand sides, row after row) that minimises ||A X - Y||^2 + lambda mean(diag A'A) ||X||^2, of least norm where there are
many, and ||A X - Y||_F.
"""

import json
import os

import numpy as np

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


def make(recipe):
    """The matrix of a recipe, see test/linalg/recipes.ts."""
    kind, rows, cols = recipe["kind"], recipe["rows"], recipe["cols"]
    i, j = np.arange(rows)[:, None], np.arange(cols)[None, :]
    if kind == "zero":
        return np.zeros((rows, cols))
    if kind == "hilbert":
        return 1.0 / (i + j + 1)
    if kind == "hadamard":
        return np.array([[-1.0 if bin(x & y).count("1") % 2 else 1.0 for y in range(cols)] for x in range(rows)])
    if kind == "wilkinson":
        return np.where(i == j, np.abs(i - (rows - 1) / 2), np.where(np.abs(i - j) == 1, 1.0, 0.0))
    if kind == "laplace":
        return np.where(i == j, 2.0, np.where(np.abs(i - j) == 1, -1.0, 0.0))
    if kind == "product":
        rank = recipe["rank"]
        whole = np.floor(9 * uniform(recipe["seed"], (rows + cols) * rank)) - 4
        return whole[: rows * rank].reshape(rows, rank) @ whole[rows * rank :].reshape(rank, cols)
    a = uniform(recipe["seed"], rows * cols).reshape(rows, cols) - 0.5
    if kind == "symmetric":
        return (a + a.T) / 2
    if kind == "clustered":
        return np.where(i // recipe["size"] == j // recipe["size"], 0.0, 2.0**-40) * (a + a.T) + np.where(
            i == j, 1.0 + i // recipe["size"], 0.0
        )
    if kind == "graded":
        return np.ldexp(a, -(recipe["rowStep"] * i + recipe["colStep"] * j) + recipe.get("shift", 0))
    if kind == "float32":
        return a.astype(np.float32).astype(np.float64)
    raise ValueError(kind)


def uniform_matrix(rows, cols, seed, **more):
    return {"kind": "graded", "rows": rows, "cols": cols, "seed": seed, "rowStep": 0, "colStep": 0, **more}


def square(kind, n, **more):
    return {"kind": kind, "rows": n, "cols": n, **more}


SINGULAR = {
    "well conditioned, tall": uniform_matrix(180, 70, 1),
    "well conditioned, wide": uniform_matrix(60, 210, 2),
    "square": uniform_matrix(100, 100, 3),
    "large enough for every level of divide and conquer": uniform_matrix(300, 270, 4),
    "one row": uniform_matrix(1, 40, 5),
    "one column": uniform_matrix(40, 1, 6),
    "1x1": uniform_matrix(1, 1, 7),
    "zero": {"kind": "zero", "rows": 30, "cols": 20},
    "condition number beyond 1e16 (Hilbert)": square("hilbert", 40),
    "rank 9 of 50": {"kind": "product", "rows": 80, "cols": 50, "rank": 9, "seed": 8},
    "rank 1": {"kind": "product", "rows": 20, "cols": 33, "rank": 1, "seed": 9},
    "graded by rows, over 1e14": {**uniform_matrix(64, 48, 10), "rowStep": 1},
    "graded by columns, over 1e14": {**uniform_matrix(90, 48, 11), "colStep": 1},
    "graded on both sides, over 1e36": {**uniform_matrix(60, 60, 12), "rowStep": 1, "colStep": 1},
    "all singular values the same (Hadamard)": square("hadamard", 64),
    "tiny numbers": {**uniform_matrix(50, 40, 13), "shift": -900},
    "huge numbers": {**uniform_matrix(50, 40, 14), "shift": 900},
    "numbers that are subnormal": {**uniform_matrix(20, 20, 15), "shift": -1040},
    "float32": {"kind": "float32", "rows": 90, "cols": 120, "seed": 16},
}

EIGEN = {
    "indefinite": square("symmetric", 120, seed=21),
    "pairs that agree to the last digit (Wilkinson W101)": square("wilkinson", 101),
    "second differences": square("laplace", 150),
    "three clusters, 1e-12 wide": square("clustered", 96, size=32, seed=22),
    "Hadamard: two values, 64 times each": square("hadamard", 128),
    "Hilbert": square("hilbert", 50),
    "zero": square("zero", 40),
    "1x1": square("symmetric", 1, seed=23),
    "2x2": square("symmetric", 2, seed=24),
}

SYSTEMS = {
    "well conditioned": (uniform_matrix(120, 30, 31), uniform_matrix(120, 4, 32), 0),
    "well conditioned, past one leaf of the Cholesky factor": (uniform_matrix(300, 90, 33), uniform_matrix(300, 3, 34), 0),
    "ridge": (uniform_matrix(40, 30, 35), uniform_matrix(40, 4, 36), 0.1),
    "ridge with fewer rows than columns": (uniform_matrix(20, 50, 37), uniform_matrix(20, 3, 38), 1e-3),
    "condition number 1e5": ({**uniform_matrix(120, 12, 39), "colStep": 1}, uniform_matrix(120, 4, 40), 0),
    "rank 9 of 30": (
        {"kind": "product", "rows": 80, "cols": 30, "rank": 9, "seed": 41},
        uniform_matrix(80, 4, 42),
        0,
    ),
    "fewer rows than columns": (uniform_matrix(20, 50, 43), uniform_matrix(20, 3, 44), 0),
}


def solve(a, y, penalty):
    n = a.shape[1]
    ridge = np.sqrt(penalty * np.trace(a.T @ a) / n) * np.eye(n)
    x = np.linalg.lstsq(np.vstack([a, ridge]), np.vstack([y, np.zeros((n, y.shape[1]))]), rcond=1e-10)[0]
    return x, np.linalg.norm(a @ x - y)


def main():
    spectra = []
    for name, recipe in SINGULAR.items():
        spectra.append({"name": name, "matrix": recipe, "singular": list(np.linalg.svd(make(recipe), compute_uv=False))})
    for name, recipe in EIGEN.items():
        spectra.append({"name": name, "matrix": recipe, "eigen": list(np.linalg.eigvalsh(make(recipe))[::-1])})
    systems = []
    for name, (a, y, penalty) in SYSTEMS.items():
        x, residual = solve(make(a), make(y), penalty)
        systems.append({"name": name, "a": a, "y": y, "lambda": penalty, "x": list(x.ravel()), "residual": residual})
    folder = os.path.dirname(os.path.abspath(__file__))
    for file, data in (("spectra.json", spectra), ("systems.json", systems)):
        with open(os.path.join(folder, file), "w") as out:
            out.write("[\n" + ",\n".join(json.dumps(each) for each in data) + "\n]\n")


main()
