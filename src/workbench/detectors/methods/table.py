"""The catalogue: every detector as a line of one table."""

from __future__ import annotations

import math

import pandas as pd

from workbench.detectors.methods import (
    densities,
    forest,
    neighbours,
    pyod_estimators,
    relations,
    rules,
    seasons,
    subspaces,
)
from workbench.detectors.methods.features import FEATURES
from workbench.detectors.methods.method import Method, Param

USUAL = "usual"  # the gap rule is learnt
SHARED: tuple[Param, ...] = (
    Param("window", None, "w, readings per window", 1, 10_000, kind="int"),
    Param("max_span_s", None, "longest time across a window; usual: three times that of windows "
          "without a gap, by the training readings", 0, 1e9, kind="float", optional=True,
          word=USUAL),
    Param("missing", "skip", "a window with missing values: no score, or filled with the reading "
          "before", choices=("skip", "fill")),
    Param("sample", 5000, "training windows at most, drawn at random", 10, 1_000_000),
    Param("calibrate", "none", "the score as it is, or as -log10 of its tail probability",
          choices=("none", "tail")),
    Param("calibrate_share", 0.3, "last share of the training windows, kept for that", 0.05, 0.9),
    Param("refit", None, "declared policy: {every_h, trailing_h} or {every_readings, "
          "trailing_readings}, leave_out_alarmed, change_h, threshold_only, carry_over",
          kind="any", optional=True),
)  # fmt: skip
FEATURED: tuple[Param, ...] = (
    Param("features", "raw", f"of {', '.join(FEATURES)}; or a list; each with :readings if fewer "
          "than w", kind="any"),
    Param("scale", "standard", "each channel less its training centre, over its spread",
          choices=("standard", "robust", "none")),
    Param("scale_features", False, "the same again for each feature"),
    Param("trim", 0.0, "share of training windows, the most anomalous, left out of a second fit",
          0, 0.5),
)  # fmt: skip

_NEIGHBOURS = Param("n_neighbors", 5, "nearest training windows that count", 1, 1000)
_CLUSTERS = Param("n_clusters", 8, "clusters of training windows", 1, 1000)

