"""The gate: what must hold before a detector may score a stream, and how it then does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from workbench import detectors
from workbench.errors import PackageError, PromotionRefused, StreamError, did_you_mean
from workbench.evaluation import GroundTruth
from workbench.runs import find
from workbench.stream.definition.stream_file import Stream, load_stream
from workbench.stream.promotion import checks
from workbench.stream.promotion.budget import Carried
from workbench.stream.promotion.candidates import Candidate, changes_of, findings_of, judge_both
from workbench.stream.promotion.proof import READINGS
from workbench.stream.promotion.verdicts import Finding, Verdict
from workbench.stream.promotion_log import (
    BEGINNING,
    MARGIN_S,
    ROLES,
    Promotion,
    add_package,
    append,
    check_order,
    promotions,
    store,
)
from workbench.stream.running import originals
from workbench.stream.span.proving import parity
from workbench.times import Time, epoch_ms, instant_ms, iso, now_ms


def promote(
    run: str | Path,
    *,
    stream: str | Path | Stream,
    role: str = "champion",
    threshold: float | None = None,
    sensors: tuple[str, ...] = (),
    effective: str | None = None,
    even_if_worse: str = "",
    reason: str = "",
    readings: int = READINGS,
    frame: pd.DataFrame | None = None,
    archive: str | originals.Origin | None = None,
    runs: str | Path = "runs",
    answers_until: Time = None,
    truth: GroundTruth | None = None,
    carried: Carried | None = None,
) -> Promotion:
    """Let the detector of a run score a stream, if it passes the gate.

    What the gate found is written either way. What already is so is not done again.

    Parameters
    ----------
    run
        Id of a run, its folder, or the folder of a package itself.
    role
        `champion` decides alerts; `challenger` scores beside it.
    threshold
        In place of the package's.
    sensors
        The sensors it is for; empty: all.
    effective
        Event time from which it holds, ISO-8601 UTC. If left out: the first one of a role, the
        first reading; a later one, 30 s from now.
    even_if_worse
        Why it may score although the champion is better; kept in the log.
    reason
        Why it is promoted, for the log; the gate asks no less of it.
    readings
        Parity is proven on so many of the last readings of those judged.
    frame
        What it is judged on; if left out, the archive's recent span (the stream's `gate: days`)
        as far as the detector was not fitted on it.
    archive
        Folder or URL; None: the one that is configured, of a stream on Kafka what that
        has. Parity is proven on the archive's messages
        where it is given, or no `frame` is.
    runs
        The store of runs.
    answers_until
        With `labels: feedback`: answers that were given later do not count; None: all do. The
        verdict names the instant.
    truth
        What is known of the span, in place of what the stream's labels say by now.
    carried
        Of a threshold that a `refit` with `carry_over` bought: what came before, which its budget
        is judged by. It was bought on the readings that it is judged on, and the verdict says so.

    Raises
    ------
    PromotionRefused
        With every reason at once; nothing is promoted then.
    StreamError
        If the stream file is wrong, the time is in the past, somebody else promotes meanwhile, or
        both `answers_until` and `truth` are given.
    RunError, PackageError
        If there is no such run, or it has no package.
    """
    definition = load_stream(stream)
    if role not in ROLES:
        raise StreamError(f"there is no role {role!r}", hint=did_you_mean(role, ROLES))
    log = promotions(definition.name)
    folder = _package_folder(run, runs)
    if truth is None:
        truth = checks.truth_of(definition, until=answers_until)
    elif answers_until is not None:
        raise StreamError("answers_until and truth are both given: what is known is known already")
    asked = Candidate(
        definition, role, folder, str(run), threshold, tuple(sensors), even_if_worse, reason, log,
        truth, carried,
    )  # fmt: skip
    moment = None if effective is None else _moment(effective)
    if moment is not None:
        check_order(asked.promotion("", moment), asked.before)
    package = _loaded(asked)
    standing = _standing(asked, package)
    if standing and effective is None:
        return standing
    verdict, certificate = _examine(asked, package, frame, readings, archive)
    path = verdict.write()
    if not verdict.passed:
        raise _refusal(verdict, path)
    promotion = asked.promotion(
        package.id,
        moment if moment is not None else next_effective_ms(asked.before),
        certificate=certificate,
        gate=str(path.relative_to(store())),
    )
    append(promotion, expected_length=len(asked.before))
    return promotion


def _package_folder(run: str | Path, runs: str | Path) -> Path:
    folder = Path(run)
    if not folder.is_dir():
        folder = find(str(run), runs).path
    if (folder / "detector.json").is_file():
        return folder
    if (folder / "detector").is_dir():
        return folder / "detector"
    raise PackageError("the run has no detector package", where=folder)


def _loaded(asked: Candidate) -> detectors.Package:
    """Return the package, its golden windows scored again; a refusal if it cannot be loaded."""
    try:
        return detectors.load(asked.folder)
    except PackageError as error:
        finding = Finding("package", False, error.message, "loads, and scores as it did")
        verdict = _verdict(asked, "", ("", ""), [finding])
        raise _refusal(verdict, verdict.write()) from error


def _standing(asked: Candidate, package: detectors.Package) -> Promotion | None:
    """Return the promotion that says just this already, if it is the last one of its role."""
    for last in asked.before[-1:]:
        same = (last.package, last.threshold, last.sensors)
        if same == (package.id, asked.threshold, asked.sensors):
            return last
    return None


def _examine(
    asked: Candidate,
    package: detectors.Package,
    frame: pd.DataFrame | None,
    readings: int,
    archive: str | originals.Origin | None,
) -> tuple[Verdict, str]:
    """Return what the gate found, and where the certificate is, from the store.

    Parity, which starts a Flink job, is proven last, and only if nothing else speaks against it.
    """
    stream = asked.stream
    findings = [
        Finding("package", True, f"{package.spec['name']}, {len(package.detector.golden)} golden "
                "windows score as they did"),
        checks.fits(stream, _with_threshold(asked, package), asked.role, asked.before),
    ]  # fmt: skip
    if not findings[-1].passed:
        return _verdict(asked, package.id, ("", ""), findings), ""
    opened = originals.readable(stream, archive) if frame is None or archive is not None else None
    if frame is None:
        frame = checks.recent(stream, package, opened)
    frame = _of_sensors(asked, frame)
    times = epoch_ms(frame["event_time"])
    span = (iso(int(times.min())), iso(int(times.max())))
    add_package(asked.folder, package_id=package.id)  # it may be another one by now
    named = frame[frame[stream.sensor].notna()].reset_index(drop=True)
    judged = judge_both(asked, package, named)
    findings += findings_of(asked, package, named, judged, opened)
    verdict = replace(
        _verdict(asked, package.id, span, findings), changes=changes_of(asked, judged, span)
    )
    if not verdict.passed:
        untried = Finding("parity", None, "not tried: refused already")
        return replace(verdict, findings=(*verdict.findings, untried)), ""
    last = originals.newest(frame, readings) if opened else frame.tail(readings)
    given = asked.threshold if stream.threshold is None else stream.threshold
    stream, last = replace(stream, threshold=given), last.reset_index(drop=True)
    parted, certificate = _parity(stream, package, last, opened)
    return replace(verdict, findings=(*verdict.findings, parted)), certificate


def _with_threshold(asked: Candidate, package: detectors.Package) -> detectors.Package:
    return package if asked.threshold is None else replace(package, threshold=asked.threshold)


def _of_sensors(asked: Candidate, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the readings of the sensors that it is for."""
    names = frame[asked.stream.sensor]
    sensors = set(names.dropna())
    if not sensors:
        raise StreamError(
            f"none of {len(frame):,} readings to judge it on names a {asked.stream.sensor}",
            where=asked.stream.topic,
            hint="choose a longer span, or see `sensor` in the stream file",
        )
    unknown = sorted(set(asked.sensors) - sensors)
    if unknown:
        raise StreamError(
            f"no reading is of sensor {unknown[0]!r}",
            hint=did_you_mean(unknown[0], map(str, sensors)),
        )
    return frame[names.isin(asked.sensors)].reset_index(drop=True) if asked.sensors else frame


