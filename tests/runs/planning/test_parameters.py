"""The parameters cell and the files that are held against it; no kernel starts here."""

import time

import pytest

from workbench.errors import ParamsError
from workbench.runs.planning.parameters import Cell, declared
from workbench.runs.planning.specs import read_plans

CELL = """topic: str = "pumps"  # what to replay
source: str = "archive"  # where from {archive, broker, both}
window: int = 60  # readings in a window [2..1000]
share: float = 0.01  # of windows taken as anomalous (0..0.5)
channels: list[str] = ["flow_l_min"]  # in the order of axis c
weights: list[float] = []  # of the channels [0..)
detector: dict = {"name": "knn", "k": 5}  # what to fit
quiet: bool = False
report_output: str = ""  # a file in the run folder
run: str  # the run to look at; required"""


def notebook(source, tags=("parameters",)):
    return [Cell("code", source, tags)]


def told(error):
    return str(error.value)


def plans(project, text, *, cell=CELL, notebook="notebooks/20_try.ipynb"):
    project.notebook(parameters=cell)
    path = project.params(text)
    return read_plans(notebook and project.path / notebook, [path])


def test_a_cell_declares_names_types_defaults_choices_ranges_and_what_they_mean():
    parameters = declared(notebook(CELL), "20_try.ipynb")

    assert list(parameters)[:3] == ["topic", "source", "window"]
    assert parameters["source"].choices == ("archive", "broker", "both")
    assert parameters["window"].bounds == (2, 1000, True, True)
    assert parameters["share"].bounds == (0, 0.5, False, False)
    assert parameters["weights"].bounds == (0, float("inf"), True, False)
    assert parameters["detector"].default == {"name": "knn", "k": 5}
    assert [one.name for one in parameters.values() if one.required] == ["run"]
    assert parameters["topic"].comment == "what to replay"


SPECIFIED = "model: dict = {}  # see `workbench detectors` {detector}\nideas: dict = {}  # other"


def test_a_detector_is_held_against_the_catalogue_before_anything_runs(project):
    given = "model: {name: knn, channels: [flow], windw: 10}\nideas: {windw: 10}\n"

    with pytest.raises(ParamsError) as error:
        plans(project, given, cell=SPECIFIED)

    assert told(error) == (
        "model: detector knn has no parameter 'windw'\n  in params/20_try-a.yaml:1\n"
        "  did you mean 'window'?"
    )


def test_every_detector_of_a_sweep_is_held_against_the_catalogue(project):
    given = (
        "notebook: notebooks/20_try.ipynb\nbase: {model: {name: knn, channels: [flow]}}\n"
        "grid:\n  model.window: [10, 0]\n"
    )

    with pytest.raises(ParamsError) as error:
        plans(project, given, cell=SPECIFIED, notebook=None)

    assert told(error) == (
        "model: parameter window is 0, expected int 1 to 10000\n  in params/20_try-a.yaml:4"
    )


def test_a_detector_in_order_is_taken_as_it_stands(project):
    (found,) = plans(project, "model: {name: knn, channels: [flow], window: 9}", cell=SPECIFIED)

    assert found.parameters["model"] == {"name": "knn", "channels": ["flow"], "window": 9}


def test_a_cell_that_does_anything_else_is_refused_with_every_fault():
    cell = "a: int = 1 + 1\nb = 2\nprint(3)\nc: set = {1}\nd: int = 5  # [0..3]\ne: str = 7"

    with pytest.raises(ParamsError) as error:
        declared(notebook(cell), "20_try.ipynb")

    assert told(error) == (
        "6 faults, nothing was run\n"
        "the value of a is computed\n  in 20_try.ipynb, cell 1, line 1\n  write a literal\n"
        "the parameters cell holds something other than a typed assignment\n"
        "  in 20_try.ipynb, cell 1, line 2\n"
        "  write it as `name: type = value  # what it means`\n"
        "the parameters cell holds something other than a typed assignment\n"
        "  in 20_try.ipynb, cell 1, line 3\n"
        "  write it as `name: type = value  # what it means`\n"
        "c has the type set\n  in 20_try.ipynb, cell 1, line 4\n"
        "  known: str, int, float, bool, list[str], list[int], list[float], dict\n"
        "d is 5, the notebook wants 0 <= d <= 3\n  in 20_try.ipynb, cell 1, line 5\n"
        "e is a int (7), the notebook wants str\n  in 20_try.ipynb, cell 1, line 6"
    )


