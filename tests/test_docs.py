"""Everything that README and docs/ show is run: commands in a copy of the project, Python as it is.

A ```console block is a session: what follows `$ ` is run by a shell, and what is shown below it has
to be printed; `...` stands for any text, and a command that shows nothing may print anything.
What cannot run here is named in PARSED, with the reason, and only its words are checked.
"""

import contextlib
import http.server
import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from itertools import takewhile
from pathlib import Path

import click
import pytest
import yaml

from workbench.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CELL = re.compile(r"`((?:workbench|make|python) [^`]+)`|^ {4}((?:make|workbench) [^#\n]*)", re.M)
PATH = re.compile(r"(?<![\w./-])((?:src|tests|docs|data|benchmarks)/[\w./-]*\w)")
LINK = re.compile(r"\]\((?!https?://)([^)#]*)(#[^)]*)?\)")

# command: why it is not run; options and arguments are checked all the same
PARSED = {
    "make demo": "CI runs the same notebooks one by one, with smaller parameters",
    "make test": "it is what runs this",
    "make lab": "JupyterLab does not end; tests/desk/test_laboratory.py drives it in a browser",
    "make clean": "it would remove the environment that runs this",
    "python docs/": "draws a picture that is committed; its detector is that of the notebooks",
    "python benchmarks/": "minutes each, and they want the machine to themselves",
    "workbench promote": "needs a run; tests/notebooks and tests/stream promote",
    "workbench rollback": "needs promotions; tests/stream/promotion/test_promoting.py rolls back",
    "workbench refit": "needs a champion; tests/stream/promotion/test_promoting.py refits",
    "workbench parity": "needs a champion; tests/stream/running/test_job.py compares",
    "workbench backtest": "needs a champion; tests/stream runs it",
    "workbench alerts": "needs a broker with alerts; tests/alerts runs it",
    "workbench stream": "needs a champion and a job; tests/stream runs them all",
    "workbench services": "tests/services starts, stops and breaks them",
    "workbench doctor": "its exit code is the machine's; tests/services/test_doctor.py runs it",
    "workbench sweep": "ten trainings; `workbench train` is run, and tests/runs sweeps",
    "workbench archive schemas": "the sample has no broker; tests/archive fetches schemas",
    "workbench ingest": "run in the block with services",
    "workbench offload": "run in the block with services",
    "workbench new": "run in the block with services",
    "workbench train": "run in the block with services",
}


def blocks(language):
    """Return the blocks of a language, each named by its page and number."""
    return [
        pytest.param(text, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, text in enumerate(texts(page, language))
    ]


def texts(page, language):
    return [found[2] for found in BLOCK.finditer(page.read_text()) if found[1] == language]


def session(text):
    """Return the commands of a console block, each with the lines shown below it."""
    steps, lines = [], text.splitlines()
    while lines:
        first = lines.pop(0)
        assert first.startswith("$ "), f"no command: {first!r}"
        command = first[2:]
        while command.count('"') % 2:  # a quoted text goes on
            command += "\n" + lines.pop(0)
        shown = list(takewhile(lambda line: not line.startswith("$ "), lines))
        del lines[: len(shown)]
        steps.append((command, shown))
    return steps


def reason(command):
    return next((why for start, why in PARSED.items() if command.startswith(start)), None)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of what commands read, with state of its own."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("data", "notebooks", "params", "streams"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def run(command, project, **variables):
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"WORKBENCH_HOME": str(project / "home"), "WORKBENCH_STORE": str(project / "store")}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=project, capture_output=True, text=True,
        env={**os.environ, **own, **variables, "PATH": paths}, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def assert_shown(command, printed, shown):
    """Compare what was printed with what the page shows, spaces at line ends aside."""
    if not shown:
        return
    wanted = "\n".join(line.rstrip() for line in shown).strip("\n")
    pattern = ".*".join(map(re.escape, wanted.split("...")))
    got = "\n".join(line.rstrip() for line in printed.splitlines()).strip("\n")
    assert re.fullmatch(pattern, got, re.DOTALL), f"{command}\nprinted:\n{got}\nshown:\n{wanted}"


def alone(text):
    return "workbench services" not in text and not any(reason(one) for one, _ in session(text))


