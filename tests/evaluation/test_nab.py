import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import EvaluationError
from workbench.evaluation import nab_score, read_nab, write_nab
from workbench.evaluation.nab.scorer import PROFILES, Profile

NAB = Path(os.environ.get("WORKBENCH_NAB", Path(__file__).parents[3] / "shared" / "data" / "nab"))
needs_nab = pytest.mark.skipif(not NAB.is_dir(), reason=f"NAB is not at {NAB}: set WORKBENCH_NAB")


@pytest.fixture(scope="module")
def corpus():
    return read_nab(NAB)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    with tarfile.open(NAB / "results" / "knncad_numentaTM.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def stored_scores(stored, detector, series):
    subset, _, name = series.name.rpartition("/")
    return pd.read_csv(stored / detector / subset / f"{detector}_{name}")["anomaly_score"]


@needs_nab
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("detector", ["knncad", "numentaTM"])
def test_stored_scores_are_worth_what_nab_published(corpus, stored, detector, profile):
    published = json.loads((NAB / "results" / "final_results.json").read_text())
    thresholds = json.loads((NAB / "config" / "thresholds.json").read_text())
    scored = [(one, stored_scores(stored, detector, one).to_numpy()) for one in corpus]

    result = nab_score(
        scored, threshold=thresholds[detector][profile]["threshold"], profile=profile
    )

    assert result.score == pytest.approx(published[detector][profile], abs=1e-6)
    assert nab_score(scored, profile=profile).score >= result.score - 1e-9


@needs_nab
def test_each_file_is_worth_what_nab_published(corpus, stored):
    table = pd.read_csv(stored / "numentaTM" / "numentaTM_standard_scores.csv").set_index("File")
    for series in corpus:
        if series.windows:
            scores = stored_scores(stored, "numentaTM", series).to_numpy()
            raw = nab_score([(series, scores)], threshold=table["Threshold"][series.name]).raw
            assert raw == pytest.approx(table["Score"][series.name], abs=1e-6)


@needs_nab
def test_the_profiles_are_those_of_nab():
    theirs = json.loads((NAB / "config" / "profiles.json").read_text())
    assert set(PROFILES) == set(theirs)
    for name, profile in PROFILES.items():
        costs = theirs[name]["CostMatrix"]
        assert profile == Profile(costs["tpWeight"], costs["fnWeight"], costs["fpWeight"])


@needs_nab
def test_nab_has_the_windows_and_rows_that_its_authors_say(corpus):
    assert len(corpus) == 58
    assert sum(len(series.readings) for series in corpus) == 365_558
    assert sum(len(series.windows) for series in corpus) == 116
    assert sum(bool(series.windows) for series in corpus) == 52
    assert max(series.probation for series in corpus) == 750


@needs_nab
def test_labels_written_are_those_that_nab_wrote(corpus, stored, tmp_path):
    series = next(one for one in corpus if "speed_7578" in one.name)
    path = write_nab(tmp_path, "flat", series, np.zeros(len(series.readings)))
    assert path == tmp_path / "flat" / "realTraffic" / "flat_speed_7578.csv"
    ours = pd.read_csv(path)
    theirs = pd.read_csv(stored / "knncad" / "realTraffic" / "knncad_speed_7578.csv")
    assert list(ours) == ["timestamp", "value", "anomaly_score", "label"]
    for name in ("timestamp", "value", "label"):
        assert (ours[name] == theirs[name]).all()


def folder(tmp_path, *, rows=40, windows=(("00:20", "00:24"),)):
    """A small NAB: one series, a reading a minute."""
    (tmp_path / "data" / "made").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    times = [f"2026-01-05 00:{minute:02d}:00" for minute in range(rows)]
    table = pd.DataFrame({"timestamp": times, "value": np.arange(float(rows))})
    table.to_csv(tmp_path / "data" / "made" / "one.csv", index=False)
    edges = [[f"2026-01-05 {edge}:00.000000" for edge in pair] for pair in windows]
    labels = tmp_path / "labels" / "combined_windows.json"
    labels.write_text(json.dumps({"made/one.csv": edges}))
    return tmp_path


def one_series(tmp_path, **options):
    return read_nab(folder(tmp_path, **options))[0]


def detections(series, *rows):
    scores = np.zeros(len(series.readings))
    scores[list(rows)] = 1.0
    return [(series, scores)]


def test_the_first_row_of_each_window_and_nothing_else_is_worth_100(tmp_path):
    series = one_series(tmp_path)
    assert nab_score(detections(series, 20), threshold=1.0).score == pytest.approx(100.0)
    assert nab_score(detections(series), threshold=1.0).score == 0.0


def test_later_detections_are_worth_less_and_more_of_them_nothing_more(tmp_path):
    series = one_series(tmp_path)
    early, late = (nab_score(detections(series, row), threshold=1.0).score for row in (21, 23))
    assert 0 < late < early < 100
    both = nab_score(detections(series, 21, 23), threshold=1.0).score
    assert both == pytest.approx(early)


def test_a_false_detection_costs_its_weight_and_less_just_after_a_window(tmp_path):
    series = one_series(tmp_path)
    assert nab_score(detections(series, 10), threshold=1.0).raw == pytest.approx(-1 - 0.11)
    assert -1.11 < nab_score(detections(series, 25), threshold=1.0).raw < -1
    assert nab_score(detections(series, 3), threshold=1.0).raw == -1  # in probation


def test_the_best_threshold_is_found(tmp_path):
    series = one_series(tmp_path)
    scores = np.linspace(0, 0.5, 40)
    scores[21] = 0.9
    assert nab_score([(series, scores)]).threshold == 0.9


def test_scores_that_are_none_are_worth_what_never_detecting_is(tmp_path):
    nothing = nab_score([(one_series(tmp_path), np.full(40, np.nan))])
    assert (nothing.score, nothing.raw, nothing.threshold) == (0.0, -1.0, np.inf)


def test_rows_that_go_back_in_time_repeat_the_last_score(tmp_path):
    root = folder(tmp_path)
    path = root / "data" / "made" / "one.csv"
    table = pd.read_csv(path)
    table.loc[10, "timestamp"] = "2026-01-05 00:04:30"
    table.to_csv(path, index=False)
    series = read_nab(root)[0]
    written = pd.read_csv(write_nab(tmp_path / "out", "d", series, np.linspace(0, 1, 40)))
    assert written["anomaly_score"][10] == written["anomaly_score"][9]
    assert written["timestamp"][10] == "2026-01-05 00:04:30"


def test_a_folder_that_is_not_nab_is_refused(tmp_path):
    with pytest.raises(EvaluationError) as caught:
        read_nab(tmp_path)
    path = tmp_path / "labels" / "combined_windows.json"
    assert str(caught.value) == f"there are no NAB labels\n  in {path}\n  name NAB's own folder"
    path.parent.mkdir()
    path.write_text("{}")
    with pytest.raises(EvaluationError) as caught:
        read_nab(tmp_path)
    assert str(caught.value) == f"there is no NAB data\n  in {tmp_path / 'data' / '*' / '*.csv'}"


def test_a_window_that_is_no_row_is_refused(tmp_path):
    with pytest.raises(EvaluationError) as caught:
        one_series(tmp_path, windows=(("00:20", "00:59"),))
    assert str(caught.value) == (
        "a labelled window's edge 2026-01-05 00:59:00.000000 is not a row\n"
        f"  in {tmp_path / 'data' / 'made' / 'one.csv'}"
    )


def test_scores_that_nab_cannot_take_are_refused(tmp_path):
    series = one_series(tmp_path)
    with pytest.raises(EvaluationError) as caught:
        write_nab(tmp_path, "d", series, np.linspace(-1, 2, 40))
    assert str(caught.value) == (
        "scores of made/one.csv go from -1 to 2, NAB takes 0 to 1\n"
        "  calibrate them: a tail probability fits"
    )
    with pytest.raises(EvaluationError) as caught:
        write_nab(tmp_path, "d", series, np.zeros(3))
    assert str(caught.value) == "made/one.csv has 40 rows, there are 3 scores"
    with pytest.raises(EvaluationError) as caught:
        nab_score([(series, np.zeros(3))])
    assert str(caught.value) == "made/one.csv has 40 rows, there are 3 scores"


def test_an_unknown_profile_or_no_window_is_refused(tmp_path):
    series = one_series(tmp_path, windows=())
    with pytest.raises(EvaluationError) as caught:
        nab_score(detections(series), profile="standrad")
    assert str(caught.value) == "no NAB profile 'standrad'\n  did you mean 'standard'?"
    with pytest.raises(EvaluationError) as caught:
        nab_score(detections(series))
    assert str(caught.value) == "no series has a labelled window, the NAB score does not exist"