_PLAIN = (
    Method(
        "limits", "readings beyond limits that a person knows", "a rule of thumb",
        rules.fit_limits, rules.outside, parts=rules.outside_parts,
        state={"low": "f8[c]", "high": "f8[c]", "unit": "f8[c]"},
        check=rules.positive("unit"), sees="windows", flat=True, rises=True,
        params=(
            Param("low", None, "least usual reading of each channel", kind="floats", optional=True),
            Param("high", None, "largest usual reading of each channel", kind="floats",
                  optional=True),
        ),
    ),
    Method(
        "range", "readings never seen in training", "training minimum and maximum",
        rules.fit_range, rules.outside, parts=rules.outside_parts,
        state={"low": "f8[c]", "high": "f8[c]", "unit": "f8[c]"},
        check=rules.positive("unit"), sees="windows", flat=True, rises=True,
        params=(Param("beyond", 0.0, "share of training readings left outside", 0, 0.5),),
    ),
    Method(
        "robust_z", "a channel far from its usual level",
        "Iglewicz and Hoaglin (1993), How to Detect and Handle Outliers",
        rules.fit_robust_z, rules.robust_z, parts=rules.robust_z_parts,
        expected=rules.robust_z_expected,
        state={"median": "f8[c]", "scale": "f8[c]"},
        check=rules.positive("scale"), sees="windows", rises=True,
    ),
    Method(
        "rolling", "spikes and jumps, whatever the level",
        "Hampel (1974), The Influence Curve and Its Role in Robust Estimation",
        rules.fit_rolling, rules.rolling, parts=rules.rolling_parts,
        state={"least": "f8[c]"},
        check=rules.longer_than("", "least"), sees="windows", flat=True, rises=True,
        params=(Param("least", 0.1, "share of a channel's training deviation, the least that "
                      "counts as deviation of a window", 1e-6, 10),),
    ),
    Method(
        "rate", "readings that change faster than usual", "difference over a lag",
        rules.fit_rate, rules.rate, parts=rules.rate_parts,
        state={"usual": "f8[c]"},
        check=rules.longer_than("lag", "usual"), sees="windows", flat=True,
        params=(Param("lag", 1, "readings back", 1, 9_999),),
    ),
    Method(
        "stuck", "a sensor that stops moving", "run length of equal readings",
        rules.fit_stuck, rules.stuck, parts=rules.stuck_parts,
        state={"tolerance": "f8[c]", "usual": "f8[c]"},
        check=rules.positive("usual"), sees="windows", flat=True, ceiling=rules.most_stuck,
        params=(Param("tolerance", 0.0, "training deviations within which readings are equal",
                      0, 10),),
    ),
    Method(
        "seasonal", "readings that are wrong for their time of day or week",
        "median profile, residual over its MAD; compare Cleveland et al. (1990), STL",
        seasons.fit_seasonal, seasons.seasonal,
        state={"profile": "f8[d,b,q]", "scale": "f8[q]"},
        check=seasons.check_seasonal, sees="windows", flat=True,
        params=(
            Param("hour", "hour_of_day", "channel with the hour, 0 to 24"),
            Param("day", None, "channel with the day of week, 0 to 6", kind="str", optional=True),
            Param("bins", 24, "times of day told apart", 1, 1440),
        ),
    ),
)  # fmt: skip
_ESTIMATORS = (
    Method(
        "knn", "shapes not seen in training; several kinds of usual",
        "Ramaswamy et al. (2000), Efficient Algorithms for Mining Outliers; as PyOD's KNN",
        neighbours.fit_knn, neighbours.knn, neighbours.near_training,
        state={"train": "f8[m,f]"}, check=neighbours.check_knn, defaults={"sample": 1000},
        params=(
            _NEIGHBOURS,
            Param("method", "largest", "of their distances", choices=("largest", "mean", "median")),
        ),
    ),
    Method(
        "lof", "windows in thinner places than their neighbours",
        "Breunig et al. (2000), LOF; as PyOD's LOF",
        neighbours.fit_lof, neighbours.lof, neighbours.dense_training,
        state={"train": "f8[m,f]", "reach": "f8[m]", "density": "f8[m]"},
        check=neighbours.check_knn, defaults={"sample": 1000},
        params=(Param("n_neighbors", 20, "nearest training windows that count", 1, 1000),),
    ),
    Method(
        "kmeans", "shapes far from all usual ones; the cheapest of its kind",
        "distance to the nearest of k means; as KMeansAD of TSB-AD (2024)",
        neighbours.fit_kmeans, neighbours.distance_to_centres, neighbours.near_centres,
        state={"centres": "f8[k,f]"}, check=neighbours.check_centres,
        params=(_CLUSTERS,),
    ),
    Method(
        "cblof", "shapes far from the usual ones, where rare ones are no centres",
        "He, Xu and Deng (2003), Discovering Cluster-based Local Outliers; as PyOD's CBLOF",
        neighbours.fit_cblof, neighbours.distance_to_centres, neighbours.near_centres,
        state={"centres": "f8[k,f]"}, check=neighbours.check_centres,
        params=(
            _CLUSTERS,
            Param("alpha", 0.9, "share of windows in large clusters", 0.5, 0.999),
            Param("beta", 5.0, "how much larger the least of them is than the next", 1.001, 1000),
        ),
    ),
    Method(
        "iforest", "odd values of single features, cheap with many of them",
        "Liu, Ting and Zhou (2008), Isolation Forest; as PyOD's IForest",
        forest.fit_iforest, forest.iforest, forest.ready_iforest,
        state=forest.STATE, check=forest.check_iforest, bounded=True,
        params=(
            Param("n_estimators", 100, "trees", 1, 1000),
            Param("max_samples", 256, "training windows per tree", 2, 100_000),
        ),
    ),
    Method(
        "ecod", "values in the tails of single features; nothing to tune",
        "Li et al. (2022), ECOD; as PyOD's ECOD scores each window alone",
        densities.fit_ecod, densities.ecod, densities.ready_ecod,
        state={"sorted": "f8[m,f]"}, defaults={"sample": 2000}, bounded=True,
    ),
    Method(
        "hbos", "rare values of single features; the cheapest",
        "Goldstein and Dengel (2012), Histogram-based Outlier Score; as PyOD's HBOS",
        densities.fit_hbos, densities.hbos, densities.ready_hbos,
        state={"edges": "f8[f,e]", "density": "f8[f,b]"}, check=densities.check_hbos,
        bounded=True,
        params=(
            Param("n_bins", 10, "bins per feature", 2, 1000),
            Param("alpha", 0.1, "added to every density", 1e-6, 0.999),
            Param("tol", 0.5, "share of a bin that a value may lie outside", 1e-6, 0.999),
        ),
    ),
    Method(
        "pca", "windows that break the usual correlation in time and between channels",
        "Shyu et al. (2003), Principal Component Classifier; as PyOD's PCA",
        densities.fit_pca, densities.pca, parts=densities.pca_parts,
        state={"mean": "f8[f]", "deviation": "f8[f]", "components": "f8[p,f]", "weights": "f8[p]"},
        check=rules.positive("deviation", "weights"),
        params=(Param("variance", 0.99, "share of variance to explain", 0.1, 1.0),),
    ),
    Method(
        "subpca", "shapes that a channel does not take, at any level that it has",
        "Ku, Storer and Georgakis (1995), Dynamic Principal Component Analysis, by channel; "
        "compare Sub-PCA of TSB-AD (2024)",
        subspaces.fit_subpca, subspaces.subpca, parts=subspaces.subpca_parts,
        state={"mean": "f8[f]", "whitening": "f8[c,k,k]"}, check=subspaces.check_subpca,
        params=(Param("ridge", 0.001, "share of a channel's mean variance, added to that of each "
                      "component", 1e-9, 1),),
    ),
    Method(
        "mcd", "windows off one elliptic cloud, though training holds faults",
        "Rousseeuw and Van Driessen (1999), Minimum Covariance Determinant; as PyOD's MCD",
        densities.fit_mcd, densities.mahalanobis, parts=densities.mahalanobis_parts,
        state={"mean": "f8[f]", "precision": "f8[f,f]"},
        defaults={"features": "summary", "sample": 2000},
    ),
    Method(
        "gmm", "several kinds of usual, each with its own correlation",
        "mixture of normal distributions; as PyOD's GMM",
        densities.fit_gmm, densities.gmm,
        state={"means": "f8[k,f]", "factors": "f8[k,f,f]", "weights": "f8[k]"},
        check=densities.check_gmm, defaults={"features": "summary"},
        params=(
            Param("n_components", 4, "normal distributions", 1, 100),
            Param("reg_covar", 1e-4, "added to each variance", 1e-9, 10),
        ),
    ),
    Method(
        "ocsvm", "windows outside a smooth border around the usual ones",
        "Schoelkopf et al. (2001), Support of a High-Dimensional Distribution; as PyOD's OCSVM",
        densities.fit_ocsvm, densities.ocsvm,
        state={"vectors": "f8[m,f]", "weights": "f8[m]", "border": "f8[1]"}, bounded=True,
        defaults={"sample": 1000},
        params=(
            Param("nu", 0.1, "share of training windows outside the border", 0.001, 0.999),
            Param("gamma", 1.0, "narrowness of the kernel, over the features", 1e-6, 1e6),
        ),
    ),
)  # fmt: skip
_RELATIONS = (
    Method(
        "reconstruction", "channels, or readings, that break their usual relation",
        "Jackson and Mudholkar (1979), Control Procedures for Residuals",
        relations.fit_reconstruction, relations.reconstruction,
        parts=relations.reconstruction_parts, expected=relations.reconstruction_expected,
        state={"mean": "f8[f]", "components": "f8[p,f]", "usual": "f8[1]"},
        check=rules.positive("usual"),
        params=(Param("variance", 0.9, "share of variance to explain", 0.1, 0.99999),),
    ),
    Method(
        "regression", "a channel that is not what the other channels say",
        "Hawkins (1991), Multivariate Quality Control Based on Regression-Adjusted Variables",
        relations.fit_regression, relations.regression,
        expected=relations.regression_expected,
        state={"weights": "f8[f,t]", "centre_left": "f8[f]", "scale": "f8[f]",
               "precision": "f8[f,f]"},
        check=relations.check_regression, defaults={"features": "newest"},
        params=(
            Param("degree", 1, "1: linear; 2: with products of channels", 1, 2),
            Param("ridge", 1e-6, "how much weights are held back", 0, 100),
            Param("combine", "worst", "the worst residual, or Mahalanobis of all of them",
                  choices=("worst", "mahalanobis")),
        ),
    ),
)  # fmt: skip


