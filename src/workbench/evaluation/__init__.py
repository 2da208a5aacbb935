"""The honest judge: labels, figures of merit, causal replays and the leaderboard.

It judges scores and alerts of detectors that `workbench.detectors` fits; it knows the labels, they
never do.
"""

from workbench.evaluation.affiliation import affiliation
from workbench.evaluation.benchmark import (
    NabPass,
    calls,
    judge_nab,
    nab_floors,
    run_nab,
    swapped,
    swapped_nab,
)
from workbench.evaluation.budget import AtBudget, recall_at
from workbench.evaluation.causal import causal_scores, transductive_scores
from workbench.evaluation.curves import auc_pr, period, vus_pr
from workbench.evaluation.events import EventReport, event_report, joined
from workbench.evaluation.labels import labelled, read_labels
from workbench.evaluation.nab import NabSeries, nab_folder, read_nab, write_nab
from workbench.evaluation.nab_score import PROFILES, NabScore, nab_interval, nab_score
from workbench.evaluation.onsets import onsets, surprise
from workbench.evaluation.own import Evaluation, all_rows, evaluate, read_series
from workbench.evaluation.ranking import floor_scores, judge, leaderboard, summary
from workbench.evaluation.scorecard import Terms, score_card

__all__ = [
    "PROFILES",
    "AtBudget",
    "Evaluation",
    "EventReport",
    "NabPass",
    "NabScore",
    "NabSeries",
    "Terms",
    "affiliation",
    "all_rows",
    "auc_pr",
    "calls",
    "causal_scores",
    "evaluate",
    "event_report",
    "floor_scores",
    "joined",
    "judge",
    "judge_nab",
    "labelled",
    "leaderboard",
    "nab_floors",
    "nab_folder",
    "nab_interval",
    "nab_score",
    "onsets",
    "period",
    "read_labels",
    "read_nab",
    "read_series",
    "recall_at",
    "run_nab",
    "score_card",
    "summary",
    "surprise",
    "swapped",
    "swapped_nab",
    "transductive_scores",
    "vus_pr",
    "write_nab",
]
