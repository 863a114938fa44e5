"""Ranks, noise and shrunk singular values of empirical variational Bayesian matrix factorisation, written to solutions.json.

From the formulas of Nakajima, Sugiyama, Babacan and Tomioka, "Global analytic solution of fully-observed variational Bayesian
matrix factorization" (JMLR 14, 2013) and, for the noise, Nakajima, Tomioka, Sugiyama and Babacan, "Condition for perfect
dimensionality recovery by variational Bayesian PCA" (JMLR 16, 2015), with SciPy's root finder and minimiser.

Run with NumPy and SciPy: python make.py
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import brentq, minimize_scalar


def phi(z):
    return np.log1p(z) / z - 0.5


def solve(gamma, L, M):
    alpha = L / M
    tau_least = brentq(lambda tau: phi(tau) + phi(tau / alpha), 1e-9, 10, xtol=1e-15)
    x_least = (1 + tau_least) * (1 + alpha / tau_least)

    def tau(x):
        return 0.5 * (x - (1 + alpha) + np.sqrt((x - (1 + alpha)) ** 2 - 4 * alpha))

    def psi(x):
        value = x - np.log(x)
        large = x > x_least
        t = tau(x[large])
        value[large] += np.log(t + 1) + alpha * np.log(t / alpha + 1) - t
        return value

    def omega(log_inverse):
        return psi(gamma**2 / M * np.exp(log_inverse)).sum() / L

    h = int(np.ceil(L / (1 + alpha))) - 1
    low = max(gamma[h] ** 2 / (M * x_least), (gamma[h:] ** 2).sum() / (M * (L - h)))
    high = (gamma**2).sum() / (L * M)
    # The function has several minima: bounded searches from a fine division of the interval.
    edges = np.linspace(-np.log(high), -np.log(low), 2001)
    values = [omega(edge) for edge in edges]
    best = int(np.argmin(values))
    bounds = (edges[max(0, best - 1)], edges[min(2000, best + 1)])
    found = minimize_scalar(omega, bounds=bounds, method="bounded", options={"xatol": 1e-13})
    log_inverse = found.x if found.fun <= values[best] else edges[best]
    noise = np.exp(-log_inverse)
    limit = np.sqrt(noise * M * (1 + tau_least) * (1 + alpha / tau_least))
    kept = gamma[gamma >= limit]
    share = 1 - (L + M) * noise / kept**2
    shrunk = kept / 2 * (share + np.sqrt(share**2 - 4 * L * M * noise**2 / kept**4))
    return {"rank": len(kept), "noise": noise, "shrunk": shrunk.tolist()}


def planted(seed, L, M, strengths, noise):
    rng = np.random.default_rng(seed)
    u = np.linalg.qr(rng.standard_normal((L, len(strengths))))[0] if strengths else np.zeros((L, 0))
    v = np.linalg.qr(rng.standard_normal((M, len(strengths))))[0] if strengths else np.zeros((M, 0))
    matrix = (u * np.array(strengths)) @ v.T + noise * rng.standard_normal((L, M))
    return np.linalg.svd(matrix, compute_uv=False)


CASES = [
    ("five strong of noise 1", 1, 30, 60, [60, 50, 40, 30, 25], 1.0),
    ("square, three", 2, 40, 40, [40, 30, 20], 0.5),
    ("one just above the noise", 3, 30, 200, [80, 19], 1.0),
    ("one just below the noise", 4, 30, 200, [80, 12], 1.0),
    ("noise alone", 5, 25, 50, [], 1.0),
    ("square noise alone", 6, 30, 30, [], 0.1),
    ("many of little noise", 7, 24, 216, [50 - 2 * i for i in range(16)], 0.05),
    ("long", 8, 8, 1000, [300, 200, 100], 2.0),
    ("a single row", 9, 1, 20, [5], 1.0),
    ("two rows", 10, 2, 50, [40], 1.0),
]


def main():
    cases = []
    for name, seed, L, M, strengths, noise in CASES:
        gamma = planted(seed, L, M, strengths, noise)
        case = {"name": name, "M": M, "planted": len(strengths), "values": gamma.tolist(), **solve(gamma, L, M)}
        print(name, L, M, "planted", len(strengths), "rank", case["rank"], "noise", case["noise"] ** 0.5)
        cases.append(case)
    (Path(__file__).parent / "solutions.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
