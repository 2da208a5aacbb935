"""Packages that somebody built to do harm: each is refused, quickly, and before anything runs."""

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import time
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench import detectors
from workbench.detectors import EpisodeRule
from workbench.errors import PackageError

SPEC = {"name": "iforest", "window": 4, "channels": ["flow"], "n_estimators": 3, "max_samples": 16}


class Bomb:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self):
        return os.mkdir, ("pickle-was-loaded",)


@pytest.fixture(scope="module")
def whole(readings, tmp_path_factory):
    """Return the two files of a good package."""
    folder = tmp_path_factory.mktemp("good") / "detector"
    detector = detectors.fit(SPEC, readings, sensor="pump")
    detectors.save(detector, folder, threshold=0.5, rule=EpisodeRule(), training={})
    return {one.name: one.read_bytes() for one in folder.iterdir()}


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "detector").mkdir()
    for name, content in whole.items():
        (tmp_path / "detector" / name).write_bytes(content)
    return tmp_path / "detector"


def edit(folder, change=None, arrays=None):
    """Rewrite a package with everything that is hashed made to fit."""
    document = json.loads((folder / "detector.json").read_text())
    if arrays is not None:
        (folder / "arrays.npz").write_bytes(arrays)
    content = (folder / "arrays.npz").read_bytes()
    document["arrays_sha256"] = hashlib.sha256(content).hexdigest()
    for key, value in (change or {}).items():
        *path, last = key.split("/")
        part = document
        for name in path:
            part = part[name]
        part[last] = value
    (folder / "detector.json").write_text(json.dumps(document))


