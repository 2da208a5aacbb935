"""An archive in S3 that was opened before is opened by a listing, and says the same as at first."""

import contextlib
import os
import random
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from workbench import archive
from workbench.archive.format import indexes
from workbench.archive.format.indexes import MANY
from workbench.archive.storage import small_reads
from workbench.cli.archive import ls
from workbench.errors import ArchiveWarning, WorkbenchError

pytestmark = pytest.mark.server
UUID = "00000000-0000-4000-8000-000000000000"
OTHER = "11111111-1111-4111-8111-111111111111"
HERE = Path(__file__).parents[1]


def shared():
    """Return the folder of inputs beside the checkout, or None."""
    named = os.environ.get("WORKBENCH_SHARED")
    folders = [Path(named)] if named else [each / "shared" for each in HERE.parents]
    return next((each for each in folders if (each / "golden").is_dir()), None)


def buckets():
    """Return every folder of offloaded objects there is, but for those of a million messages."""
    roots = [HERE / "cases", HERE / "golden"]
    roots += [shared() / "golden", shared() / "cases" / "archive"] if shared() else []
    by_name = {path.parent.name: path for root in roots for path in root.glob("*/bucket")}
    by_name["sample"] = HERE.parents[1] / "data" / "archive"
    return [path for name, path in sorted(by_name.items()) if not name.startswith("bench")]


