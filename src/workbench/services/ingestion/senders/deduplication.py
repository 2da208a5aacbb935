"""Let a topic remember how far a producer came, so that what broke off can go on.

Pulsar keeps, for each producer by its name, the highest sequence id that a topic has, and drops
what comes again at or below it. It does so where deduplication is on: a policy of the topic, which
the admin REST API sets; it is on while an ingest is under way. A batch counts by its first message:
the client for C++ and Python says no more, so how long the last batch is must be looked up.

Source: apache/pulsar 4.0.8, MessageDeduplication.isDuplicate and
PersistentTopicsBase.examineMessage; a producer that is away for
`brokerDeduplicationProducerInactivityTimeoutMinutes`, six hours by default, is forgotten.
"""

from __future__ import annotations

import time as clock

from workbench.broker import admin, check, get, partitions, rest_path
from workbench.errors import ServicesError

PREFIX = "workbench-ingest-"  # of producers, and of properties that the topic has of them
_OURS = f"{PREFIX}deduplicates"
_WAIT_S = 30.0
_POLL_S = 0.05
_ENTRIES = 500  # of others, that may have come after ours


def deduplicate(topic: str, producer: str) -> bool:
    """Turn deduplication on for a topic that is there, and return whether it is.

    Where the REST API is out of reach, or refuses, it is not: then nothing is changed. Nor for a
    topic with partitions, of which each has rows here and there.
    """
    try:
        if partitions(topic) != [topic]:
            return False
        is_on = _status(topic) == "Enabled"
        if not is_on or _OURS in _properties(topic):
            under_way = {_OURS: "on", producer: "under way"}
            check(admin("PUT", f"{rest_path(topic)}/properties", json=under_way))
        if not is_on:
            check(admin("POST", _policy(topic), json=True))
        return _becomes(topic, on=True)
    except ServicesError:
        return False


def forget(topic: str, producer: str) -> None:
    """Turn deduplication off again when a producer has sent all, if `deduplicate` turned it on.

    While another that broke off has not gone on, it stays on. It is not left on, as the broker then
    reads the last entries again whenever it loads the topic, from the bucket if they lie there: an
    object that is damaged would keep the topic from loading.

    Raises
    ------
    ServicesError
        If the broker refuses.
    """
    under_way = {name for name in _properties(topic) if name.startswith(PREFIX)}
    if _OURS not in under_way:
        return
    done = [producer] if under_way - {_OURS, producer} else [producer, _OURS]
    if _OURS in done:
        check(admin("DELETE", _policy(topic)))
    for name in done:
        check(admin("DELETE", f"{rest_path(topic)}/properties", params={"key": name}))
    _becomes(topic, on=_OURS not in done)


def _properties(topic: str) -> dict[str, str]:
    return get(f"{rest_path(topic)}/properties") or {}


def _policy(topic: str) -> str:
    return f"{rest_path(topic)}/deduplicationEnabled"


def _status(topic: str) -> str:
    return str(get(f"{rest_path(topic)}/stats").get("deduplicationStatus"))


def _becomes(topic: str, *, on: bool) -> bool:
    """Wait for the broker, which learns of its topics' policies from a topic of its own."""
    deadline, status = clock.monotonic() + _WAIT_S, "Enabled" if on else "Disabled"
    while clock.monotonic() < deadline:
        if _status(topic) == status:
            return True
        clock.sleep(_POLL_S)
    return False


def last_sequence_id(topic: str, producer: str) -> int:
    """Return the sequence id of a producer's last message on a topic.

    Raises
    ------
    ServicesError
        If the topic does not have it any more, or too much of others came after it.
    """
    for position in range(1, _ENTRIES + 1):
        place = {"initialPosition": "latest", "messagePosition": position}
        answer = admin("GET", f"{rest_path(topic)}/examinemessage", params=place)
        if not answer.ok:
            break
        entry = answer.headers
        if entry.get("X-Pulsar-producer-name") == producer:
            batch = int(entry.get("X-Pulsar-num-batch-message", "1"))
            return int(entry["X-Pulsar-sequence-id"]) + batch - 1
    raise ServicesError(
        "these readings were sent before, and it cannot be seen how far",
        where=topic,
        hint="--again sends them all, whatever the topic has of them",
    )
