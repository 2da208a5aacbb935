"""What is listed and read by the quicker client is what s3fs lists and reads."""

import json
import multiprocessing
from collections import Counter

import pytest

from workbench.archive.bucket import open_bucket
from workbench.archive.storage import s3
from workbench.endpoints import endpoints
from workbench.errors import ArchiveError

pytestmark = pytest.mark.server
KEYS = [
    "plain", "with space", "caf%C3%A9+1", "café", "a#b?c&d=e", "(1)~*'!", "deep/er/x-y_z.0=1",
    "in.two/..dots", "percent%2Fslash", "comma,semi;colon:at@", 'quote"and<tag>', "tail ",
    "x.untagged",
]  # fmt: skip


@pytest.fixture
def objects(tmp_path):
    """Give a folder with a key of each odd kind, and more than two pages of plain ones."""
    folder = tmp_path / "objects"
    for key in KEYS:
        path = folder / "root" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    for number in range(2500):
        name = f"{number * 7919 % 65536:04x}-object"
        (folder / "root" / name).write_bytes(b"%d" % number)
    (folder / "rootless").write_bytes(b"beside the root")
    return folder


KEYS_OF_S3 = {"key": "a-key", "secret": "its-secret"}

SECRETS = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"


def opened(endpoint, url, **options):
    return open_bucket(url, endpoint_url=endpoint.url, **KEYS_OF_S3, **options)


@pytest.mark.parametrize("prefix", ["", "/root"])
def test_keys_of_every_kind_are_listed_and_read_as_s3fs_does(serving, objects, prefix):
    with serving(objects) as endpoint:
        quick = opened(endpoint, f"s3://b{prefix}")
        plain = opened(endpoint, f"s3://b{prefix}", use_ssl=False)
        listed = quick.list()
        expected = plain.list()

        assert (quick.store is None, plain.store is None) == (False, True)
        assert len(listed) == len(KEYS) + 2500 + (prefix == "")
        assert listed == expected
        for key in [f"root/{key}" if not prefix else key for key in KEYS]:
            assert quick.read(key) == plain.read(key) == key.removeprefix("root/").encode()
            assert quick.read(key, 1, 4) == plain.read(key, 1, 4)


def test_a_page_is_a_request_and_a_range_ends_where_the_next_begins(serving, objects):
    with serving(objects) as endpoint:
        store = opened(endpoint, "s3://b/root").store
        keys = [key for key, *_ in s3.list_objects(store, "root")]

        assert len(keys) == len(set(keys)) == len(KEYS) + 2500
        assert keys == sorted(keys)
        assert endpoint.requests()["list"] <= 1 + 1 + 16 + 3


@pytest.mark.parametrize(
    "ask", [lambda x: x.read("gone"), lambda x: x.read("gone", 0, 4), lambda x: x.list()]
)
def test_errors_are_those_of_s3fs(serving, objects, ask):
    with serving(objects) as endpoint:
        texts = []
        for options in ({}, {"use_ssl": False}):
            with pytest.raises(ArchiveError) as caught:
                ask(opened(endpoint, "s3://b/nowhere", **options))
            texts.append(str(caught.value))

    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "options", [{"requester_pays": True}, {"client_kwargs": {"verify": False}}, {"profile": "x"}]
)
def test_options_of_s3fs_alone_are_left_to_it(options):
    bucket = open_bucket("s3://b", endpoint_url="http://127.0.0.1:1", **KEYS_OF_S3, **options)

    assert bucket.store is None


def answer_of_a_fork(ask):
    """Return what a call gives in a fork of this process; fail where it never ends."""
    context = multiprocessing.get_context("fork")
    mine, its = context.Pipe(duplex=False)
    child = context.Process(target=lambda: its.send(ask()))
    child.start()
    try:
        assert mine.poll(120), "the fork says nothing"
        return mine.recv()
    finally:
        child.kill()
        child.join()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_of_a_process_that_has_read_s3_lists_and_reads(serving, objects):
    with serving(objects) as endpoint:
        bucket = opened(endpoint, "s3://b/root")
        listed, plain = bucket.list(), bucket.read("plain")
        assert bucket.store is not None
        for ask in (lambda: bucket, lambda: opened(endpoint, "s3://b/root")):
            assert answer_of_a_fork(lambda: (ask().list(), ask().read("plain"))) == (listed, plain)  # noqa: B023
        assert answer_of_a_fork(lambda: bucket.metadata("plain")) == {}
        assert bucket.read("plain") == plain


@pytest.mark.parametrize("quirk", ["--no-start-after", "--any-case"])
def test_a_store_that_lists_in_its_own_way_is_listed_whole_and_once(serving, objects, quirk):
    for key in ("B-capital", "E-capital", "Z-capital"):
        (objects / key).write_bytes(b"capital")
        (objects / "root" / key).write_bytes(b"capital")
    with serving(objects) as usual:
        expected = opened(usual, "s3://b/root").list()
    with serving(objects, quirk) as endpoint:
        bucket = opened(endpoint, "s3://b/root")
        with pytest.raises(ValueError, match=r"^listed .* after "):
            s3.list_objects(bucket.store, "root")

        assert bucket.list() == expected
        assert len(expected) == len({item.key for item in expected}) == len(KEYS) + 2503