def said(function):
    """Return what a call gives, or how it fails; and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = function()
        except WorkbenchError as err:
            result = f"{type(err).__name__}: {err}"
    return result, sorted(str(each.message) for each in caught if each.category is ArchiveWarning)


def content(endpoint):
    """Return everything that an archive says of itself, small topics with their messages."""

    def stray(each):
        return str(each.error), each.ledger_id, each.topic, each.loses

    def opened():
        held = endpoint.open()
        yield held.catalogue.ledgers, held.schemas
        yield [stray(each) for each in held.catalogue.problems]
        yield [str(each) for each in held.catalogue.leftovers]
        yield said(lambda: held.topics().to_dict("records"))
        for name in held.names():
            yield name, said(lambda: held.topic(name).manifest())  # noqa: B023 - called at once
            if sum(each.bytes for each in held.lives(name)[-1].ledgers) < 100_000:
                yield said(lambda: held.topic(name).messages().to_pylist())  # noqa: B023

    return said(lambda: list(opened()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", list(buckets()), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_what_an_archive_says_is_the_same_when_it_is_opened_again(serving, folder):
    with serving(folder) as endpoint:
        cold = content(endpoint)
        before = endpoint.requests()["list"]
        warm = content(endpoint)
        opened = said(endpoint.open)[0]
        after = endpoint.requests()

    assert warm == cold
    assert after["list"] == before + 2
    if isinstance(opened, archive.Archive):
        assert opened.bucket.traffic.fetched == opened.bucket.traffic.asked == 0


@pytest.fixture
def folder(pulsar, tmp_path):
    """Give a folder of 40 ledgers of two topics, a damaged index, and two things left over."""
    folder = tmp_path / "objects"
    folder.mkdir()
    for number in range(40):
        topic = f"public/default/persistent/t{number % 2}"
        pulsar.ledger(folder, [pulsar.entry(b"%d" % number)] * 2, number=number, topic=topic)
    damaged = pulsar.ledger(folder, [pulsar.entry(b"x")], number=90)
    (folder / f"{damaged}-index").write_bytes(b"no index")
    pulsar.ledger(folder, [pulsar.entry(b"x")], number=3, uuid=OTHER, topic=topic)
    (folder / f"{OTHER}-ledger-91").write_bytes(b"its upload is running")
    return folder


def test_the_second_open_is_a_listing_and_nothing_else(serving, folder):
    with serving(folder) as endpoint:
        first = endpoint.open()
        cold = endpoint.requests()
        second = endpoint.open()
        warm = endpoint.requests()

    assert cold["get"] == first.bucket.traffic.fetched == 42
    assert cold["head"] == first.bucket.traffic.asked == 2
    assert warm == {**cold, "list": cold["list"] + 1}
    assert (second.bucket.traffic.fetched, second.bucket.traffic.kept) == (0, 44)
    assert second.catalogue == first.catalogue or repr(second.catalogue) == repr(first.catalogue)


def test_an_object_that_was_changed_is_read_again(serving, folder, pulsar):
    with serving(folder) as endpoint:
        before = endpoint.open(skip_damaged=True).topics()
        key = pulsar.ledger(
            folder, [pulsar.entry(b"new")] * 9, number=4, topic="public/default/persistent/t0"
        )
        opened = endpoint.open(skip_damaged=True)

    assert opened.bucket.traffic.fetched == 1
    assert opened.topic("t0").ledgers[2].key == key
    assert opened.topics()["entries"].sum() == before["entries"].sum() + 7


def test_objects_that_are_gone_are_forgotten(serving, folder, home):
    with serving(folder) as endpoint:
        endpoint.open()
        (kept,) = (home / "archive").glob("*.reads")
        size = kept.stat().st_size
        for path in folder.glob("*-ledger-[123]*"):
            path.unlink()
        endpoint.open()

    assert kept.stat().st_size < size * 2 / 3


def without_cache(endpoint, tmp_path, monkeypatch):
    """Return what `catalogue` gives where nothing is kept."""
    with monkeypatch.context() as patch:
        patch.setenv("WORKBENCH_HOME", tempfile.mkdtemp(dir=tmp_path))
        return catalogue(endpoint)


def catalogue(endpoint):
    """Return what an archive says of its ledgers, and what is wrong with them."""
    held = endpoint.open()
    problems = [(str(x.error), x.ledger_id, x.topic, x.loses) for x in held.catalogue.problems]
    return held.catalogue.ledgers, problems, list(map(str, held.catalogue.leftovers))


def changed(folder, pulsar, numbers):
    """Change some objects: gone, written anew, offloaded again, cut, damaged, or moved."""
    keys = sorted(path.name for path in folder.glob("*-ledger-*") if path.name[-1].isdigit())
    for key in numbers.sample(keys, 12):
        number, topic = int(key.rpartition("-")[2]), f"a/b/persistent/t{numbers.randrange(30)}"
        index = folder / f"{key}-index"
        entries = [pulsar.entry(b"%d" % numbers.randrange(1000))] * numbers.randint(1, 4)
        match numbers.randrange(6):
            case 0:
                (folder / key).unlink()
                index.unlink(missing_ok=True)
            case 1:
                pulsar.ledger(folder, entries, number=number, uuid=key[:36], topic=topic)
            case 2:
                pulsar.ledger(folder, entries, number=number, uuid=OTHER, topic=topic)
            case 3:
                (folder / key).write_bytes((folder / key).read_bytes()[:-1])
            case 4 if index.exists():
                raw = bytearray(index.read_bytes())
                raw[numbers.randrange(len(raw))] ^= 1 << numbers.randrange(8)
                index.write_bytes(raw)
            case _:
                index.unlink(missing_ok=True)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_bucket_that_changes_is_opened_as_if_nothing_were_kept(
    serving, pulsar, tmp_path, monkeypatch, seed
):
    numbers, folder = random.Random(seed), tmp_path / "objects"
    folder.mkdir()
    for number in range(MANY + 200):
        topic = f"a/b/persistent/t{number % 30}"
        pulsar.ledger(folder, [pulsar.entry(b"x")] * 2, number=number, topic=topic)
    with serving(folder) as endpoint:
        for _ in range(3):
            assert catalogue(endpoint) == without_cache(endpoint, tmp_path, monkeypatch)
            changed(folder, pulsar, numbers)
        assert catalogue(endpoint) == without_cache(endpoint, tmp_path, monkeypatch)


@pytest.mark.parametrize("seed", [3, 4])
def test_ledgers_in_columns_are_those_read_one_by_one(serving, pulsar, tmp_path, monkeypatch, seed):
    numbers, folder = random.Random(seed), tmp_path / "objects"
    folder.mkdir()
    for number in range(MANY + 200):
        parts = ["", "-partition-0", "-partition-1"] if number % 30 < 5 else [""]
        topic = f"a/b/persistent/t{number % 30}{numbers.choice(parts)}"
        created_ms = 1_767_225_600_000 + 60_000 * (number if number % 30 != 7 else -number)
        pulsar.ledger(
            folder, [pulsar.entry(b"x")] * 2, number=number, topic=topic, created_ms=created_ms
        )
    changed(folder, pulsar, numbers)
    key = f"{UUID}-ledger-{1 << 63}-index"
    (folder / key).write_bytes(b"an id beyond what a ledger has")
    with serving(folder) as endpoint:
        together, summaries = catalogue(endpoint), endpoint.open(skip_damaged=True).topics()
        with monkeypatch.context() as patch:
            patch.setattr(indexes, "MANY", 1 << 30)
            alone, plain = catalogue(endpoint), endpoint.open(skip_damaged=True).topics()

    assert together == alone
    assert len(together[1]) > 2
    assert summaries.equals(plain)
    assert plain["partitions"].max() == 2


def kept_reads(path, raw=None):
    """Return what counts as kept in a file, of these bytes where they are given."""
    if raw is not None:
        path = path.with_suffix(".other")
        path.write_bytes(raw)
    return small_reads._load(path)


def damages(raw):
    """Yield what may stand in place of a file that was kept."""
    yield b""
    yield b"SQLite format 3\0" + raw
    yield raw.replace(b"reads 1", b"reads 2", 1)
    yield from (raw[:length] for length in range(1, len(raw), len(raw) // 40))
    for place in range(0, len(raw), len(raw) // 200):
        yield raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :]


def test_what_is_kept_counts_as_none_where_it_is_damaged(serving, folder, home):
    with serving(folder) as endpoint:
        expected = repr(endpoint.open().catalogue)
        (kept,) = (home / "archive").glob("*.reads")
        raw = kept.read_bytes()
        for wrong in damages(raw):
            kept.write_bytes(wrong)
            assert len(kept_reads(kept)) == 0
        opened = endpoint.open()

    assert repr(opened.catalogue) == expected
    assert opened.bucket.traffic.fetched == 42
    assert kept_reads(kept)["name"].to_pylist() == kept_reads(kept, raw)["name"].to_pylist()


@contextlib.contextmanager
def full_disk():
    """Let files grow to 100 bytes alone."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("state", ["no folder", "full disk"])
