"""Stream files that somebody wrote to do harm, or by a slip: each is refused in a line."""

import os
import time
from contextlib import suppress

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import bounded_yaml, local_sql
from workbench.errors import StreamError
from workbench.stream import load_stream, parse_stream
from workbench.stream.definition.expressions import FUNCTIONS, check_expressions

HINT = "one SQL expression over the stream's channels: docs/stream-file.md"
REFUSED = {
    "(SELECT 1)": "holds a subquery",
    "(SELECT max(flow_l_min) FROM readings)": "holds a subquery",
    "flow_l_min IN (SELECT 1)": "holds a subquery",
    "(SELECT content FROM read_text('/etc/passwd'))": "holds '",
    "read_text(flow_l_min)": "calls 'read_text', which is not among those allowed",
    "read_blob(1)": "calls 'read_blob', which is not among those allowed",
    "glob(1)": "calls 'glob', which is not among those allowed",
    "current_setting(1)": "calls 'current_setting', which is not among those allowed",
    "main.abs(1)": "calls 'abs', which is not among those allowed",
    "flow_l_min FROM duckdb_settings()": "is more than one expression",
    "flow_l_min FROM readings": "is more than one expression",
    "flow_l_min AS DOUBLE), (SELECT 1": "is no SQL: syntax error at or near \")\"",
    "1), (2": 'is no SQL: syntax error at or near ")"',
    "1, 2": "is more than one expression",
    "1 AS x": "names something 'x'",
    "1 WHERE flow_l_min > 1": "is a query",
    "1 LIMIT 1": "is a query",
    "1 UNION SELECT 2": "is more than one expression",
    "1 -- the rest": "holds --",
    "1 /* the rest */": "holds /*",
    "sum(flow_l_min) OVER ()": "holds a window",
    "sum(flow_l_min)": "calls 'sum', which is not among those allowed",
    "*": "holds a star",
    "COLUMNS(*)": "holds a star",
    "readings.flow_l_min": "names 'readings.flow_l_min', no channel",
    "flw_l_min": "names 'flw_l_min', no channel",
    "?": "holds a parameter",
    "x -> 1": "holds a lambda",
    "[flow_l_min]": "calls 'list_value', which is not among those allowed",
    "CAST(flow_l_min AS VARCHAR)": "casts to VARCHAR, no number",
    "1e999": "holds a number that is not finite",
    "1e400 * flow_l_min": "holds a number that is not finite",
    "": 'is no SQL: SELECT clause without selection list',
    "1" + " + 1" * 5000: "has 20001 characters",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_expression_over_the_channels_is_refused(content, text):
    with pytest.raises(StreamError) as error:
        parse_stream("s", content(derived={"load": text}))

    shown = text if len(text) <= 60 else f"{text[:60]}..."
    said = f"derived load is {shown!r}, which {REFUSED[text]}"
    assert error.value.message.startswith(said)
    if "flw" not in text:
        assert error.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "pressure_bar / (1 + flow_l_min * flow_l_min)",
        "`pressure_bar` % 2 - -flow_l_min",
        "CASE WHEN flow_l_min > 1 AND NOT pressure_bar IS NULL THEN 1.5e-3 ELSE NULL END",
        "COALESCE(NULLIF(flow_l_min, 0), ABS(pressure_bar), 1)",
        "CAST(flow_l_min BETWEEN 1 AND 2 OR flow_l_min IN (3, 4) AS INTEGER)",
        "GREATEST(POWER(SQRT(EXP(LN(flow_l_min))), 2), MOD(7, 2), FLOOR(pressure_bar))",
    ],
)
def test_arithmetic_passes(content, text):
    assert parse_stream("s", content(derived={"load": text})).derived == {"load": text}


def test_limits_and_steps_are_held_to_it_too(content):
    limits = {"high": "pressure_bar > (SELECT 1)"}
    steps = {"template": "sequence", "steps": ["flow_l_min > 1", "system(1) > 1"], "within_s": 5}

    with pytest.raises(StreamError, match=r"limit high is .* which holds a subquery"):
        parse_stream("s", content(limits=limits))
    with pytest.raises(StreamError, match=r"pattern surge, step 2 is .* which calls 'system'"):
        parse_stream("s", content(patterns={"surge": steps}))
    fine = {"fast": "flow_l_min_per_s > 0.1", "low": "total < 3"}
    sums = {"total": {"of": "flow_l_min", "every_s": 60}}
    assert parse_stream("s", content(limits=fine, sums=sums)).limits["low"].limit == -3


