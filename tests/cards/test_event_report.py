import pandas as pd
from IPython.core.formatters import DisplayFormatter

from workbench import evaluation


def test_an_event_report_has_a_row_for_each_kind():
    noon = pd.Timestamp("2026-01-12T00:00Z")
    hour = pd.Timedelta(hours=1)
    labels = pd.DataFrame(
        {"sensor": ["a"], "start": [noon], "stop": [noon + hour], "kind": ["leak"]}
    )
    alerts = pd.DataFrame({"sensor": ["a"], "start": [noon + hour / 2]})
    report = evaluation.event_report(alerts, labels, span=(noon, noon + 24 * hour), sensors=["a"])

    text = DisplayFormatter().format(report)[0]["text/plain"]
    lines = [line.split() for line in text.splitlines()]

    assert lines[1] == ["events", "found", "1", "of", "1"]
    assert lines[-1] == ["leak", "1", "1", "1", "1800"]
