"""Candidates and events: who is better, what was found, and how late."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from workbench.arrays import Floats
from workbench.evaluation import FLOORS, EventReport
from workbench.figures.style import ALARM, DATA, LABEL, LABEL_ALPHA, SCORE, label

_HOUR_S = 3600


def candidates(
    ax: Axes,
    table: pd.DataFrame,
    *,
    metric: str,
    low: str | None = None,
    high: str | None = None,
    name: str = "detector",
) -> None:
    """Draw one bar for each candidate, the table's first (the best) on top, its figure beside it.

    Parameters
    ----------
    table
        One row for each candidate, best first, as from `evaluation.leaderboard`.
    metric
        Column drawn.
    low, high
        Columns with the ends of its interval.
    name
        Column with the candidates' names. Floors, which know nothing, are grey.
    """
    names = [str(candidate) for candidate in table[name]]
    values = table[metric].to_numpy(dtype=np.float64)
    colours = [DATA if candidate in FLOORS else SCORE for candidate in names]
    rows = np.arange(len(names))
    ax.barh(rows, np.nan_to_num(values), color=colours, height=0.65)
    ends = np.nan_to_num(values)
    if low is not None and high is not None:
        lows, highs = (table[column].to_numpy(dtype=np.float64) for column in (low, high))
        ax.hlines(rows, lows, highs, color="#222222", linewidth=1.4)
        ends = np.fmax(ends, highs)
    for row, value, end in zip(rows, values, ends, strict=True):
        text = "no figure" if np.isnan(value) else f"{value:.3g}"
        ax.annotate(text, (end, row), (4, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set_yticks(rows, names)
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlim(min(0.0, float(ends.min())), 1.12 * float(ends.max()) or 1.0)
    ax.set_xlabel(label(metric))


def recall_precision(
    ax: Axes,
    table: pd.DataFrame,
    *,
    name: str = "detector",
    recall: str = "recall",
    precision: str = "precision",
) -> None:
    """Draw each candidate by the events it found and the alerts of it that were true.

    Parameters
    ----------
    table
        One row for each candidate.
    name, recall, precision
        Columns; a candidate without alerts has no precision and is not drawn. Candidates at one
        point share a dot and a line of names.
    """
    there = table.dropna(subset=[recall, precision])
    points: dict[tuple[float, float], list[str]] = {}
    for who, x, y in zip(there[name], there[recall], there[precision], strict=True):
        points.setdefault((float(x), float(y)), []).append(str(who))
    for (x, y), names in points.items():
        ax.plot(x, y, "o", color=SCORE, markersize=6, clip_on=False, zorder=3)
        text, right = ", ".join(names), x > 0.5
        ax.annotate(
            text,
            (x, y),
            (-7 if right else 7, 0),
            textcoords="offset points",
            ha="right" if right else "left",
            va="center",
            fontsize=9,
        )
    _unit_square(ax, "recall: share of events found", "precision: share of alerts that are true")


def precision_recall(ax: Axes, wrong: Floats, scores: Floats, *, threshold: float) -> None:
    """Draw precision over recall of single readings for every threshold, and the one in use.

    Parameters
    ----------
    wrong
        Shape (n,): whether a reading lies in a labelled event (`evaluation.labelled`).
    scores
        Shape (n,); NaN, never raised, counts as the lowest.
    threshold
        The operating point: readings that score above it.
    """
    truth = np.asarray(wrong, dtype=bool)
    values = np.nan_to_num(np.asarray(scores, dtype=np.float64), nan=-np.inf)
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    hits = np.cumsum(truth[order])[last]
    recall, precision = hits / max(1, truth.sum()), hits / (last + 1)
    ax.plot(recall, precision, color=SCORE, drawstyle="steps-pre")
    ax.axhline(truth.mean(), color=DATA, linestyle=(0, (4, 3)))
    above = values > threshold
    if above.any():
        point = (truth[above].sum() / max(1, truth.sum()), truth[above].mean())
        ax.plot(*point, "o", color=ALARM, markersize=7, clip_on=False, zorder=3)
        ax.annotate(
            f"threshold {threshold:.3g}",
            point,
            (-9, -4),
            textcoords="offset points",
            color=ALARM,
            ha="right",
            va="top",
        )
    _unit_square(ax, "recall: share of labelled readings", "precision of readings above")


def delays(ax: Axes, report: EventReport) -> None:
    """Draw how long after its start each event was found, by kind; a missed one says so.

    Parameters
    ----------
    report
        One row for each event: its length shaded, a dot where its first alert began.
    """
    table = report.table.sort_values(["kind", "delay_s", "start"], ignore_index=True)
    rows = np.arange(len(table))
    lengths = (table["stop"] - table["start"]).dt.total_seconds().to_numpy() / _HOUR_S
    hits = table["found"].to_numpy(dtype=bool)
    late = table["delay_s"].to_numpy() / _HOUR_S
    ax.barh(rows, lengths, color=LABEL, alpha=LABEL_ALPHA, height=0.8)
    ax.hlines(rows[hits], 0, late[hits], color=SCORE, linewidth=1.5)
    ax.plot(late[hits], rows[hits], "o", color=SCORE, markersize=5, clip_on=False)
    for row, delay, hit in zip(rows, late, hits, strict=True):
        where, text = (delay, _duration(delay)) if hit else (0.0, "missed")
        ax.annotate(
            text,
            (where, row),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color="#222222" if hit else ALARM,
            fontweight="normal" if hit else "bold",
        )
    starts = table["start"].dt.strftime("%d %b %H:%M")
    ax.set_yticks(
        rows,
        (table["kind"].str.replace("_", " ") + " · " + table["sensor"] + " · " + starts).tolist(),
    )
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.set_xlabel("delay, h; shaded: the event")


def _duration(hours: float) -> str:
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.1f} h"


def _unit_square(ax: Axes, x: str, y: str) -> None:
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
