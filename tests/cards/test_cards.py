import shutil

import numpy as np
import pytest
from bs4 import BeautifulSoup
from IPython.core.formatters import DisplayFormatter

from workbench import archive, detectors, plant
from workbench.archive import topic as topic_room
from workbench.archive.facts import time_facts
from workbench.cards import Card, HasCard
from workbench.detectors import EpisodeRule
from workbench.runs.reports.run_report import harmless
from workbench.runs.store import Run
from workbench.stream.definition.stream_file import Stream
from workbench.stream.promotion.proof import Certificate

SAMPLE = "data/archive"


def shown(thing):
    """Return what Jupyter would show: HTML and text."""
    data, _ = DisplayFormatter().format(thing)
    return data["text/html"], data["text/plain"]


def facts(html):
    rows = BeautifulSoup(html, "html.parser").table("tr")
    return {row.th.get_text(): row.td.get_text() for row in rows}


class Pump(HasCard):
    def card(self):
        rows = [{"channel": f"c{number}", "value": 1.5} for number in range(22)]
        given = {"site": "a & b", "empty": "", "none": [], "unknown": None}
        return Card("pump", "<pump-1>", given, rows)


def test_a_name_from_outside_cannot_become_markup():
    html, _ = shown(Pump())

    assert "&lt;pump-1&gt;" in html
    assert facts(html) == {"site": "a & b"}


def test_the_text_says_what_the_html_says():
    html, text = shown(Pump())

    assert text.splitlines()[:4] == [
        "pump <pump-1>", "  site  a & b", "  channel  value", "  c0       1.5"
    ]  # fmt: skip
    assert text.splitlines()[-1] == "  and 2 more"
    assert "<p>and 2 more</p>" in html


def test_a_sentence_in_a_table_goes_on_below_and_pushes_no_column_off_the_terminal():
    sentence = "of 19,251 readings, " * 9
    rows = [{"check": "parity", "found": sentence, "wanted": "all"}, {"check": "fits"}]
    card = Card("gate", "plant", {}, rows)

    _, head, first, *rest = card.text().splitlines()

    assert first.startswith("  parity  of 19,251 readings, of 19,251")
    assert first.endswith("  all")
    assert " ".join([first[10:-5], *rest[:-1]]).split() == sentence.split()
    assert max(map(len, [head, first, *rest])) < 80
    assert rest[-1].split() == ["fits", "-", "-"]


def test_a_report_keeps_every_word_of_a_card():
    html, _ = shown(Pump())

    kept = BeautifulSoup(harmless(html), "html.parser").get_text()
    assert kept == BeautifulSoup(html, "html.parser").get_text()


def test_an_archive_lists_its_topics_and_completes_their_names():
    sample = archive.open(SAMPLE)

    _, text = shown(sample)

    assert text.startswith("archive ")
    assert "persistent://public/default/pumps" in text
    assert "pumps" in sample._ipython_key_completions_()
    assert sample["pumps"].name == "persistent://public/default/pumps"


def test_a_topic_says_when_its_messages_happened():
    html, text = shown(archive.open(SAMPLE)["pumps"])

    lines = facts(html)
    assert lines["messages"] == "120,045"
    assert lines["happened"] == "2026-01-05 00:00 to 2026-01-18 23:59 (event time, UTC)"
    assert lines["rate"] == "5.95 messages a minute on average"
    assert len(lines["over time"]) == 62
    assert "vibration_mm_s" in lines["fields"]
    assert lines["over time"] in text
    assert f"<code>{lines['over time']}</code>" in html  # a hole is as wide as a block


def test_a_question_mark_tells_of_the_topic_and_what_can_be_done_with_it():
    from IPython.core.oinspect import getdoc

    text = getdoc(archive.open(SAMPLE).topic("pumps"))

    assert text.startswith("topic persistent://public/default/pumps\n")
    assert "vibration_mm_s" in text
    assert "  .read: Return the " in text
    assert ".getdoc" not in text


def test_a_silence_is_a_hole_in_the_small_picture():
    times = np.array([*range(1000), *range(3000, 4000)])

    facts = time_facts(times)

    assert facts["over time"] == "|" + "█" * 15 + "·" * 30 + "█" * 15 + "|"
    assert facts["longest gap"] == "2 s, after 1970-01-01 00:00"


def test_a_large_topic_is_not_read_to_be_shown(monkeypatch):
    monkeypatch.setattr(topic_room, "_CARD_BYTES", 1000)

    html, _ = shown(archive.open(SAMPLE)["pumps"])

    assert facts(html)["messages"] == ("not read, it is large: messages(start, stop) reads a part")