def _parity(
    stream: Stream,
    package: detectors.Package,
    frame: pd.DataFrame,
    archive: originals.Origin | None,
) -> tuple[Finding, str]:
    certificate = parity(stream, frame, package=package.id, archive=archive)
    name = f"parity-{package.id[:16]}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path = store() / "streams" / stream.name / name
    certificate.write(path)
    description = "; ".join(certificate.reasons()) or (
        f"{certificate.scored:,} of {certificate.able:,} readings scored, {certificate.share:.1%} "
        f"({certificate.counts() or 'all'}), by {certificate.read}; scores differ by "
        f"{certificate.largest_difference:.1g} at most, no alert and no row differs"
    )
    return Finding("parity", certificate.passed, description), str(path.relative_to(store()))


def _verdict(
    asked: Candidate, package: str, span: tuple[str, str], findings: Sequence[Finding]
) -> Verdict:
    champions = asked.champions
    return Verdict(
        stream=asked.stream.name,
        role=asked.role,
        package=package,
        run=asked.run,
        champion=champions[-1].package if champions else "",
        span=span,
        decided=now(),
        findings=tuple(findings),
        why=asked.why,
        labels=asked.truth.manifest,
    )


def _refusal(verdict: Verdict, path: Path) -> PromotionRefused:
    listed = "".join(f"\n  - {reason}" for reason in verdict.reasons())
    who = f"package {verdict.package[:16]}" if verdict.package else verdict.run
    return PromotionRefused(f"{who} is refused for stream {verdict.stream}:{listed}", where=path)


def now() -> str:
    """Return this moment, ISO-8601 UTC."""
    return iso(now_ms())


def next_effective_ms(before: Sequence[Promotion]) -> int:
    """Return from when a promotion behind those of its role holds, if nobody says otherwise."""
    if not before:
        return BEGINNING
    return max(now_ms() + round(MARGIN_S * 1000), before[-1].effective_ms)


def _moment(effective: str) -> int:
    moment = instant_ms(effective)
    if moment is None:
        raise StreamError("'' is not a time", hint="2026-01-12T00:00:00Z")
    return moment