def test_one_cell_holds_the_parameters():
    for count, cells in enumerate((notebook("", tags=()), [], notebook("") * 2)):
        with pytest.raises(ParamsError) as error:
            declared(cells, "20_try.ipynb")
        assert told(error) == (
            f"{2 * (count // 2)} cells are tagged `parameters`, expected one\n  in 20_try.ipynb\n"
            "  tag the cell with the typed assignments, and no other"
        )


def test_a_cell_that_is_not_python_is_refused():
    with pytest.raises(ParamsError) as error:
        declared(notebook("a: int = 1\nb: int ="), "20_try.ipynb")

    assert told(error) == (
        "the parameters cell is not Python: invalid syntax\n  in 20_try.ipynb, cell 1, line 2"
    )


def test_nothing_of_a_notebook_is_executed_by_looking_at_it():
    with pytest.raises(ParamsError):
        declared(notebook("a: int = __import__('os').getpid()"), "20_try.ipynb")


def test_values_are_resolved_and_defaults_filled_in(project):
    (plan,) = plans(project, "run: r\nshare: 1e-3\nweights: [1, 2]\nsource: broker")

    assert plan.parameters == {
        "topic": "pumps", "source": "broker", "window": 60, "share": 0.001,
        "channels": ["flow_l_min"], "weights": [1.0, 2.0], "detector": {"name": "knn", "k": 5},
        "quiet": False, "report_output": "", "run": "r",
    }  # fmt: skip


def test_every_fault_is_told_at_once_with_file_and_line(project):
    with pytest.raises(ParamsError) as error:
        plans(
            project,
            "chanels: [a]\nwindow: 1\nshare: half\nsource: archiv\nchannels: [a, 3]\nquiet: yes\n"
            "topic: 2026-01-05\nreport_output: ../x\n3: 4\nweights: [1, -1]\ndetector: [1]\n",
        )

    names = "channels, detector, quiet, report_output, run, share, source, topic, weights, window"
    assert told(error) == (
        "11 faults, nothing was run\n"
        f"the notebook has no parameter 'chanels', it has {names}\n"
        "  in params/20_try-a.yaml:1\n  did you mean 'channels'?\n"
        "window is 1, the notebook wants 2 <= window <= 1000\n  in params/20_try-a.yaml:2\n"
        "share is a str ('half'), the notebook wants float\n  in params/20_try-a.yaml:3\n"
        "source is 'archiv', the notebook wants one of archive, broker, both\n"
        "  in params/20_try-a.yaml:4\n  did you mean 'archive'?\n"
        "channels is a list of int and str, the notebook wants list[str]\n"
        "  in params/20_try-a.yaml:5\n"
        "quiet is a str ('yes'), the notebook wants bool\n  in params/20_try-a.yaml:6\n"
        "report_output is '../x', outside the run folder\n  in params/20_try-a.yaml:8\n"
        "3 is not a name that Python can assign to\n  in params/20_try-a.yaml:9\n"
        "weights is -1, the notebook wants 0 <= weights\n  in params/20_try-a.yaml:10\n"
        "detector is a list of int, the notebook wants dict\n  in params/20_try-a.yaml:11\n"
        "run is missing, the notebook requires it (str)\n  in params/20_try-a.yaml"
    )


