"""A real Spark on two cores of this machine, which listens on loopback alone."""

import sys

import pytest

pytest.importorskip("pyspark", reason="Spark is the extra `spark`, on Python 3.11")

MARKS = [
    pytest.mark.slow,
    # pyspark leaves the sockets by which it fetches rows to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture(scope="session")
def spark(tmp_path_factory):
    """Start a session, in a time zone that has summer time; leave no process."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    from workbench.services.jdk import java
    from workbench.spark import PulsarArchive

    scratch = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.shuffle.partitions": "3",
        "spark.sql.session.timeZone": "America/New_York",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={scratch}",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(java().parents[1]))
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        builder = SparkSession.builder.master("local[2]")
        session = builder.config(map=settings).getOrCreate()
        gateway = SparkContext._gateway
        session.dataSource.register(PulsarArchive)
        try:
            yield session
        finally:
            session.stop()
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait(30)
            SparkContext._gateway = SparkContext._jvm = None


@pytest.fixture
def rows(spark):
    """Return a topic of a folder as a DataFrame."""

    def read(folder, topic="t", **options):
        source = spark.read.format("pulsar_archive").option("topic", topic)
        for name, value in options.items():
            source = source.option(name, value)
        return source.load(str(folder))

    return read
