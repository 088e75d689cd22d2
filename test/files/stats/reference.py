"""Writes reference.json, what SciPy, NumPy, scikit-learn, mpmath and Python's exact fractions say of the same questions.

python -m venv venv && venv/bin/pip install mpmath==1.4.1 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
venv/bin/python test/files/stats/reference.py
"""

import json
import math
import statistics
from pathlib import Path

import mpmath
import numpy as np
import scipy
import sklearn
from mpmath import mp
from scipy import special, stats
from sklearn.ensemble import RandomForestRegressor

mp.dps = 40
rng = np.random.default_rng(20261126)


def plain(values):
    return [float(v) for v in values]


ps = [1e-300, 1e-100, 1e-15, 1e-8, 1e-4, 0.001, 0.0125, 0.025, 0.05, 0.074, 0.2, 0.4, 0.4999, 0.5, 0.6, 0.9, 0.975, 0.995, 0.999999]
zs = [-37, -20, -8, -7.0711, -7.07, -5, -3, -1.96, -1, -0.5, -1e-9, 0, 0.3, 1.5, 4, 7.08, 9]
freedoms = [0.5, 1, 1.5, 2, 3, 4, 5, 9, 10, 19, 28, 29, 100, 999.5, 12345, 1e6, 1e7, 1e9]
normal = {
    "quantiles": [[p, float(stats.norm.ppf(p))] for p in ps],
    "probabilities": [[z, float(stats.norm.cdf(z))] for z in zs],
}


def student_quantile(p, v):
    """To 40 digits: SciPy's own are off by 1.6e-9 at p = 0.4999, v = 4."""
    if p == 0.5:
        return 0.0
    v = mp.mpf(v)
    tail = lambda t: mp.log(mp.betainc(v / 2, 0.5, 0, v / (v + t * t), regularized=True) / 2)
    target = mp.log(mp.mpf(p) if p < 0.5 else 1 - mp.mpf(p))
    t = mp.findroot(lambda t: tail(t) - target, abs(float(stats.t.ppf(p, float(v)))), tol=1e-30)
    return float(-t if p < 0.5 else t)


student = [[p, v, student_quantile(p, v)] for v in freedoms for p in ps if 1e-20 < p]
beta = [
    [x, a, b, float(special.betainc(a, b, x))]
    for a in (0.5, 1, 2.5, 14, 300, 50000)
    for b in (0.5, 1, 7, 40)
    for x in (1e-6, 0.01, 0.3, 0.5, 0.9, 0.999, 0.99999)
]


def moments(values):
    values = plain(values)
    return {"values": values, "mean": float(statistics.mean(values)), "sd": float(statistics.stdev(values))}


samples = [
    moments(rng.normal(0.9, 0.02, 7)),
    moments(1e9 + rng.integers(0, 5, 50)),
    moments(rng.lognormal(0, 3, 40)),
    moments([1e-5, 1e5, -1e5, 3.0]),
    moments(1e-200 * rng.normal(0, 1, 9)),
    moments(1e200 * rng.normal(0, 1, 9)),
]

intervals = []
for n in (2, 3, 5, 29, 30, 100):
    for level in (0.9, 0.95, 0.999):
        values = np.round(rng.normal(0.8, 0.1, n), 6)
        se = float(stats.sem(values))
        law = stats.t(n - 1) if n < 30 else stats.norm()
        low, high = law.interval(level)
        intervals.append({"values": plain(values), "level": level, "low": float(values.mean() + low * se), "high": float(values.mean() + high * se)})

bootstraps = []
for name, values in {
    "skewed": np.round(rng.lognormal(0, 1, 25), 6),
    "tied": np.repeat([1.0, 2.0, 2.5, 7.0], [6, 3, 2, 1]),
    "five": np.array([0.81, 0.83, 0.84, 0.9, 0.95]),
    "many": np.round(rng.gamma(2, 1, 120), 6),
}.items():
    for statistic in ("mean", "median") if name in ("skewed", "many") else ("mean",):
        for method in ("percentile", "bca"):
            ci = stats.bootstrap((values,), getattr(np, statistic), method=method, n_resamples=199_999, rng=7).confidence_interval
            bootstraps.append({"name": name, "values": plain(values), "statistic": statistic, "method": method, "low": float(ci.low), "high": float(ci.high), "sd": float(values.std(ddof=1))})