def test_what_cannot_be_kept_costs_time_alone(serving, folder, home, state):
    home.mkdir()
    if state == "no folder":
        (home / "archive").write_text("a file where the folder should be")
    with serving(folder) as endpoint, full_disk():
        first, second = endpoint.open(), endpoint.open()

    assert repr(first.catalogue) == repr(second.catalogue)
    assert second.bucket.traffic.fetched == 42
    assert "; not kept: [Errno" in str(first.bucket.traffic)
    assert not list(home.glob("archive/*"))


def test_a_listing_says_what_it_asked_of_the_bucket(serving, folder, monkeypatch):
    with serving(folder) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", endpoint.key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", endpoint.secret)
        (folder / f"{UUID}-ledger-90-index").unlink()
        size = sum(path.stat().st_size for path in folder.glob("*-index"))
        with pytest.warns(ArchiveWarning, match="has no index"):
            first, second = (CliRunner().invoke(ls, ["s3://b", "-v"]) for _ in range(2))

    assert first.stdout == second.stdout
    assert first.stderr == (
        f"84 objects listed, 41 reads of {size} bytes, 2 asked for metadata, 0 known from before\n"
    )
    assert second.stderr == (
        "84 objects listed, 0 reads of 0 bytes, 0 asked for metadata, 43 known from before\n"
    )


def test_nothing_secret_is_kept_and_its_owner_alone_reads_it(serving, folder, home):
    with serving(folder) as endpoint:
        endpoint.open()

    for path in filter(Path.is_file, home.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0
        raw = path.read_bytes()
        raw += pa.ipc.open_stream(raw[56:]).read_all().to_pandas().to_csv().encode()
        assert endpoint.secret.encode() not in raw
        assert endpoint.key.encode() not in raw


def test_buckets_of_one_name_at_two_endpoints_are_two(serving, folder, tmp_path, pulsar):
    other = tmp_path / "other"
    other.mkdir()
    pulsar.ledger(other, [pulsar.entry(b"x")], topic="public/default/persistent/other")
    with serving(folder) as first, serving(other) as second:
        first.open()
        assert second.open().names() == ["persistent://public/default/other"]


@pytest.mark.slow
def test_processes_that_open_a_bucket_at_once_agree(serving, folder):
    code = (
        "import sys; from workbench import archive; "
        "opened = archive.open('s3://b', endpoint_url=sys.argv[1], key='k', secret='s'); "
        "print(repr(opened.catalogue))"
    )
    with serving(folder) as endpoint:
        command = [sys.executable, "-c", code, endpoint.url]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        texts = {process.communicate()[0] for process in running}
        again = endpoint.open()

    assert texts == {f"{again.catalogue!r}\n"}
    assert again.bucket.traffic.fetched == 0


def test_a_folder_is_read_each_time(folder, home):
    for _ in range(2):
        assert archive.open(str(folder)).bucket.traffic.fetched == 42
    assert not list(home.glob("archive/*.reads"))
