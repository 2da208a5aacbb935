"""Guided search: each trial's parameters are chosen by what earlier ones gave.

Optuna's tree-structured Parzen estimator (Bergstra et al., NIPS 2011) chooses, four trials at a
time whatever the number of jobs; with `rungs`, successive halving (Li et al., MLSys 2020) gives up
what is not among the better third of its rung. Nothing of Optuna's is stored: the same seed and the
same metrics give the same trials, so a search that was ended goes on from the runs in the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import RunError
from workbench.metrics import direction
from workbench.runs.columns import numbers
from workbench.runs.planning.specs import Plan, Search
from workbench.runs.store import Run

if TYPE_CHECKING:
    import optuna

_AT_ONCE = 4
_KEPT = 3  # one of so many goes on to the next rung
Execute = Callable[[Sequence[Plan]], Sequence[Run | None]]


def explore(search: Search, execute: Execute) -> dict[str, Any]:
    """Make the trials of a search, and return what became of them.

    Parameters
    ----------
    execute
        Returns the run of each plan, executed or from the store; None where nothing was kept.

    Returns
    -------
    about
        `source`, `metric`, `trials`, `given_up`, `failed`; `best`, its value and parameters, and
        `mattered`, the share of each parameter in what differed (fANOVA, Hutter et al., ICML 2014),
        where two trials ended well.

    Raises
    ------
    RunError
        If Optuna is not installed.
    """
    study = _study(search)
    while len(study.trials) < search.trials:
        count = min(_AT_ONCE, search.trials - len(study.trials))
        _round(search, [study.ask() for _ in range(count)], study, execute)
    return _about(search, study)


def _study(search: Search) -> optuna.Study:
    try:
        import optuna
    except ModuleNotFoundError as err:
        raise RunError(
            "a search needs Optuna", where=search.source, hint="pip install 'workbench[search]'"
        ) from err
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction="maximize" if direction(search.metric) > 0 else "minimize",
        sampler=optuna.samplers.TPESampler(seed=search.seed),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=_KEPT),
    )


def _round(
    search: Search, trials: Sequence[optuna.Trial], study: optuna.Study, execute: Execute
) -> None:
    from optuna.trial import TrialState

    chosen = {trial: _chosen(search, trial) for trial in trials}
    for number, rung in enumerate(search.rungs):
        plans = {trial: search.plans({**values, **rung}) for trial, values in chosen.items()}
        runs = iter(execute([plan for each in plans.values() for plan in each]))
        for trial, each in plans.items():
            value = _value([next(runs) for _ in each], search.metric)
            if value is None:
                study.tell(trial, state=TrialState.FAIL)
            elif number == len(search.rungs) - 1:
                study.tell(trial, value)
            else:
                trial.report(value, _KEPT**number)
                if not trial.should_prune():
                    continue
                study.tell(trial, state=TrialState.PRUNED)
            del chosen[trial]


def _chosen(search: Search, trial: optuna.Trial) -> dict[str, Any]:
    """Return what a trial tries; of a list its place is chosen, for a value may be a mapping."""
    chosen: dict[str, Any] = {}
    for name, space in search.spaces.items():
        if isinstance(space, list):
            chosen[name] = space[trial.suggest_categorical(name, range(len(space)))]
            continue
        low, high, log = space["min"], space["max"], bool(space.get("log", False))
        whole = isinstance(low, int) and isinstance(high, int)
        suggest: Callable[..., Any] = trial.suggest_int if whole else trial.suggest_float
        chosen[name] = suggest(name, low, high, log=log)
    return chosen


def _value(runs: Sequence[Run | None], metric: str) -> float | None:
    """Return the mean of a metric; None where a run failed or has no finite one."""
    values = [
        numbers(run.metrics).get(metric) if run and run.status == "complete" else None
        for run in runs
    ]
    given = [value for value in values if value is not None]
    mean = fmean(given) if given and len(given) == len(values) else math.nan
    return mean if math.isfinite(mean) else None


def _about(search: Search, study: optuna.Study) -> dict[str, Any]:
    import optuna

    state = optuna.trial.TrialState
    ended = study.get_trials(states=[state.COMPLETE])
    about: dict[str, Any] = {
        "source": search.source,
        "metric": search.metric,
        "trials": len(study.trials),
        "given_up": len(study.get_trials(states=[state.PRUNED])),
        "failed": len(study.get_trials(states=[state.FAIL])),
        "best": None,
        "mattered": {},
    }
    if ended:
        best = study.best_trial
        values = {
            name: space[best.params[name]] if isinstance(space, list) else best.params[name]
            for name, space in search.spaces.items()
        }
        about["best"] = {search.metric: best.value, **values}
        about["mattered"] = _mattered(search, study)
    return about


def _mattered(search: Search, study: optuna.Study) -> dict[str, float]:
    """Return the share of each parameter; nothing where what differs is too little to share out."""
    import optuna

    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=search.seed)
    try:
        with np.errstate(all="ignore"):
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):  # no variance among the trees, too few trials
        return {}
    return {} if any(not np.isfinite(share) for share in shares.values()) else dict(shares)