def test_a_damaged_topic_says_so_and_does_not_break_the_notebook(tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "archive")
    largest = max((tmp_path / "archive").glob("*-ledger-*"), key=lambda one: one.stat().st_size)
    with largest.open("r+b") as file:
        file.truncate(largest.stat().st_size - 1)

    html, _ = shown(archive.open(str(tmp_path / "archive"))["pumps"])

    assert largest.name in facts(html)["unreadable"]
    assert "messages" not in facts(html)


def test_a_column_of_a_topic_is_there_by_its_name():
    topic = archive.open(SAMPLE)["pumps"]

    assert "flow_l_min" in topic._ipython_key_completions_()
    assert len(topic["flow_l_min"]) == 120_045


def test_a_run_shows_its_metrics_and_parameters(tmp_path):
    (tmp_path / "metrics.json").write_text('{"recall": 0.5}')
    (tmp_path / "params.json").write_text('{"detector": {"name": "knn", "window": 30}}')
    about = {"status": "failed", "reason": "no kernel", "notebook": "20.ipynb", "wall_s": 2}

    html, text = shown(Run(tmp_path, about))

    assert facts(html)["reason"] == "no kernel"
    assert facts(html)["took"] == "2 s"
    assert [line.split() for line in text.splitlines()[-3:]] == [
        ["metric", "recall", "0.5"],
        ["parameter", "detector.name", "knn"],
        ["parameter", "detector.window", "30"],
    ]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    readings, _ = plant.simulate(pumps=1, days=1, faults=False)
    spec = {"name": "robust_z", "window": 4, "channels": ["flow_l_min", "motor_current_a"]}
    detector = detectors.fit(spec, readings, sensor="pump")
    folder = tmp_path_factory.mktemp("packages") / "detector"
    training = {"topic": "pumps", "start": "2026-01-05T00:00:00Z", "objects": []}
    detectors.save(detector, folder, threshold=3.5, rule=EpisodeRule(2, 3, 4), training=training)
    return detectors.load(folder)


def test_a_package_shows_what_it_was_trained_on_and_when_it_alarms(package):
    html, _ = shown(package)

    assert f"<strong>{package.id[:16]}</strong>" in html
    assert facts(html)["trained on"] == "topic=pumps, start=2026-01-05T00:00:00Z"
    assert facts(html)["alarm"] == "2 of 3 readings above, reset after 4 not above"
    assert facts(html)["threshold"] == "3.5"


def test_a_detector_shows_its_specification_and_not_its_arrays(package):
    html, _ = shown(package.detector)

    lines = facts(html)
    assert lines["channels"] == "flow_l_min, motor_current_a"
    assert lines["window"] == "4"
    assert lines["learnt"].endswith(" B")
    assert "array" not in html + repr(package.detector)


def test_a_stream_shows_where_it_reads_and_writes():
    stream = Stream("plant", "persistent://a/b/c", "pump", ("flow_l_min",), "alerts", 60)

    html, _ = shown(stream)

    assert facts(html)["topic"] == "persistent://a/b/c"
    assert facts(html)["window"] == "60"


def certificate(**changed):
    proven = {
        "stream": "plant", "package": "ab" * 32, "first": "1:0:-1:0", "last": "1:9:-1:4",
        "readings": 5000, "scored": 4990, "largest_difference": 3e-16, "alerts": 2,
        "differing_alerts": (), "late_batch": 1, "late_stream": 1, "late_differing": 0,
        "rate": 20_000.0,
    }  # fmt: skip
    return Certificate(**proven | changed)


def test_a_certificate_says_its_verdict_first_and_what_differs():
    passed, failed = certificate(), certificate(largest_difference=0.5)

    assert next(iter(facts(shown(passed)[0]).items())) == ("verdict", "both paths agree")
    assert facts(shown(failed)[0])["because"] == "scores differ by 0.5, at most 1e-09"


def test_an_outcome_shows_its_newest_alerts_first():
    from workbench.stream.running.outcome import Outcome, newest

    alert = {
        "sensor": "pump-1",
        "kind": "episode",
        "status": "open",
        "peak_score": 4.5,
        "readings": 3,
    }
    rows = [
        alert | {"id": "a", "start": "2026-01-05T06:00:00Z"},
        alert | {"id": "b", "start": "2026-01-05T07:00:00Z", "sensor": "<b>"},
    ]
    names = [*rows[0], "peak_time", "stop"]
    none = newest(iter([]), names)
    outcome = Outcome("plant", "ab" * 32, newest(iter(rows), names), none, none, 5000, 3.0, 0.5)

    html, text = shown(outcome)

    assert "5,000, 0 of them late" in text
    assert text.splitlines()[-2:] == [
        "  2026-01-05 07:00:00  <b>     episode  open    4.5         3",
        "  2026-01-05 06:00:00  pump-1  episode  open    4.5         3",
    ]
    assert "&lt;b&gt;" in html