def test_a_name_with_a_line_break_never_reaches_a_kernel(project):
    with pytest.raises(ParamsError) as error:
        plans(project, '"x = 1\\nimport os": 1\nrun: r')

    assert told(error) == (
        "'x = 1\\nimport os' is not a name that Python can assign to\n  in params/20_try-a.yaml:1"
    )


def test_text_that_looks_like_a_date_stays_text_and_numbers_want_quotes_to_be_text(project):
    (plan,) = plans(project, "run: 2026-01-05T00:00:00Z")
    assert plan.parameters["run"] == "2026-01-05T00:00:00Z"

    with pytest.raises(ParamsError) as error:
        plans(project, "run: 5")
    assert told(error) == (
        "run is a int (5), the notebook wants str\n  in params/20_try-a.yaml:1\n"
        '  put it in quotes: run: "5"'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: r\nrun: s", "run is given twice\n  in params/20_try-a.yaml:2"),
        ("[1, 2]", "this is not a mapping of parameters\n  in params/20_try-a.yaml"),
        (
            "run: [1",
            "this is not YAML: expected ',' or ']', but got '<stream end>'\n"
            "  in params/20_try-a.yaml:1",
        ),
        (
            "run: !!python/object/apply:os.getpid []",
            "this is not YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.getpid'\n  in params/20_try-a.yaml:1",
        ),
    ],
)
def test_a_file_that_is_not_a_mapping_is_refused(project, text, message):
    with pytest.raises(ParamsError) as error:
        plans(project, text)

    assert told(error) == message


def test_a_notebook_must_be_named_and_there(project):
    with pytest.raises(ParamsError) as error:
        plans(project, "run: r", notebook=None)
    assert told(error) == (
        "no notebook is named\n  in params/20_try-a.yaml\n  add `notebook: notebooks/….ipynb`"
    )

    with pytest.raises(ParamsError) as error:
        plans(project, "notebook: 5", notebook=None)
    assert told(error) == "notebook is 5, expected a path\n  in params/20_try-a.yaml"

    with pytest.raises(ParamsError) as error:
        plans(project, "run: r", notebook="notebooks/20_tri.ipynb")
    where = project.path / "notebooks/20_tri.ipynb"
    assert told(error) == (
        f"there is no such notebook\n  in {where}\n  did you mean '20_try.ipynb'?"
    )

    (project.path / "notebooks/20_bad.ipynb").write_text("not JSON")
    with pytest.raises(ParamsError, match=r"^this is not a notebook\n  in "):
        plans(project, "run: r", notebook="notebooks/20_bad.ipynb")

    old = project.path / "notebooks/20_old.ipynb"
    old.write_text('{"nbformat": 3}')
    with pytest.raises(ParamsError) as error:
        plans(project, "run: r", notebook="notebooks/20_old.ipynb")
    assert told(error) == f"this is a notebook of format 3, not 4\n  in {old}"

    with pytest.raises(ParamsError) as error:
        read_plans(None, [project.path / "params/20_try-b.yaml"])
    assert told(error) == (
        f"there is no such params file\n  in {project.path}/params/20_try-b.yaml\n"
        "  did you mean '20_try-a.yaml'?"
    )


def test_a_grid_is_every_combination_and_reaches_into_mappings(project):
    planned = plans(
        project,
        "notebook: notebooks/20_try.ipynb\nbase: {run: r, detector: {name: knn}}\n"
        "grid:\n  window: [30, 60]\n  detector.k: [3, 5]\nrepeat: {topic: [a, b]}\n",
        notebook=None,
    )

    assert [
        (one.parameters["topic"], one.parameters["window"], one.parameters["detector"]["k"])
        for one in planned
    ] == [(t, w, k) for t in "ab" for w in (30, 60) for k in (3, 5)]
    assert {one.repeated for one in planned} == {("topic",)}
    assert planned[0].parameters["detector"] == {"name": "knn", "k": 3}


