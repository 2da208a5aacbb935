"""Flink's answers: none is waited for without end, and what is told of a Java stack trace."""

from concurrent.futures import Future

import pytest

from workbench.stream.running.failures import innermost
from workbench.stream.running.live import _done

FETCHER = """java.lang.RuntimeException: One or more fetchers have encountered exception
\tat org.apache.flink.SplitFetcherManager.checkErrors(SplitFetcherManager.java:333)
\tSuppressed: java.lang.IllegalStateException: closed twice
\t\tat org.apache.flink.StreamTask.cleanUp(StreamTask.java:1)
\tCaused by: java.io.IOException: of what was suppressed
\t\t... 3 more
Caused by: java.lang.RuntimeException: SplitFetcher thread 0 received unexpected exception
\tat org.apache.flink.SplitFetcher.runOnce(SplitFetcher.java:165)
\t... 1 more
"""
ANSWER = "workbench.SchemaRegistry$Silent: the schema registry does not answer: ConnectException"
WORKER = """Caused by: java.lang.RuntimeException: Error received from SDK harness for \
instruction 3: Traceback (most recent call last):
  File "sdk_worker.py", line 287, in _execute
    response = task()
ValueError: window has 3 channels, the detector 2

\tat org.apache.beam.FnApiControlClient$ResponseStreamObserver.onNext(FnApiControlClient.java:180)
\t... 1 more
"""


def test_the_innermost_cause_is_told_with_its_class():
    thrown = f"{FETCHER}Caused by: {ANSWER}\n\tat workbench.SchemaRegistry.once(X.java:1)\n"
    assert innermost(thrown) == ANSWER


def test_what_was_suppressed_is_no_cause():
    assert innermost(FETCHER).startswith("java.lang.RuntimeException: SplitFetcher thread 0")


def test_a_cause_without_a_message_tells_where_it_was_thrown():
    silent = "Caused by: java.lang.NullPointerException\n\t"
    assert innermost(f"{FETCHER}{silent}at a.B.c(B.java:7)\n\tat a.B.d(B.java:9)\n") == (
        "java.lang.NullPointerException at a.B.c(B.java:7)"
    )
    assert innermost(f"{FETCHER}{silent}... 9 more\n") == "java.lang.NullPointerException"


def test_of_a_worker_s_traceback_the_last_line_is_told():
    assert innermost(FETCHER + WORKER) == "ValueError: window has 3 channels, the detector 2"


def test_a_failure_that_nothing_caused_has_no_cause():
    assert innermost("java.lang.OutOfMemoryError: Java heap space\n\tat a.B.c(B.java:7)") == ""
    assert innermost("") == ""


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_said():
    assert not _done(Future(), 0.3)


def test_an_answer_that_came_is_taken_and_one_that_is_an_error_raised():
    answer = Future()
    answer.set_result(None)
    refusal = Future()
    refusal.set_exception(ValueError("no such job"))

    assert _done(answer, 0.0)
    with pytest.raises(ValueError, match="no such job"):
        _done(refusal, None)