def test_a_key_between_two_ranges_is_missed():
    written = s3.dt.datetime(2026, 6, 1, tzinfo=s3.dt.UTC)
    a, b, c = [(key, 1, "", written) for key in "abc"]

    assert s3._joined([([a], "b"), ([], "b"), ([b, c], ""), ([], "")]) == [a, b, c]
    with pytest.raises(ValueError, match="goes on with 'b', the next: 'c'"):
        s3._joined([([a], "b"), ([c], "")])


def test_a_key_for_a_while_goes_with_its_token(serving, objects, monkeypatch):
    token = "session-token-of-an-hour"  # noqa: S105 - the endpoint takes any
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    with serving(objects) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint.url)
        for options in ({}, {"use_ssl": False}):
            bucket = open_bucket("s3://b/root", **options)
            bucket.list()
            before = endpoint.requests()[f"token {token}"]
            assert bucket.read("plain") == b"plain"
            assert endpoint.requests()[f"token {token}"] == before + 1
            assert token not in repr(bucket) + repr(endpoints())
        before = endpoint.requests()[f"token {token}"]
        opened(endpoint, "s3://b/root").read("plain")  # a key of its own
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        assert endpoints().s3_token == ""
        assert endpoint.requests()[f"token {token}"] == before


def test_the_key_of_the_local_services_is_for_no_endpoint_that_is_named(home, monkeypatch):
    for name in ("AWS_ENDPOINT_URL", *SECRETS):
        monkeypatch.delenv(name, raising=False)
    local = {"s3_endpoint": "http://127.0.0.1:5", "s3_key": "local", "s3_secret": "its own"}
    home.mkdir()
    (home / "services.json").write_text(json.dumps({"endpoints": local}))

    def shown(**options):
        fs = open_bucket("s3://b", **options).fs
        return fs.endpoint_url or fs.client_kwargs.get("endpoint_url"), fs.key, fs.secret

    other = "http://plant:9000"
    assert shown() == tuple(local.values())
    assert shown(endpoint_url="http://127.0.0.1:5/")[1:] == ("local", "its own")
    assert shown(endpoint_url=other) == (other, None, None)
    assert shown(client_kwargs={"endpoint_url": other}) == (other, None, None)
    assert shown(endpoint_url=other, key="mine", secret="s") == (other, "mine", "s")  # noqa: S106
    for name, value in zip(("AWS_ENDPOINT_URL", *SECRETS), (f"{other}/", "mine", "s"), strict=True):
        monkeypatch.setenv(name, value)
    assert shown(endpoint_url=other) == (other, "mine", "s")


def test_a_client_that_fails_is_asked_three_times_and_no_more(serving, objects):
    with serving(objects, "--refuse", "object_store") as endpoint:
        bucket = opened(endpoint, "s3://b/root")
        bucket.list()
        for _ in range(8):
            assert bucket.read("plain", 1, 4) == b"lai"
        with pytest.raises(ArchiveError, match="the object is missing"):
            bucket.read("gone")

        assert bucket.traffic.fallbacks == 3
        assert str(bucket.traffic).endswith(", 3 asked twice")
        assert endpoint.requests()["get"] >= 3 + 8


def test_what_botocore_knows_of_s3_is_shared_and_credentials_are_not(serving, objects):
    with serving(objects) as endpoint:
        first, second = (
            open_bucket("s3://b/root", endpoint_url=endpoint.url, key=name, secret="s", token=name)  # noqa: S106
            for name in ("one", "two")
        )
        for bucket, name in ((first, "one"), (second, "two")):
            bucket.list()
            before = endpoint.requests()
            assert bucket.read("plain") == b"plain"
            assert Counter(endpoint.requests()) - Counter(before) == {"get": 1, f"token {name}": 1}

        loaders = {id(each.fs.session.get_component("data_loader")) for each in (first, second)}
        assert len(loaders) == 1
        assert first.fs.session is not second.fs.session


def test_an_object_that_is_missing_is_no_failure_of_the_client(serving, objects):
    with serving(objects) as endpoint:
        bucket = opened(endpoint, "s3://b/root")
        bucket.list()
        for _ in range(4):
            with pytest.raises(ArchiveError, match="the object is missing"):
                bucket.read("gone")

        assert bucket.traffic.fallbacks == 0


def test_a_slow_link_has_minutes_for_a_request_and_seconds_to_connect(serving, objects):
    with serving(objects) as endpoint:
        options = opened(endpoint, "s3://b").store.client_options

    assert (options["timeout"], options["connect_timeout"]) == ("10m", "10s")
    assert options["read_timeout"] == "1m"