def stored(folder):
    """Return the members of arrays.npz as they are."""
    with zipfile.ZipFile(folder / "arrays.npz") as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def with_array(folder, name, array):
    """Put another array into a package, layout and hash included."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0))
    layout = {"dtype": array.dtype.str, "shape": list(array.shape)}
    members = stored(folder) | {f"{name}.npy": buffer.getvalue()}
    edit(folder, {f"arrays/{name}": layout}, zipped(dict(sorted(members.items()))))


def pickle_beside(folder):
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb()))


def pickle_as_arrays(folder):
    edit(folder, arrays=pickle.dumps(Bomb()))


def gzipped_pickle_as_arrays(folder):
    edit(folder, arrays=gzip.compress(pickle.dumps(Bomb())))


def pickle_as_json(folder):
    (folder / "detector.json").write_bytes(pickle.dumps(Bomb()))


def pickle_as_member(folder):
    members = stored(folder) | {"state.depth.npy": pickle.dumps(Bomb())}
    edit(folder, arrays=zipped(members))


def object_array(folder):
    with_array(folder, "state.depth", np.array([Bomb()], dtype=object))


def object_array_called_numbers(folder):
    with_array(folder, "state.depth", np.array([Bomb()], dtype=object))
    edit(folder, {"arrays/state.depth": {"dtype": "<f8", "shape": [1]}})


def path_that_leads_out(folder):
    edit(folder, arrays=zipped(stored(folder) | {"../../evil.npy": b""}))


def absolute_path(folder):
    edit(folder, arrays=zipped(stored(folder) | {"/tmp/evil.npy": b""}))  # noqa: S108


def name_that_leads_out(folder):
    layout = {"dtype": "<f8", "shape": [1]}
    document = json.loads((folder / "detector.json").read_text())
    edit(folder, {"arrays": document["arrays"] | {"../state.depth": layout}})


def link_to_arrays(folder):
    (folder / "arrays.npz").rename(folder.parent / "elsewhere")
    (folder / "arrays.npz").symlink_to(folder.parent / "elsewhere")


def link_to_json(folder):
    (folder / "detector.json").unlink()
    (folder / "detector.json").symlink_to("/etc/passwd")


def link_to_folder(folder):
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")


def pipe_as_arrays(folder):
    (folder / "arrays.npz").unlink()
    os.mkfifo(folder / "arrays.npz")


def folder_as_arrays(folder):
    (folder / "arrays.npz").unlink()
    (folder / "arrays.npz").mkdir()


def file_swapped_after_hashing(folder):
    content = bytearray((folder / "arrays.npz").read_bytes())
    content[200] ^= 1
    (folder / "arrays.npz").write_bytes(content)


def array_larger_than_the_file(folder):
    edit(folder, {"arrays/state.depth/shape": [2**39]})


def array_larger_than_any_memory(folder):
    edit(folder, {"arrays/state.depth/shape": [2**39, 2**39, 2**39]})


def shape_that_is_no_shape(folder):
    edit(folder, {"arrays/state.depth/shape": [-1]})


def zip_bomb(folder):
    members = stored(folder) | {"state.depth.npy": bytes(50_000_000)}
    edit(folder, arrays=zipped(members, zipfile.ZIP_DEFLATED))


def header_of_another_type(folder):
    members = stored(folder)
    members["state.depth.npy"] = members["state.depth.npy"].replace(b"<f8", b">f8", 1)
    edit(folder, arrays=zipped(members))


def zip_cut_short(folder):
    edit(folder, arrays=(folder / "arrays.npz").read_bytes()[:-30])


def member_damaged(folder):
    content = bytearray((folder / "arrays.npz").read_bytes())
    at = content.index(b"state.depth.npy") + 400
    content[at] ^= 255
    edit(folder, arrays=bytes(content))


def sparse_file_of_a_gigabyte(folder):
    with (folder / "arrays.npz").open("r+b") as file:
        file.truncate(1 << 30)


def single_precision(folder):
    with_array(folder, "state.usual", np.ones(1, dtype=np.float32))


def integers_for_numbers(folder):
    with_array(folder, "state.usual", np.ones(1, dtype=np.int64))


def other_shape(folder):
    with_array(folder, "state.usual", np.ones(2))


def nan_in_an_array(folder):
    with_array(folder, "state.usual", np.array([np.nan]))


def nan_in_golden_windows(folder):
    with_array(folder, "golden.windows", np.full((1, 4, 1), np.nan))


def array_too_many(folder):
    with_array(folder, "state.zzz", np.zeros(1))


def array_of_neither_kind(folder):
    with_array(folder, "other.zzz", np.zeros(1))


def no_golden_windows(folder):
    with_array(folder, "golden.windows", np.empty((0, 4, 1)))


def golden_windows_without_end(folder):
    with_array(folder, "golden.windows", np.zeros((5000, 4, 1)))


def golden_scores_that_differ(folder):
    with_array(folder, "golden.scores", np.zeros(16))


def unknown_class(folder):
    edit(folder, {"class": "os.system"})


def unknown_detector(folder):
    edit(folder, {"spec/name": "subprocess"})


def detector_that_cannot_score(folder):
    edit(folder, {"spec/name": "matrix_profile"})


def unknown_parameter(folder):
    edit(folder, {"spec/estimator": "eval"})


def parameter_out_of_range(folder):
    edit(folder, {"spec/window": 10**9})


def parameter_of_another_type(folder):
    edit(folder, {"spec/n_estimators": "__import__('os')"})


def channels_without_end(folder):
    edit(folder, {"spec/channels": [str(i) for i in range(257)]})


def incomplete_specification(folder):
    document = json.loads((folder / "detector.json").read_text())
    del document["spec"]["trim"]
    (folder / "detector.json").write_text(json.dumps(document))


def nan_parameter(folder):
    edit(folder, {"spec/trim": float("nan")})


def infinite_parameter(folder):
    text = (folder / "detector.json").read_text()
    (folder / "detector.json").write_text(text.replace('"trim": 0.0', '"trim": 1e999'))


def nan_threshold(folder):
    edit(folder, {"threshold": float("nan")})


def threshold_of_text(folder):
    edit(folder, {"threshold": "1"})


def rule_of_text(folder):
    edit(folder, {"rule": {"k": "1", "n": 1, "m": 1}})


def rule_that_can_never_hold(folder):
    edit(folder, {"rule": {"k": 2, "n": 1, "m": 1}})


def rule_that_is_a_list(folder):
    edit(folder, {"rule": []})


def versions_of_numbers(folder):
    edit(folder, {"versions": {"numpy": 1}})


def layout_that_is_a_list(folder):
    edit(folder, {"arrays": []})


def layout_without_shape(folder):
    edit(folder, {"arrays/state.depth": {"dtype": "<f8"}})


def key_too_many(folder):
    edit(folder, {"reduce": 1})


def another_format(folder):
    edit(folder, {"format": 3})


def format_with_level_that_has_none(folder):
    edit(folder, {"format": 2})


def level_in_a_format_without(folder):
    edit(folder, {"spec/level": "sensor"})


def levels_that_are_nowhere(folder):
    edit(folder, {"format": 2, "spec/level": "sensor"})


def level_of_nothing(folder):
    edit(folder, {"spec/level": None})


def levels_that_nothing_asks_for(folder):
    with_array(folder, "state.level_centre", np.zeros((1, 1)))


def deep_json(folder):
    (folder / "detector.json").write_text("[" * 1_000_000)


def json_within_the_budget_but_deep(folder):
    (folder / "detector.json").write_text("[" * 16_000)


def number_of(digits):
    def spoil(folder):
        text = (folder / "detector.json").read_text()
        (folder / "detector.json").write_text(text.replace('"k": 1', f'"k": {"9" * digits}'))

    spoil.__name__ = f"number_of_{digits}_digits"
    return spoil


number_of_400_digits, number_of_5000_digits = number_of(400), number_of(5000)


def threshold_of_64_bits(folder):
    edit(folder, {"threshold": 2**63 - 1, "spec/max_span_s": 2**63 - 1})


def class_that_is_a_list(folder):
    edit(folder, {"class": ["Fitted"]})


def class_that_is_an_object(folder):
    edit(folder, {"class": {"Fitted": 1}})


def name_that_is_an_object(folder):
    edit(folder, {"spec/name": {"iforest": 1}})


def channel_that_is_an_object(folder):
    edit(folder, {"spec/channels": [{}]})


def format_that_is_true(folder):
    edit(folder, {"format": True})


def name_of_a_megabyte(folder):
    edit(folder, {"spec/name": "i" * 1_000_000})


def channel_of_a_megabyte(folder):
    edit(folder, {"spec/channels": ["f" * 1_000_000]})


def channel_of_a_kilobyte(folder):
    edit(folder, {"spec/channels": ["f" * 1000]})


def name_of_quotes(folder):
    edit(folder, {"spec/name": '"' * 500_000})


def name_that_is_no_unicode(folder):
    edit(folder, {"spec/channels": ["\ud800"]})


def manifest_without_end(folder):
    edit(folder, {"training": {str(number): 0 for number in range(150_000)}})


def manifest_of_lists(folder):
    edit(folder, {"training": {"": [[]] * 300_000}})


def golden_scores_without_axis(folder):
    with_array(folder, "golden.scores", np.array(0.0))


def golden_windows_without_axis(folder):
    with_array(folder, "golden.windows", np.array(0.0))


def window_too_wide(folder):
    edit(folder, {"spec/window": 10_000, "spec/channels": [str(at) for at in range(256)]})


def features_without_end(folder):
    edit(folder, {"spec/features": ["raw"] * 10_000})


def feature_of_many_digits(folder):
    edit(folder, {"spec/features": "raw:" + "9" * 4000})


def features_too_wide(folder):
    edit(
        folder,
        {
            "spec/window": 10_000,
            "spec/channels": [str(at) for at in range(40)],
            "spec/features": ["raw"] * 20,
        },
    )


def infinite_span(folder):
    text = (folder / "detector.json").read_text()
    text = re.sub(r'"max_span_s": [^,}]*', '"max_span_s": 1e400', text)
    (folder / "detector.json").write_text(text)


def span_of_aeons(folder):
    edit(folder, {"spec/max_span_s": 1e300})


def tree_deeper_than_it_is_grown(folder):
    """A tree that is one long branch."""
    nodes, inner = 31, np.arange(31) % 2 == 0
    inner[-1] = False
    node = np.arange(nodes)
    with_array(folder, "state.roots", np.array([0]))
    with_array(folder, "state.feature", np.where(inner, 0, -1).astype("<i4"))
    with_array(folder, "state.left", np.where(inner, node + 1, -1).astype("<i4"))
    with_array(folder, "state.right", np.where(inner, node + 2, -1).astype("<i4"))
    with_array(folder, "state.threshold", np.zeros(nodes))
    with_array(folder, "state.depth", np.zeros(nodes))


def more_trees_than_declared(folder):
    edit(folder, {"spec/n_estimators": 1})


def depth_below_the_root(folder):
    depth = np.frombuffer(stored(folder)["state.depth.npy"][128:], "<f8").copy()
    depth[-1] = -1e9
    with_array(folder, "state.depth", depth)


def key_twice(folder):
    text = (folder / "detector.json").read_text()
    (folder / "detector.json").write_text(text.replace("{", '{"class": "Fitted",', 1))


def json_without_end(folder):
    (folder / "detector.json").write_text("1" * ((2 << 20) + 1))


def nothing(folder):
    for one in folder.iterdir():
        one.unlink()


def no_folder(folder):
    nothing(folder)
    folder.rmdir()


def tree_without_end(folder):
    left = np.frombuffer(stored(folder)["state.left.npy"][128:], "<i4").copy()
    left[0] = 0
    with_array(folder, "state.left", left)


def tree_that_leads_out(folder):
    right = np.frombuffer(stored(folder)["state.right.npy"][128:], "<i4").copy()
    right[0] = 2**31 - 1
    with_array(folder, "state.right", right)


def tree_of_a_feature_that_is_not_there(folder):
    feature = np.frombuffer(stored(folder)["state.feature.npy"][128:], "<i4").copy()
    feature[0] = 4
    with_array(folder, "state.feature", feature)


def tree_of_a_feature_before_the_first(folder):
    feature = np.frombuffer(stored(folder)["state.feature.npy"][128:], "<i4").copy()
    feature[0] = -2
    with_array(folder, "state.feature", feature)


def roots_out_of_order(folder):
    with_array(folder, "state.roots", np.array([0, 9, 3]))


def forest_that_divides_by_zero(folder):
    with_array(folder, "state.usual", np.zeros(1))


def scale_of_nothing(folder):
    with_array(folder, "state.spread", np.zeros(1))


_HOLDS = "expected 'arrays.npz', 'detector.json'"
_KEYS = "arrays, arrays_sha256, class, format, rule, spec, threshold, training, versions"
HOSTILE = {
    pickle_beside: f"the package holds 'arrays.npz', 'detector.json', 'model.pkl', {_HOLDS}",
    pickle_as_arrays: "arrays.npz cannot be read: File is not a zip file",
    gzipped_pickle_as_arrays: "arrays.npz cannot be read: File is not a zip file",
    pickle_as_json: "detector.json cannot be read: 'utf-8' codec can't decode byte 0x80 "
    "in position 0: invalid start byte",
    pickle_as_member: "array state.depth takes SIZE bytes, its layout says SIZE",
    object_array: "array state.depth has dtype '|O', known: <f8, <i8, <i4",
    object_array_called_numbers: "array state.depth takes SIZE bytes, its layout says 136",
    path_that_leads_out: "arrays.npz does not hold the arrays of the layout",
    absolute_path: "arrays.npz does not hold the arrays of the layout",
    name_that_leads_out: "array '../state.depth' is not described by a dtype and a shape",
    link_to_arrays: "arrays.npz is a link or cannot be read",
    link_to_json: "detector.json is a link or cannot be read",
    link_to_folder: "there is no package",
    pipe_as_arrays: "arrays.npz is no regular file, or has 0 bytes, at most 536870912",
    folder_as_arrays: "arrays.npz is no regular file, or has SIZE bytes, at most 536870912",
    file_swapped_after_hashing: "arrays.npz is not the file that detector.json was written with",
    array_larger_than_the_file: "array state.depth takes SIZE bytes, its layout says 4398046511232",
    array_larger_than_any_memory: "array state.depth takes SIZE bytes, its layout says "
    "1329227995784915872903807060280344704",
    shape_that_is_no_shape: "array state.depth has shape [-1], expected up to four lengths",
    zip_bomb: "array golden.scores takes SIZE bytes, its layout says SIZE",
    header_of_another_type: "array state.depth has another header than its layout",
    zip_cut_short: "arrays.npz cannot be read: File is not a zip file",
    member_damaged: "arrays.npz cannot be read: Bad CRC-32 for file 'state.depth.npy'",
    sparse_file_of_a_gigabyte: "arrays.npz is no regular file, or has 1073741824 bytes, "
    "at most 536870912",
    single_precision: "array state.usual has dtype '<f4', known: <f8, <i8, <i4",
    integers_for_numbers: "array usual has dtype int64, expected float64",
    format_with_level_that_has_none: "the package has format 2 and level None: 2 is with level, "
    "1 without",
    level_in_a_format_without: "the package has format 1 and level 'sensor': 2 is with level, "
    "1 without",
    levels_that_are_nowhere: "the state has arrays none, expected level_centre, level_ends, "
    "level_golden, level_names, level_spread, level_taught",
    level_of_nothing: "the specification is not complete, so it was not written by save",
    levels_that_nothing_asks_for: "the state has arrays centre, depth, feature, feature_centre, "
    "feature_spread, left, level_centre, offset, reach_gain, reach_high, reach_low, right, roots, "
    "spread, threshold, usual, expected centre, depth, feature, feature_centre, feature_spread, "
    "left, offset, reach_gain, reach_high, reach_low, right, roots, spread, threshold, usual",
    other_shape: "array usual has shape (2,), expected (1,)",
    nan_in_an_array: "array usual holds nan",
    nan_in_golden_windows: "window 0 holds nan in channel flow",
    array_too_many: "the state has arrays centre, depth, feature, feature_centre, feature_spread, "
    "left, offset, reach_gain, reach_high, reach_low, right, roots, spread, threshold, usual, zzz, "
    "expected centre, depth, feature, feature_centre, feature_spread, left, offset, reach_gain, "
    "reach_high, reach_low, right, roots, spread, threshold, usual",
    array_of_neither_kind: "the package has arrays that are neither state nor golden",
    no_golden_windows: "the package has no array golden.windows of numbers",
    golden_windows_without_end: "the package has more than 16 golden windows",
    golden_scores_that_differ: "the golden windows do not score as they did",
    unknown_class: "the package is of class 'os.system', known: Fitted",
    unknown_detector: "no detector 'subprocess'",
    detector_that_cannot_score: "detector matrix_profile cannot score new windows: it compares a "
    "series with itself, so a score needs the readings after it",
    unknown_parameter: "detector iforest has no parameter 'estimator'",
    parameter_out_of_range: "parameter window is 1000000000, expected int 1 to 10000",
    parameter_of_another_type: "parameter n_estimators is \"__import__('os')\", "
    "expected int 1 to 1000",
    channels_without_end: f"channels are {[str(i) for i in range(257)]}, "
    "expected a list of 1 to 256 different names",
    incomplete_specification: "the specification is not complete, so it was not written by save",
    nan_parameter: "detector.json cannot be read: NaN is no finite number",
    infinite_parameter: "detector.json cannot be read: 1e999 is no finite number",
    nan_threshold: "detector.json cannot be read: NaN is no finite number",
    threshold_of_text: "the threshold is '1', expected a number",
    rule_of_text: "the rule is {'k': '1', 'n': 1, 'm': 1}, expected integers k, n and m",
    rule_that_can_never_hold: "rule has k=2, n=1, m=1",
    rule_that_is_a_list: "rule is [], expected an object",
    versions_of_numbers: "versions holds something that is no text",
    layout_that_is_a_list: "the layout of the arrays is no object of at most 512",
    layout_without_shape: "array 'state.depth' is not described by a dtype and a shape",
    key_too_many: f"detector.json has other keys than {_KEYS}",
    another_format: "the package has format 3, expected 1 or 2",
    deep_json: "detector.json cannot be read: it holds some 1000000 items, at most 50000",
    json_within_the_budget_but_deep: "detector.json cannot be read: maximum recursion depth "
    "exceeded while decoding a JSON array from a unicode string",
    number_of_400_digits: "detector.json cannot be read: a whole number has 400 digits, at most 19",
    number_of_5000_digits: "detector.json cannot be read: a whole number has 5000 digits, "
    "at most 19",
    threshold_of_64_bits: "parameter max_span_s is 9223372036854775807, expected float 0 to 1e+09, "
    "or usual",
    class_that_is_a_list: "the package is of class ['Fitted'], known: Fitted",
    class_that_is_an_object: "the package is of class {'Fitted': 1}, known: Fitted",
    name_that_is_an_object: "no detector {'iforest': 1}",
    channel_that_is_an_object: "channels are [{}], expected a list of 1 to 256 different names",
    format_that_is_true: "the package has format True, expected 1 or 2",
    name_of_a_megabyte: "detector.json cannot be read: it holds a text of 1000000 bytes, "
    "at most 16384",
    channel_of_a_megabyte: "detector.json cannot be read: it holds a text of 1000000 bytes, "
    "at most 16384",
    channel_of_a_kilobyte: f"channels are ['{'f' * 1000}'], "
    "expected a list of 1 to 256 different names",
    name_of_quotes: "detector.json cannot be read: it holds 500000 escapes, at most 200000",
    name_that_is_no_unicode: "detector.json cannot be read: 'utf-8' codec can't encode character "
    "'\\ud800' in position SIZE: surrogates not allowed",
    manifest_without_end: "detector.json cannot be read: it holds some SIZE items, at most 50000",
    manifest_of_lists: "detector.json cannot be read: it holds some SIZE items, at most 50000",
    golden_scores_without_axis: "the golden windows do not score as they did",
    golden_windows_without_axis: "array golden.windows has not three axes",
    window_too_wide: "a window and its features are 5120000 numbers, at most 4194304",
    features_without_end: "10000 feature sets are asked for, at most 20",
    feature_of_many_digits: "features 'raw:" + "9" * 2986 + " ...",
    features_too_wide: "a window and its features are 8400000 numbers, at most 4194304",
    infinite_span: "detector.json cannot be read: 1e400 is no finite number",
    span_of_aeons: "parameter max_span_s is 1e+300, expected float 0 to 1e+09, or usual",
    tree_deeper_than_it_is_grown: "a tree has a depth of 15, expected at most 4",
    more_trees_than_declared: "3 trees have SIZE nodes, expected at most 1 with 31",
    depth_below_the_root: "array depth holds a value that is < 0",
    key_twice: "detector.json cannot be read: a name stands twice in one object",
    json_without_end: "detector.json is no regular file, or has 2097153 bytes, at most 2097152",
    nothing: f"the package holds nothing, {_HOLDS}",
    no_folder: "there is no package",
    tree_without_end: "array left leads out of its tree",
    tree_that_leads_out: "array right leads out of its tree",
    tree_of_a_feature_that_is_not_there: "array feature names others than the 4 there are",
    tree_of_a_feature_before_the_first: "array feature names others than the 4 there are",
    roots_out_of_order: "the roots of the trees are not in order",
    forest_that_divides_by_zero: "array usual holds a value that is not > 0",
    scale_of_nothing: "array spread holds a value that is not > 0",
}


def test_the_package_is_good_before_it_is_spoilt(folder):
    assert detectors.load(folder).detector.window == 4


@pytest.mark.parametrize("spoil", HOSTILE, ids=lambda one: one.__name__)
def test_a_hostile_package_is_refused_before_anything_runs(folder, spoil):
    spoil(folder)

    with pytest.raises(PackageError) as caught:
        detectors.load(folder)

    expected = re.escape(HOSTILE[spoil]).replace("SIZE", r"\d+")
    assert re.fullmatch(expected, caught.value.message), caught.value.message
    assert caught.value.where == str(folder)
    assert not (folder.parent / "pickle-was-loaded").exists()


def _names(*names):
    joined = "".join(names).encode()
    return np.frombuffer(joined + bytes(-len(joined) % 8), "<i8")


SPREAD, CENTRE = "level_spread", "level_centre"
HOSTILE_LEVELS = {
    "a centre of NaN": ({CENTRE: np.full((2, 1), np.nan)}, "array level_centre holds nan"),
    "a centre without end": ({CENTRE: np.full((2, 1), np.inf)}, "array level_centre holds inf"),
    "a spread of NaN": ({SPREAD: np.full((2, 1), np.nan)}, "array level_spread holds nan"),
    "a spread of zero": (
        {SPREAD: np.zeros((2, 1))},
        "array level_spread holds a value that is not > 0",
    ),
    "a spread below zero": (
        {SPREAD: -np.ones((2, 1))},
        "array level_spread holds a value that is not > 0",
    ),
    "a sensor too few": (
        {CENTRE: np.zeros((1, 1))},
        "array level_centre has shape (1, 1), expected (2, 1)",
    ),
    "a sensor too many": (
        {SPREAD: np.ones((3, 1))},
        "array level_spread has shape (3, 1), expected (2, 1)",
    ),
    "a channel too many": (
        {CENTRE: np.zeros((2, 2))},
        "array level_centre has shape (2, 2), expected (2, 1)",
    ),
    "no sensor at all": (
        {
            CENTRE: np.zeros((0, 1)),
            SPREAD: np.zeros((0, 1)),
            "level_taught": np.zeros((0, 1), np.int64),
            "level_ends": np.zeros(0, np.int64),
        },
        "array level_ends does not say where the names of sensors end",
    ),
    "whole numbers": (
        {CENTRE: np.zeros((2, 1), np.int64)},
        "array level_centre has dtype int64, expected float64",
    ),
    "ends that go back": (
        {"level_ends": np.array([2, 1])},
        "array level_ends does not say where the names of sensors end",
    ),
    "ends behind the names": (
        {"level_ends": np.array([1, 2**40])},
        "array level_ends does not say where the names of sensors end",
    ),
    "a name of nothing": (
        {"level_ends": np.array([0, 2])},
        "array level_ends does not say where the names of sensors end",
    ),
    "names that are no text": (
        {"level_names": np.array([0xFFFF])},
        "array level_names holds what is no name: 'utf-8' codec can't decode byte 0xff in position "
        "0: invalid start byte",
    ),
    "bytes behind the names": (
        {"level_names": np.array([0x636261])},
        "array level_ends does not say where the names of sensors end",
    ),
    "a spread that may be taught": (
        {"level_taught": np.full((2, 1), 2)},
        "array level_taught holds what is neither 0 nor 1",
    ),
    "one sensor twice": (
        {"level_names": _names("a", "a")},
        "array level_names does not hold different names, ascending",
    ),
    "names out of order": (
        {"level_names": _names("b", "a")},
        "array level_names does not hold different names, ascending",
    ),
    "a golden window of no sensor": (
        {"level_golden": np.full(16, 2)},
        "array level_golden names a sensor that is none of 2",
    ),
    "a golden window of the sensor before the first": (
        {"level_golden": np.full(16, -1)},
        "array level_golden names a sensor that is none of 2",
    ),
    "golden windows too few": (
        {"level_golden": np.zeros(3, np.int64)},
        "array level_golden has shape (3,), expected (16,)",
    ),
    "another level": (
        {CENTRE: np.array([[50.5], [50.5]])},
        "the golden windows do not score as they did",
    ),
}


@pytest.mark.parametrize("spoilt", HOSTILE_LEVELS)
def test_hostile_levels_are_refused(readings, tmp_path, spoilt):
    spec = {"name": "knn", "window": 4, "channels": ["flow"], "level": "sensor"}
    detector = detectors.fit(spec, readings, sensor="pump")
    detectors.save(detector, tmp_path / "p", threshold=9.0, rule=EpisodeRule(), training={})
    assert detectors.load(tmp_path / "p").detector.levels.names == ("a", "b")
    arrays, said = HOSTILE_LEVELS[spoilt]
    for name, array in arrays.items():
        with_array(tmp_path / "p", f"state.{name}", np.ascontiguousarray(array))

    with pytest.raises(PackageError) as caught:
        detectors.load(tmp_path / "p")

    assert caught.value.message == said


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(readings, tmp_path, seed):
    spec = {"name": "inne", "window": 4, "channels": ["flow"], "n_estimators": 10, "sample": 100}
    detector = detectors.fit(spec, readings, sensor="pump")
    detectors.save(detector, tmp_path / "p", threshold=0.5, rule=EpisodeRule(), training={})
    with_array(tmp_path / "p", "state.seed", np.array([seed]))

    with pytest.raises(PackageError) as caught:
        detectors.load(tmp_path / "p")

    assert caught.value.message == f"array seed holds {seed}, expected 0 to 4294967295"


WHOLE = st.integers(-(2**70), 2**70) | st.sampled_from([10**400, 2**31, 2**63, 0, 1, -1])
NUMBERS = WHOLE | st.floats() | st.booleans()
TEXTS = st.text(max_size=20) | st.sampled_from(["\ud800", "9" * 5000, "x" * 100_000, "iforest"])
VALUES = st.recursive(
    st.none() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)
SHAPES = st.lists(st.integers(0, 5), max_size=5).map(tuple)
ARRAYS = hnp.arrays(st.sampled_from(["<f8", "<i8", "<i4"]), SHAPES)


def places(value, path=()):
    """The path of everything in a document."""
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    for name, one in enumerate(value) if isinstance(value, list) else inner:
        yield from places(one, (*path, name))


@settings(
    max_examples=int(os.environ.get("WORKBENCH_FUZZ", "150")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
@pytest.mark.slow
def test_whatever_is_changed_a_package_loads_or_is_refused_in_a_sentence(whole, tmp_path, data):
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    if data.draw(st.booleans(), "an array"):
        names = [name.removesuffix(".npy") for name in stored(tmp_path)]
        with_array(tmp_path, data.draw(st.sampled_from(names)), data.draw(ARRAYS))
    document = json.loads((tmp_path / "detector.json").read_text())
    for _ in range(data.draw(st.integers(0, 2))):
        *path, last = data.draw(st.sampled_from(list(places(document))[1:]))
        part = document
        for name in path:
            part = part[name]
        part[last] = data.draw(VALUES)
    (tmp_path / "detector.json").write_text(json.dumps(document))

    began = time.process_time()
    said, package = "", None
    try:
        package = detectors.load(tmp_path)
    except PackageError as error:
        said = str(error)
    assert len(said.encode()) < 5000
    if package:
        assert np.isfinite(package.detector.score(package.detector.golden)).all()
    assert time.process_time() - began < 2  # a hang, on however busy a machine
