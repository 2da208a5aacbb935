"""Draw the README's picture from the sample: one pump, what it sent, and what a detector said.

python docs/picture.py
"""

from pathlib import Path

import matplotlib.pyplot as plt

import workbench
from workbench import detectors, evaluation, figures

ROOT = Path(__file__).parents[1]
PUMP = "pump-4"
CHANNELS = ["flow_l_min", "motor_current_a", "vibration_mm_s", "bearing_temperature_c"]
SPEC = {"name": "regression", "window": 10, "channels": ["discharge_pressure_bar", *CHANNELS]}
FIT, THRESHOLD, WATCH, STOP = "2026-01-05", "2026-01-10", "2026-01-12", "2026-01-17"


def draw(path: Path) -> None:
    """Fit on five days, set the threshold on two, and draw the days after."""
    archive = str(ROOT / "data" / "archive")
    spans = zip((FIT, THRESHOLD, WATCH), (THRESHOLD, WATCH, STOP), strict=True)
    fit, quiet, watched = (workbench.replay("pumps", *span, archive=archive) for span in spans)
    detector = detectors.fit(SPEC, fit, sensor="pump", seed=7)
    rule = detectors.EpisodeRule(k=3, n=5, m=10)
    threshold = detectors.threshold_for_budget(
        detectors.epoch_ms(quiet["event_time"]),
        quiet["pump"],
        detectors.score_readings(detector, quiet, sensor="pump"),
        alerts_per_sensor_day=0.15,
        rule=rule,
    )
    readings = watched[watched["pump"] == PUMP].sort_values("event_time", kind="stable")
    scores = detectors.score_readings(detector, readings, sensor="pump")
    alerts = detectors.episodes(
        detectors.epoch_ms(readings["event_time"]), readings["pump"], scores, threshold, rule
    )
    labels = evaluation.read_labels(ROOT / "data" / "labels.csv")
    events = labels[labels["sensor"] == PUMP]
    with plt.style.context(figures.STYLE):
        figure, axes = plt.subplots(len(CHANNELS) + 1, 1, figsize=(9, 6.4), sharex=True)
        figures.channels(axes[:-1], readings, CHANNELS, labels=events)
        figures.scores(
            axes[-1],
            readings["event_time"],
            scores,
            threshold,
            labels=events,
            alerts=alerts,
            name="score of the detector; its threshold and alerts in red",
        )
        for ax in axes:
            ax.label_outer()
        figure.savefig(path, dpi=100, pad_inches=0.12)


if __name__ == "__main__":
    draw(ROOT / "docs" / "pump.png")
