"""NumPy's side of the benchmark `factor`: the truncated SVD of the layers that it is asked for, one name a line; after the
last, what they lack. `python3 factor.py FOLDER`, the folder made by bench/factor.ts."""

import json
import os
import resource
import sys
import time

import numpy as np

folder = sys.argv[1]
cases = {case["name"]: case for case in json.load(open(os.path.join(folder, "cases.json")))}
weights = {
    name: np.fromfile(os.path.join(folder, name + ".f32"), np.float32).reshape(case["dims"][0], -1)
    for name, case in cases.items()
}
factored = {}


def say(answer):
    print(json.dumps(answer), flush=True)


def relative_error(w, left, right):
    square = 0.0
    for start in range(0, len(w), 256):
        rows = slice(start, start + 256)
        square += np.sum((w[rows] - left[rows].astype(np.float64) @ right.astype(np.float64)) ** 2)
    return float(np.sqrt(square / np.sum(w.astype(np.float64) ** 2)))


for line in sys.stdin:
    name = line.strip()
    rank = cases[name]["rank"]
    start = time.perf_counter()
    u, s, vt = np.linalg.svd(weights[name], full_matrices=False)
    factored[name] = u[:, :rank] * s[:rank], vt[:rank].copy()
    seconds = time.perf_counter() - start
    del u, s, vt
    say({"seconds": seconds})

peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
errors = {name: relative_error(weights[name], *factors) for name, factors in factored.items()}
say({"version": np.__version__, "peak_bytes": peak, "errors": errors})