def _pyod(
    name: str,
    path: str,
    good_at: str,
    source: str,
    *params: Param,
    seeded: bool = False,
    bounded: bool = False,
) -> Method:
    ready = pyod_estimators.ready_foreign(path, *(param.name for param in params), seeded=seeded)
    return Method(
        name, good_at, source, pyod_estimators.fit_foreign, pyod_estimators.foreign, ready,
        state=pyod_estimators.STATE, check=pyod_estimators.check_foreign,
        defaults={"sample": 1000}, params=params, bounded=bounded,
    )  # fmt: skip


_FOREIGN = (
    _pyod("kde", "kde:KDE", "smooth densities of few features", "PyOD's KDE; Latecki et al. (2007)",
          Param("bandwidth", 1.0, "of the kernel", 1e-6, 1e6)),
    _pyod("inne", "inne:INNE", "local anomalies in large samples",
          "PyOD's INNE; Bandaragoda et al. (2018)",
          Param("n_estimators", 200, "sets of spheres", 1, 1000), seeded=True, bounded=True),
)  # fmt: skip
_TOGETHER = "PyOD's scores the rows of a batch against each other"
_REFUSED = (
    Method("matrix_profile", "comparison in a notebook", "Yeh et al. (2016), Matrix Profile I",
           refused="it compares a series with itself, so a score needs the readings after it"),
    Method("cof", "comparison in a notebook", "Tang et al. (2002)", refused=_TOGETHER),
    Method("loci", "comparison in a notebook", "Papadimitriou et al. (2003)", refused=_TOGETHER),
    Method("loda", "comparison in a notebook", "Pevny (2016)",
           refused="a value near the border of a bin falls into another one with the rounding of "
           "PyOD's matrix product, which depends on the batch"),
    Method("rod", "comparison in a notebook", "Almardeny et al. (2020)", refused=_TOGETHER),
    Method("sos", "comparison in a notebook", "Janssens et al. (2012)", refused=_TOGETHER),
)  # fmt: skip
_ENSEMBLE = Method(
    "ensemble",
    "what no single detector finds alone",
    "Aggarwal and Sathe (2017), Outlier Ensembles; scores calibrated first",
    sees="windows",
    params=(
        Param("members", None, "specifications, without window and channels if they share them",
              kind="any"),
        Param("combine", "mean", "the weighted mean, or the largest", choices=("mean", "max")),
        Param("weights", None, "of each member; unset: equal", 0, kind="floats", optional=True),
    ),
)  # fmt: skip
METHODS: dict[str, Method] = {
    method.name: method
    for method in (*_PLAIN, *_ESTIMATORS, *_RELATIONS, *_FOREIGN, _ENSEMBLE, *_REFUSED)
}

