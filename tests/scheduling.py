"""Which worker takes which file of the tests that start servers: `make live` names this plugin.

The first worker takes the files that want Pulsar, the longest first. The others take from the other
end of the queue, what wants none, the longest first too. So no long file is left for the end, when
one core would have nothing to do, and Pulsar is started once as long as there is other work.
"""

from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[1]
_REASON_CHARACTERS = 1500
# roughly, alone: only their order counts
SECONDS = {
    "tests/alerts/test_live.py": 70,
    "tests/alerts/test_whole_way.py": 90,
    "tests/archive/storage/test_bad_network.py": 120,
    "tests/archive/test_broker.py": 60,
    "tests/archive/writing/test_lake.py": 40,
    "tests/desk/test_laboratory.py": 60,
    "tests/desk/test_watching.py": 50,
    "tests/notebooks/test_notebooks.py": 120,
    "tests/runs/test_sweep.py": 60,
    "tests/runs/test_train.py": 40,
    "tests/serve/test_live.py": 60,
    "tests/services/test_connector.py": 60,
    "tests/services/test_control.py": 60,
    "tests/services/test_flink.py": 60,
    "tests/services/test_offloading.py": 60,
    "tests/services/ingestion/test_resuming.py": 40,
    "tests/services/test_robustness.py": 60,
    "tests/spark/test_data_source.py": 40,
    "tests/spark/test_scoring.py": 50,
    "tests/stream/connectors/test_kafka.py": 200,
    "tests/stream/connectors/test_pace.py": 60,
    "tests/stream/flink_sql/test_avro_readings.py": 60,
    "tests/stream/flink_sql/test_events.py": 80,
    "tests/stream/function/test_export.py": 60,
    "tests/stream/promotion/test_parity.py": 60,
    "tests/stream/promotion/test_promoting.py": 60,
    "tests/stream/running/test_application.py": 50,
    "tests/stream/running/test_class_path.py": 75,
    "tests/stream/running/faults/test_short.py": 150,
    "tests/stream/running/test_job.py": 60,
    "tests/stream/running/test_live_partitions.py": 150,
    "tests/stream/running/test_originals.py": 40,
    "tests/stream/running/test_session.py": 140,
    "tests/stream/running/test_skewed_backlog.py": 110,
    "tests/stream/running/test_started_anew.py": 80,
    "tests/stream/test_around.py": 40,
    "tests/stream/test_levels.py": 60,
    "tests/test_crashes.py": 60,
    "tests/test_docs.py": 130,
}


@pytest.hookimpl(trylast=True)  # after those that are not asked for are gone
def pytest_collection_modifyitems(items):
    """Put files that want Pulsar first, the longest at their head; the longest others last."""
    live = {item.path for item in items if "services" in getattr(item, "fixturenames", ())}

    def place(item):
        seconds = SECONDS.get(str(item.path.relative_to(ROOT)), 0)
        return (False, -seconds) if item.path in live else (True, seconds)

    items.sort(key=place)


class BothEnds(LoadFileScheduling):
    """Files as they are collected: the first worker's from the front, the others' from the back."""

    def _assign_work_unit(self, node):
        if node.gateway.id != "gw0":
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config, log):
    """Return the scheduler, which takes files in their order and not by their number of tests."""
    config.option.loadscopereorder = False
    return BothEnds(config, log)


def pytest_terminal_summary(terminalreporter):
    """Say why the tests that were tried once more had failed."""
    for report in terminalreporter.stats.get("rerun", ()):
        terminalreporter.section(f"tried again: {report.nodeid}")
        terminalreporter.write_line(report.longreprtext[-_REASON_CHARACTERS:])
