"""The gate: what must hold before a detector may score a stream, and how it then does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from workbench import detectors
from workbench.errors import PackageError, PromotionRefused, StreamError, did_you_mean
from workbench.runs import find
from workbench.stream import checks
from workbench.stream.checks import Finding
from workbench.stream.definition import Stream, load_stream
from workbench.stream.parity import READINGS, parity
from workbench.stream.promotions import (
    BEGINNING,
    MARGIN_S,
    ROLES,
    Promotion,
    add_package,
    append,
    check_order,
    iso,
    promotions,
    store,
)
from workbench.stream.verdict import Verdict


@dataclass(frozen=True)
class _Candidate:
    """Who is asking, for what, and what the log said then."""

    stream: Stream
    role: str
    folder: Path
    run: str
    threshold: float | None
    sensors: tuple[str, ...]
    why: str
    log: list[Promotion]

    def promotion(
        self, package: str, effective_ms: int, *, certificate: str = "", gate: str = ""
    ) -> Promotion:
        return Promotion(
            stream=self.stream.name,
            role=self.role,
            package=package,
            effective_ms=effective_ms,
            decided=now(),
            threshold=self.threshold,
            sensors=self.sensors,
            why=self.why,
            certificate=certificate,
            gate=gate,
        )

    @property
    def before(self) -> list[Promotion]:
        """The promotions of the same role."""
        return [one for one in self.log if one.role == self.role]


def promote(
    run: str | Path,
    *,
    stream: str | Path | Stream,
    role: str = "champion",
    threshold: float | None = None,
    sensors: tuple[str, ...] = (),
    effective: str | None = None,
    even_if_worse: str = "",
    readings: int = READINGS,
    frame: pd.DataFrame | None = None,
    archive: str | None = None,
    runs: str | Path = "runs",
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
    readings
        Parity is proven on so many of the last readings of those judged.
    frame
        What it is judged on; if left out, the archive's recent span (the stream's `gate: days`)
        as far as the detector was not fitted on it.
    archive
        Folder or URL; None: the one that is configured.
    runs
        The store of runs.

    Raises
    ------
    PromotionRefused
        With every reason at once; nothing is promoted then.
    StreamError
        If the stream file is wrong, the time is in the past, or somebody else promotes meanwhile.
    RunError, PackageError
        If there is no such run, or it has no package.
    """
    found = load_stream(stream)
    if role not in ROLES:
        raise StreamError(f"there is no role {role!r}", hint=did_you_mean(role, ROLES))
    log = promotions(found.name)
    folder = _package_folder(run, runs)
    asked = _Candidate(found, role, folder, str(run), threshold, tuple(sensors), even_if_worse, log)
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
    append(promotion, seen=len(asked.before))
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


def _loaded(asked: _Candidate) -> detectors.Package:
    """Return the package, its golden windows scored again; a refusal if it cannot be loaded."""
    try:
        return detectors.load(asked.folder)
    except PackageError as error:
        finding = Finding("package", False, error.message, "loads, and scores as it did")
        verdict = _verdict(asked, "", ("", ""), [finding])
        raise _refusal(verdict, verdict.write()) from error


def _standing(asked: _Candidate, package: detectors.Package) -> Promotion | None:
    """Return the promotion that says just this already, if it is the last one of its role."""
    for last in asked.before[-1:]:
        same = (last.package, last.threshold, last.sensors)
        if same == (package.id, asked.threshold, asked.sensors):
            return last
    return None


def _examine(
    asked: _Candidate,
    package: detectors.Package,
    frame: pd.DataFrame | None,
    readings: int,
    archive: str | None,
) -> tuple[Verdict, str]:
    """Return what the gate found, and where the certificate is, from the store.

    Parity, which starts a Flink job, is proven last, and only if nothing else speaks against it.
    """
    stream = asked.stream
    findings = [
        Finding("package", True, f"{package.spec['name']}, {len(package.detector.golden)} golden "
                "windows score as they did"),
        checks.fits(stream, package, asked.role, asked.before),
    ]  # fmt: skip
    if not findings[-1].passed:
        return _verdict(asked, package.id, ("", ""), findings), ""
    if frame is None:
        frame = checks.recent(stream, package, archive)
    frame = _own(asked, frame)
    times = detectors.epoch_ms(frame["event_time"])
    span = (iso(int(times.min())), iso(int(times.max())))
    add_package(asked.folder)
    findings += _judged(asked, package, frame, archive)
    if not _verdict(asked, package.id, span, findings).passed:
        findings.append(Finding("parity", None, "not tried: refused already"))
        return _verdict(asked, package.id, span, findings), ""
    parted, certificate = _parity(stream, package, frame.tail(readings).reset_index(drop=True))
    return _verdict(asked, package.id, span, [*findings, parted]), certificate