WORDS = st.sampled_from(
    [*sorted(FUNCTIONS), "a", "b", "(", ")", ",", "+", "-", "1", "1e3", "SELECT", "FROM", "AS", "*",
     "read_text", "duckdb_settings", "CASE", "WHEN", "END", "::", "[", "]", "{", "}", ":", ".", "?",
     "WHERE", "UNION", "IN", "CAST", "DOUBLE", "OVER", "STRUCT", "lambda", "x", "TABLE", "VALUES"]
)  # fmt: skip


UNFIT = duckdb.BinderException, duckdb.ConversionException, duckdb.OutOfRangeException


@settings(max_examples=int(os.environ.get("WORKBENCH_FUZZ", "100")))
@given(st.lists(WORDS, max_size=12).map(" ".join))
def test_what_passes_is_one_number_of_one_row(text):
    try:
        check_expressions({"it": text}, ["a", "b"])
    except StreamError:
        return
    with local_sql.connect() as connection:
        query = f"SELECT CAST({text} AS DOUBLE) FROM (SELECT 1.5 AS a, 2.5 AS b)"  # noqa: S608
        with suppress(*UNFIT):
            rows = connection.execute(query).fetchall()  # else types, or arguments, do not fit
            assert [len(row) for row in rows] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/written.csv'",
        "ATTACH '/tmp/written.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "PRAGMA memory_limit='1GB'",
    ],
)
def test_duckdb_opens_nothing_and_changes_nothing(text):
    with local_sql.connect() as connection, pytest.raises(duckdb.Error):
        connection.execute(text)


NUMBERS = {
    "lateness_s": [10**400, 1e300, float("inf"), float("nan"), 4e7, -1, 0],
    "ahead_s": [10**400, 1e300, float("inf"), 4e7, 0],
    "threshold": [10**400, 1e300, float("inf"), float("-inf"), float("nan"), -(10**20)],
    "window": [10**400, 10**5, 0, -1, 1.5, True],
}


@pytest.mark.parametrize(("key", "value"), [(key, one) for key in NUMBERS for one in NUMBERS[key]])
def test_absurd_numbers_are_refused_in_a_line(content, key, value):
    with pytest.raises(StreamError) as error:
        parse_stream("s", content(**{key: value}))

    assert error.value.message.startswith(f"{key} is ")
    assert len(error.value.message) < 150


@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan"), -1, 1e12])
def test_absurd_spans_of_sums_patterns_and_gates_are_refused(content, value):
    for more in (
        {"sums": {"total": {"of": "flow_l_min", "every_s": value}}},
        {"patterns": {"silent": {"template": "silent_sensor", "after_s": value}}},
        {"gate": {"days": value}},
    ):
        if value == 1e12 and "gate" in more:
            continue
        with pytest.raises(StreamError) as error:
            parse_stream("s", content(**more))
        assert len(error.value.message) < 200


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{one}: &{one} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n"
    for before, one in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "it unfolds to 1234567909 nodes, at most 50000"),
        (MERGES, "it unfolds to "),
        ("a: &a [*a]\n", "it is nested more than 50 deep"),
        ("a: " + "[" * 5000, "it has 5000 brackets open, at most 50"),
        ("a: " + "[" * 60 + "]" * 60, "it has 60 brackets open, at most 50"),
        ("- " * 60 + "a", "it is nested more than 50 deep"),
        ("- " * 5000 + "a", "it is nested too deep"),
        ("a: " + "9" * 5000, "Exceeds the limit (4300 digits)"),
        ("a: 2026-02-31", "day is out of range for month"),
        ("a: " + "x" * (1 << 20), "it has 1048580 characters, at most 1048576"),
    ],
    ids="aliases merges itself unclosed deep list lists digits date long".split(),  # noqa: SIM905
)
def test_a_bomb_of_yaml_is_refused_at_once(tmp_path, text, said):
    (tmp_path / "s.yaml").write_text(text)
    began = time.process_time()

    with pytest.raises(StreamError) as error:
        load_stream(tmp_path / "s.yaml")

    assert error.value.message.startswith(f"the stream file is not YAML: {said}")
    assert error.value.where == str(tmp_path / "s.yaml")
    assert time.process_time() - began < 5


def test_plain_yaml_says_what_it_said():
    assert bounded_yaml.load("a: &a [1, {b: c}]\nd: *a\n") == {
        "a": [1, {"b": "c"}],
        "d": [1, {"b": "c"}],
    }
    assert bounded_yaml.load("") is None