_COST_US = {
    "limits": 0.05, "range": 0.05, "robust_z": 0.05, "rolling": 2, "rate": 0.05, "stuck": 0.3,
    "seasonal": 0.1, "knn": 4, "lof": 6.5, "kmeans": 0.4, "cblof": 0.6, "iforest": 2, "ecod": 4,
    "hbos": 0.8, "pca": 0.6, "subpca": 1.3, "mcd": 0.5, "gmm": 0.8, "ocsvm": 0.9,
    "reconstruction": 0.3, "regression": 1, "kde": 165, "inne": 70,
}  # fmt: skip
"""Microseconds per reading, w = 64, one channel, one core, as `benchmarks/detect.py` measured."""


def catalogue() -> pd.DataFrame:
    """Return the table of detectors: what each is good at, costs and takes, and where it is from.

    Examples
    --------
    >>> catalogue().loc["robust_z", "good_at"]
    'a channel far from its usual level'
    """
    rows = [
        {
            "name": method.name,
            "good_at": method.good_at,
            "cost_us": _COST_US.get(method.name, math.nan),
            "params": {param.name: param.about for param in method.params},
            "source": method.source,
            "refused": method.refused,
        }
        for method in METHODS.values()
    ]
    return pd.DataFrame(rows).set_index("name")
