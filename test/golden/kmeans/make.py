"""Writes inertia.json: the least sum of squared distances to means that scikit-learn's KMeans finds, with clusters of any size, in
points that test/linalg/kmeans.test.ts makes of the same recipes, to the last bit.

    python3 test/golden/kmeans/make.py

Needs numpy and scikit-learn. A recipe is {n, d, k, seed, spread}: point i is the middle (i mod k) plus uniform numbers in
[0, 1); middles are uniform in [0, spread).
"""

import json
import os

import numpy as np
import sklearn
from sklearn.cluster import KMeans

RECIPES = [
    {"n": 60, "d": 2, "k": 4, "seed": 1, "spread": 0},
    {"n": 200, "d": 3, "k": 8, "seed": 2, "spread": 2},
    {"n": 300, "d": 10, "k": 12, "seed": 3, "spread": 4},
    {"n": 97, "d": 5, "k": 6, "seed": 4, "spread": 1},
    {"n": 64, "d": 40, "k": 2, "seed": 5, "spread": 0.2},
]


def uniform(seed, count):
    """A linear congruential generator modulo 2^32 (Numerical Recipes)."""
    numbers = []
    for _ in range(count):
        seed = (1664525 * seed + 1013904223) % 2**32
        numbers.append(seed / 2**32)
    return np.array(numbers)


def points(n, d, k, seed, spread):
    numbers = uniform(seed, k * d + n * d)
    middles = spread * numbers[: k * d].reshape(k, d)
    return middles[np.arange(n) % k] + numbers[k * d :].reshape(n, d)


def main():
    out = {"sklearn": sklearn.__version__, "cases": []}
    for recipe in RECIPES:
        found = KMeans(recipe["k"], n_init=10, random_state=0).fit(points(**recipe))
        out["cases"].append({**recipe, "inertia": float(found.inertia_)})
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "inertia.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