def test_random_draws_are_the_same_for_the_same_seed_and_within_their_ends(project):
    text = (
        "base: {run: r}\nrandom:\n  draws: 20\n  seed: 7\n"
        "  window: {min: 2, max: 1000, log: true}\n"
        "  share: {min: 0.1, max: 0.2}\n  source: [archive, both]\n"
    )

    first, second = plans(project, text), plans(project, text)

    assert [plan.parameters for plan in first] == [plan.parameters for plan in second]
    assert len({plan.parameters["window"] for plan in first}) > 10
    assert all(2 <= plan.parameters["window"] <= 1000 for plan in first)
    assert all(0.1 <= plan.parameters["share"] <= 0.2 for plan in first)
    assert {plan.parameters["source"] for plan in first} == {"archive", "both"}


def test_a_sweep_file_is_checked_like_any_other(project):
    with pytest.raises(ParamsError) as error:
        plans(
            project,
            "base: {run: r}\ngrid:\n  window: [30, 1]\n  topic: pumps\n"
            "gird: {}\nrepeat: 5\nrandom:\n  draws: 2\n  share: {min: 1, max: 0}\n",
        )

    assert told(error) == (
        "4 faults, nothing was run\n"
        "a sweep file has no key 'gird'\n  in params/20_try-a.yaml:5\n  did you mean 'grid'?\n"
        "repeat is a int, expected a mapping\n  in params/20_try-a.yaml:6\n"
        "grid: topic is 'pumps', expected a list of values\n  in params/20_try-a.yaml:4\n"
        "random: share goes from 1 to 0, expected min < max\n  in params/20_try-a.yaml:9"
    )


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{min: 1}", "share is {'min': 1}, expected a list, or {min: , max: , log: true|false}"),
        ("{min: 0, max: 1, log: true}", "share has log and min 0, expected min > 0"),
    ],
)
def test_a_space_to_draw_from_has_ends(project, space, message):
    with pytest.raises(ParamsError) as error:
        plans(project, f"base: {{run: r}}\nrandom:\n  draws: 2\n  share: {space}\n")

    assert told(error) == f"random: {message}\n  in params/20_try-a.yaml:4"


def test_random_says_how_often(project):
    with pytest.raises(ParamsError) as error:
        plans(project, "base: {run: r}\nrandom:\n  share: [1.0]\n")

    assert told(error) == ("random: draws is None, expected a count\n  in params/20_try-a.yaml:2")


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        (
            "grid:\n" + "".join(f"  k{n}: [1,2,3,4,5,6,7,8,9,10]\n" for n in range(9)),
            "this asks for 1000000000 runs, at most 100000",
        ),
        ("random: {draws: 1000000000, window: [1, 2]}", "this asks for 1000000000 runs"),
        ("repeat: {sensor: [a, b]}\nrandom: {draws: 60000}", "this asks for 120000 runs"),
        ("grid: {window: [1, 2]}\nrandom: {draws: " + "9" * 400 + "}", "more than 10"),
        ("random: {draws: 2, window: {min: 1, max: .inf}}", "goes from 1 to inf, expected min"),
        ("random: {draws: 2, window: {min: 1, max: 99999999999999999999}}", "expected min < max"),
        ("random: {draws: 2, seed: -1, window: [1]}", "seed is no whole number from 0 on"),
    ],
    ids="grid draws repeat digits infinite large seed".split(),  # noqa: SIM905
)
def test_runs_are_counted_before_one_is_made(project, sweep, said):
    base = "notebook: notebooks/20_try.ipynb\nbase: {sensor: s}\n"
    began = time.process_time()

    with pytest.raises(ParamsError) as error:
        plans(project, base + sweep, notebook=None)

    assert said in str(error.value)
    assert time.process_time() - began < 5


def test_a_params_file_that_unfolds_without_end_is_refused(project):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, one in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{one}: &{one} [{', '.join([f'*{before}'] * 10)}]")

    with pytest.raises(ParamsError) as error:
        plans(project, "\n".join(lines))

    assert "this is not YAML: it unfolds to 1234567909 nodes, at most 50000" in str(error.value)