def _own(asked: _Candidate, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the readings of the sensors that it is for."""
    names = frame[asked.stream.sensor]
    unknown = sorted(set(asked.sensors) - set(names))
    if unknown:
        raise StreamError(
            f"no reading is of sensor {unknown[0]!r}",
            hint=did_you_mean(unknown[0], map(str, set(names))),
        )
    if not len(frame):
        raise StreamError("there are no readings to judge it on", hint="choose a longer span")
    return frame[names.isin(asked.sensors)].reset_index(drop=True) if asked.sensors else frame


def _judged(
    asked: _Candidate, package: detectors.Package, frame: pd.DataFrame, archive: str | None
) -> list[Finding]:
    stream, labels = asked.stream, checks.labels_of(asked.stream)
    mine = [asked.promotion(package.id, BEGINNING)]
    candidate = checks.judge(stream, frame, mine, labels)
    champions = [one for one in asked.log if one.role == "champion"]
    shared = frame[checks.covered(stream, frame, champions)].reset_index(drop=True)
    both = [checks.judge(stream, shared, log, labels) for log in (mine, champions) if len(shared)]
    return [
        checks.unseen(package, frame),
        checks.beats(stream, asked.role, both or [candidate], asked.why),
        checks.within_budget(stream, candidate),
        checks.drift(stream, package, frame, archive),
        checks.cost(stream, package, frame),
    ]


def _parity(stream: Stream, package: detectors.Package, frame: pd.DataFrame) -> tuple[Finding, str]:
    certificate = parity(stream, frame, package=package.id)
    name = f"parity-{package.id[:16]}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path = store() / "streams" / stream.name / name
    certificate.write(path)
    found = "; ".join(certificate.reasons()) or (
        f"{certificate.readings:,} readings, scores differ by "
        f"{certificate.largest_difference:.1g} at most, no alert differs"
    )
    return Finding("parity", certificate.passed, found), str(path.relative_to(store()))


def _verdict(
    asked: _Candidate, package: str, span: tuple[str, str], findings: Sequence[Finding]
) -> Verdict:
    champions = [one.package for one in asked.log if one.role == "champion"]
    return Verdict(
        stream=asked.stream.name,
        role=asked.role,
        package=package,
        run=asked.run,
        champion=champions[-1] if champions else "",
        span=span,
        decided=now(),
        findings=tuple(findings),
        why=asked.why,
    )


def _refusal(verdict: Verdict, path: Path) -> PromotionRefused:
    listed = "".join(f"\n  - {one}" for one in verdict.reasons())
    who = f"package {verdict.package[:16]}" if verdict.package else verdict.run
    return PromotionRefused(f"{who} is refused for stream {verdict.stream}:{listed}", where=path)


def now() -> str:
    """Return this moment, ISO-8601 UTC."""
    return iso(round(time.time() * 1000))


def next_effective_ms(before: Sequence[Promotion]) -> int:
    """Return from when a promotion behind those of its role holds, if nobody says otherwise."""
    if not before:
        return BEGINNING
    return max(round((time.time() + MARGIN_S) * 1000), before[-1].effective_ms)


def _moment(effective: str) -> int:
    try:
        moment = pd.Timestamp(effective or "nothing")  # pandas takes "" for a missing time
    except ValueError as err:
        raise StreamError(f"{effective!r} is not a time", hint="2026-01-12T00:00:00Z") from err
    zoned = moment.tz_localize("UTC") if moment.tzinfo is None else moment
    return int(zoned.value // 1_000_000)