@pytest.mark.slow
@pytest.mark.parametrize("text", [one for one in blocks("console") if alone(one.values[0])])
def test_a_session_shown_prints_what_is_shown(text, project):
    for command, shown in session(text):
        assert_shown(command, run(command, project), shown)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if texts(page, "python")], ids=lambda page: page.stem
)
def test_python_shown_runs_from_the_top_of_its_page(page, project):
    (project / "page.py").write_text("\n".join(texts(page, "python")))

    run("python page.py", project)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_stream_file_shown_is_one(text):
    from workbench.stream import parse_stream

    assert parse_stream("shown", yaml.safe_load(text)).alerts


@pytest.mark.parametrize("text", blocks("sweep"))
def test_a_sweep_file_shown_fits_its_notebook(text, tmp_path):
    from workbench.runs.planning.specs import read_sweeps

    file = tmp_path / "shown.yaml"
    file.write_text(text)

    plans, searches = read_sweeps(None, [file])

    assert len(plans) + sum(search.trials for search in searches) > 5


def mentioned():
    """Yield every command in a sentence, a table or an indented line, and those not run above."""
    commands = set()
    for page in PAGES:
        steps = [step for text in texts(page, "console") for step in session(text)]
        commands |= {command for command, _ in steps if reason(command)}
        rest = BLOCK.sub("", page.read_text())
        commands |= {(cell or line).strip() for cell, line in CELL.findall(rest)}
    return sorted(commands)


@pytest.mark.parametrize("command", mentioned())
def test_a_command_named_exists_with_its_options(command):
    name, *words = shlex.split(command.replace("...", "").replace("URL", "data/archive"))
    if name == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[0] in targets
    elif name == "python":
        assert (ROOT / words[0]).is_file()
    else:
        _parse(cli, words)


def _parse(group, words):
    """Let click take words apart; it knows no option that is not there, and runs nothing."""
    if isinstance(group, click.Group) and words and not words[0].startswith("-"):
        command = group.get_command(click.Context(group), words[0])
        assert command is not None, f"no command {words[0]!r}"
        _parse(command, words[1:])
        return
    context = click.Context(group)
    _, left, _ = group.make_parser(context).parse_args(args=list(words))
    assert not left, f"too many words: {left}"


def test_an_option_that_is_not_there_would_be_found():
    with pytest.raises(click.NoSuchOption):
        _parse(cli, ["stream", "run", "plant", "--begin", "2026-01-15"])


def test_every_reason_not_to_run_something_is_needed():
    shown = mentioned()

    assert [start for start in PARSED if not any(one.startswith(start) for one in shown)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text()):
        path = page.parent / target if target else page
        assert path.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor[1:] in slugs, f"{target}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_named_are_there(page):
    named = set(PATH.findall(page.read_text()))

    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_walk_through_the_tree_passes_every_folder_once():
    rows = (ROOT / "docs" / "architecture.md").read_text().split("## A walk through the tree")[1]
    walked = re.findall(r"^\| `([\w/]+)/` \|.*\| (.+) \|$", rows, re.MULTILINE)
    package = ROOT / "src" / "workbench"
    folders = [str(path.parent.relative_to(package)) for path in package.rglob("__init__.py")]
    first = [name for _, names in walked for name in re.findall(r"`([^`]+)`", names)]

    assert sorted(folder for folder, _ in walked) == sorted(set(folders) - {"."})
    assert [name for name in first if not (package / name).is_file()] == []


def write_exports(folder):
    """Write werk.csv and, of the day after, heute.csv: what docs/your-plant.md says they are."""
    from workbench import plant

    readings, _ = plant.simulate(pumps=3, days=10, seed=5)
    tags = {
        "flow_l_min": "Durchfluss [l/min]", "discharge_pressure_bar": "Druck [bar]",
        "motor_current_a": "Strom [A]", "bearing_temperature_c": "Lagertemperatur [°C]",
    }  # fmt: skip
    named = readings.rename(columns=tags)
    lines = named.melt(["event_time", "pump"], list(tags.values()), "tag", "Wert")
    lines["Tag"] = lines["pump"].str.replace("pump-", "Pumpe ") + "." + lines["tag"]
    lines = lines.sort_values(["event_time", "Tag"], kind="stable", ignore_index=True)
    lines["Zeit"] = (
        lines["event_time"].dt.tz_convert("Europe/Berlin").dt.strftime("%d.%m.%Y %H:%M:%S")
    )
    numbers = lines["Wert"].map("{:.2f}".format).str.replace(".", ",")
    lines["Wert"] = numbers.where(lines["Wert"].notna(), "Bad")
    today = lines["event_time"] >= lines["event_time"].max() - timedelta(days=1)
    for name, part in (("werk.csv", lines[~today]), ("heute.csv", lines[today])):
        columns = ["Zeit", "Tag", "Wert"]
        part[columns].to_csv(folder / name, sep=";", index=False, encoding="cp1252")


