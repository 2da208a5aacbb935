"""One function per figure: it takes axes and returns nothing.

Data grey, score blue, alarms red, labels shaded; units from the field names, times in UTC. No
titles: the prose beside a figure is its title. `plt.style.use(figures.STYLE)` sets sizes and fonts.
They neither read, score nor judge: what they draw is handed to them.
"""

from workbench.figures.closeups import closeup, nearest_windows
from workbench.figures.judging import candidates, delays, precision_recall, recall_precision
from workbench.figures.lines import channels, score_stack, scores, series
from workbench.figures.maps import alerts_by_day, completeness, drift
from workbench.figures.style import ALARM, DATA, LABEL, NORMAL, SCORE, STYLE, label
from workbench.figures.sweeps import parameter_lines, parameter_map

__all__ = [
    "ALARM",
    "DATA",
    "LABEL",
    "NORMAL",
    "SCORE",
    "STYLE",
    "alerts_by_day",
    "candidates",
    "channels",
    "closeup",
    "completeness",
    "delays",
    "drift",
    "label",
    "nearest_windows",
    "parameter_lines",
    "parameter_map",
    "precision_recall",
    "recall_precision",
    "score_stack",
    "scores",
    "series",
]
