"""Nobody waits without end for an answer of Flink's."""

from concurrent.futures import Future

import pytest

from workbench.stream.running.live import _done


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