class Phone(http.server.BaseHTTPRequestHandler):
    """Takes what is posted to it, as ntfy's server would."""

    messages: queue.Queue = queue.Queue()

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.messages.put(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def going(command, shown, project, **variables):
    """Start a command that does not end by itself, wait for the line shown, end it by Ctrl-C."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with subprocess.Popen(
        command.split(), cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "WORKBENCH_STORE": str(project / "store"), **variables, "PATH": path},
    ) as process:  # fmt: skip
        printed = []
        try:
            while not printed or printed[-1] != shown:
                printed.append(process.stdout.readline().rstrip("\n"))
                assert process.poll() is None, printed
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.stdout.close()
            try:
                process.wait(timeout=60)
            finally:
                process.kill()


@pytest.mark.flink
@pytest.mark.pulsar
@pytest.mark.notebook
def test_from_a_historians_export_to_a_phone_in_ten_commands(project, services):
    page = ROOT / "docs" / "your-plant.md"
    steps = [step for text in texts(page, "console") for step in session(text)]
    write_exports(project)
    ours = {"WORKBENCH_HOME": os.environ["WORKBENCH_HOME"]}
    folder = None
    commands = iter(steps[1:])  # the services are up
    for command, shown in commands:
        if command.startswith("workbench stream run"):
            break
        command = command.replace("RUN", str(folder))
        printed = run(f"{command} 2>&1 || true", project, **ours)
        assert_shown(command, printed, shown)
        folder = printed.split()[-1] if " train " in command else folder

    written = yaml.safe_load((project / "streams" / "werk.yaml").read_text())
    (stream,) = texts(page, "yaml")
    assert {**written, "routes": yaml.safe_load(stream)["routes"]} == yaml.safe_load(stream)
    (project / "streams" / "werk.yaml").write_text(stream)
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Phone) as phone,
        contextlib.ExitStack() as c,
    ):
        threading.Thread(target=phone.serve_forever, daemon=True).start()
        c.callback(phone.shutdown)
        ours["WERK_PHONE"] = f"ntfy://127.0.0.1:{phone.server_port}/werk"
        c.enter_context(going(command, *shown, project, **ours))
        command, shown = next(commands)
        c.enter_context(going(command, *shown, project, **ours))
        command, shown = next(commands)
        assert_shown(command, run(f"{command} 2>&1", project, **ours), shown)
        message = Phone.messages.get(timeout=120)

    # a job that is slow to say the third leaves it to the next message
    assert re.fullmatch(r"Pumpe 3: [123] closed \(werk\)", message["title"])
    assert "says `Pumpe 3: 3 closed (werk)`" in page.read_text()
    assert len(steps) == 10
    assert next(commands, None) is None


@pytest.mark.pulsar
@pytest.mark.notebook
def test_own_readings_come_into_the_bucket_and_out_as_a_detector(project, services):
    """The README's own way, on a CSV with other columns than the sample's."""
    from workbench import plant

    readings, _ = plant.simulate(pumps=2, days=4, seed=3)
    names = {
        "event_time": "time",
        "flow_l_min": "flow",
        "discharge_pressure_bar": "pressure",
    }
    own = readings.rename(columns=names)[["time", "pump", "flow", "pressure"]]
    own.iloc[:8000].to_csv(project / "pumps.csv", index=False)
    own.iloc[8000:].to_csv(project / "newer.csv", index=False)
    ours = {"WORKBENCH_HOME": os.environ["WORKBENCH_HOME"]}
    shown = [step for text in texts(ROOT / "README.md", "console") for step, _ in session(text)]
    steps = [step for step in shown if "mine" in step or step.endswith("s3://offload")]
    slow = ("workbench promote", "workbench stream", "workbench train")  # as on your-plant.md

    printed = {step: run(step, project, **ours) for step in steps if not step.startswith(slow)}

    assert len(printed) == 5
    sent = [text.split(" readings")[0] for step, text in printed.items() if " ingest " in step]
    assert sent == ["8000", str(len(own) - 8000)]
    assert "persistent://public/default/mine" in printed["workbench archive ls s3://offload"]
    assert (project / "notebooks" / "20_mine.ipynb").is_file()
    (shown,) = (text for text in texts(ROOT / "README.md", "yaml") if "mine" in text)
    written = yaml.safe_load((project / "streams" / "mine.yaml").read_text())
    assert written == yaml.safe_load(shown)