correlations = []
for a, b in [
    (rng.normal(0, 1, 30), rng.normal(0, 1, 30)),
    (rng.integers(0, 4, 40), rng.integers(0, 3, 40)),
    (np.array([1, 2, 2, 3, 5, 5, 5, 8]), np.array([9, 7, 7, 7, 3, 4, 1, 0])),
    (np.array([1, 2]), np.array([5, 4])),
    (np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([1.0, 2.0, 4.0, 8.0, 9e99])),
]:
    correlations.append({"a": plain(a), "b": plain(b), "rho": float(stats.spearmanr(a, b).statistic)})
ranks = [{"values": plain(v), "ranks": plain(stats.rankdata(v))} for v in (rng.integers(0, 6, 25), np.array([-5, 3, 3, -0.0, 0.0]))]

ratios = []
for k, n in ((2, 12), (3, 30), (6, 40)):
    codes = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    values = np.round(rng.normal(0, 1, n) + codes * 0.7, 1)
    h = stats.kruskal(*[values[codes == c] for c in range(k)]).statistic  # η² of the ranks is H / (n − 1)
    ratios.append({"codes": plain(codes), "values": plain(values), "epsilon": math.sqrt(max(0, 1 - (1 - h / (n - 1)) * (n - 1) / (n - k)))})

# Importance: one strong param, a bent one, two that work only together, a category, and two that do nothing.
n = 400
lr, bent, left, right, idle, noise = (np.round(rng.uniform(-1, 1, n), 4) for _ in range(6))
category = rng.integers(0, 4, n)
loss = np.round(2 * lr + 1.5 * bent**2 + 2 * left * right + np.array([0, 0.9, 0.3, 0.6])[category] + rng.normal(0, 0.2, n), 6)
order = np.array([0, 3, 1, 2])[category]  # scikit-learn has no categories: these are numbered by their effect
features = np.column_stack([lr, bent, left, right, order, idle, noise])
target = stats.rankdata(loss)
importances, scores = [], []
for seed in range(5):
    forest = RandomForestRegressor(300, max_features=3, min_samples_leaf=3, oob_score=True, random_state=seed).fit(features, target)
    shuffle = np.random.default_rng(seed)
    rise = np.zeros(features.shape[1])
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_):
        unseen = np.setdiff1d(np.arange(n), drawn)
        before = np.mean((tree.predict(features[unseen]) - target[unseen]) ** 2)
        for f in range(features.shape[1]):
            changed = features[unseen].copy()
            changed[:, f] = shuffle.permutation(changed[:, f])
            rise[f] += np.mean((tree.predict(changed) - target[unseen]) ** 2) - before
    importances.append(rise / 300 / target.var())
    scores.append(forest.oob_score_)
forest = {
    "columns": {"lr": plain(lr), "bent": plain(bent), "left": plain(left), "right": plain(right), "category": [f"kind {c}" for c in category], "idle": plain(idle), "noise": plain(noise)},
    "loss": plain(loss),
    "importance": dict(zip(["lr", "bent", "left", "right", "category", "idle", "noise"], plain(np.mean(importances, axis=0)))),
    "r2": float(np.mean(scores)),
}

reference = {
    "versions": {"mpmath": mpmath.__version__, "numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__},
    "normal": normal,
    "student": student,
    "beta": beta,
    "moments": samples,
    "intervals": intervals,
    "bootstraps": bootstraps,
    "correlations": correlations,
    "ranks": ranks,
    "ratios": ratios,
    "forest": forest,
}
Path(__file__).with_name("reference.json").write_text(json.dumps(reference, separators=(",", ":"), allow_nan=False) + "\n")
