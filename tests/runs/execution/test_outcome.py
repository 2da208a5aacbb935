"""A run is complete only if its notebook was executed to its end; else it failed, with a reason."""

import nbformat
import pytest

from workbench import runs
from workbench.errors import RunError

AFTER = "from workbench.runs import record\nrecord({'recall': 1.0})"
EARLY = {
    "sys.exit": (["import sys\nsys.exit()", AFTER], "SystemExit: (it ended the notebook early)"),
    "sys.exit 0 last": (["import sys\nsys.exit(0)"], "SystemExit: 0 (it ended the notebook early)"),
    "raise SystemExit": (["raise SystemExit", AFTER], "SystemExit: (it ended the notebook early)"),
    "exit": (["exit()", AFTER], "SystemExit: exit() was called (it ended the notebook early)"),
    "quit last": (["quit"], "SystemExit: exit() was called (it ended the notebook early)"),
    "os._exit last": (["import os\nos._exit(0)"], "the kernel ended: its process ended with 0"),
    "killed": (
        ["import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", AFTER],
        "the kernel ended: killed (SIGKILL), as the system does where memory runs out",
    ),
    "killed behind the last cell": (
        ["import os, threading\nthreading.Timer(0.0, os._exit, [7]).start()"],
        "the kernel ended: its process ended with 7",
    ),
    "interrupt": (["raise KeyboardInterrupt", AFTER], "KeyboardInterrupt:"),
    "generator exit": (["raise GeneratorExit", AFTER], "GeneratorExit:"),
    "quiet exception": (
        ["class Stop(Exception):\n    _render_traceback_ = lambda self: []", "raise Stop()"],
        "Stop:",
    ),
    "quiet shell": (
        [
            "from IPython import get_ipython\n"
            "get_ipython().set_custom_exc((ValueError,), lambda *a, **k: None)",
            "raise ValueError('x')",
            AFTER,
        ],
        "a cell failed and did not say why",
    ),
    "bash": (["%%bash\nexit 3", AFTER], "CalledProcessError: Command"),
    "unknown magic": (["%%pulsarsql\nselect 1", AFTER], "UsageError: Cell magic `%%pulsarsql` not"),
    "unknown line magic": (["%nothing", AFTER], "UsageError: Line magic function `%nothing` not"),
    "sql": (
        ["%load_ext workbench", "%%pulsar_sql nowhere\nselect 1", AFTER],
        "ArchiveError: no archive at ",
    ),
    "%run": (["%run broken.py", AFTER], "ValueError: in a file"),
    "%run that exits": (["%run leaving.py", AFTER], "SystemExit: 4 (it ended the notebook early)"),
    "%run of nothing": (["%run nowhere.py", AFTER], "Exception: File `'nowhere.py'` not found."),
    "syntax": (["x = = 1", AFTER], "SyntaxError: invalid syntax"),
    "captured": (["%%capture\n1 / 0", AFTER], "ZeroDivisionError: division by zero"),
    "captured exit": (["%%capture\nimport sys\nsys.exit(0)", AFTER], "SystemExit: 0"),
    "cleared": (
        ["%%capture out\nraise ValueError('x')", "from IPython.display import clear_output", AFTER],
        "ValueError: x",
    ),
    "task": (
        ["import asyncio\nasync def f():\n    1 / 0\nt = asyncio.create_task(f())", AFTER],
        "in a task that nobody awaited: ZeroDivisionError: division by zero",
    ),
    "task let go": (
        ["import asyncio\nasync def f():\n    1 / 0\nasyncio.create_task(f());", "1 + 1"],
        "in a task that nobody awaited: ZeroDivisionError: division by zero",
    ),
    "task that exits": (
        ["import asyncio\nasync def f():\n    exit(5)\nt = asyncio.create_task(f())", AFTER],
        "the kernel ended",
    ),
    "task that still runs": (
        ["import asyncio\nt = asyncio.create_task(asyncio.sleep(60))", "async def f():\n"
         "    await asyncio.sleep(60)\nu = asyncio.create_task(f())"],
        "a task still runs: <coroutine object f at",
    ),
    "awaited": (["async def f():\n    1 / 0\nawait f()", AFTER], "ZeroDivisionError"),
    "thread": (
        ["import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()"],
        "in a thread: ZeroDivisionError: division by zero",
    ),
}  # fmt: skip


@pytest.mark.notebook
@pytest.mark.parametrize(("cells", "reason"), EARLY.values(), ids=EARLY)
def test_a_notebook_that_ends_early_or_fails_in_silence_is_a_failed_run(project, cells, reason):
    (project.path / "notebooks" / "broken.py").write_text("raise ValueError('in a file')")
    (project.path / "notebooks" / "leaving.py").write_text("import sys\nsys.exit(4)")
    notebook = project.notebook(*cells)

    with pytest.raises(RunError) as error:
        runs.train(notebook, {})

    (run,) = runs.runs()
    assert error.value.message.startswith(f"the run failed: {reason}")
    assert (run.status, run.reason) == ("failed", error.value.message[len("the run failed: ") :])
    text = (run.path / "report.html").read_text()
    assert ">failed</span>" in text
    kept = nbformat.read(run.path / "notebook.ipynb", as_version=4)
    assert "workbench-ending" not in str(kept)


@pytest.mark.notebook
@pytest.mark.parametrize("tag", ["raises-exception", "skip-execution"])
def test_a_tag_that_lets_errors_pass_or_skips_a_cell_makes_no_complete_run(project, tag):
    path = project.notebook("1 / 0", AFTER)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].metadata["tags"] = [tag]
    nbformat.write(notebook, path)

    with pytest.raises(RunError) as error:
        runs.train(path, {})

    assert (
        error.value.message
        == "the run failed: "
        + {
            "raises-exception": "ZeroDivisionError: division by zero",
            "skip-execution": "a cell is tagged skip-execution, so it was not executed",
        }[tag]
    )


@pytest.mark.notebook
def test_a_notebook_that_handles_what_happens_is_complete(project):
    notebook = project.notebook(
        "%%bash --no-raise-error\nexit 3",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    print(error)",
        "import asyncio\nasync def f():\n    return 1\nprint(await asyncio.gather(f(), f()))",
        "t = asyncio.create_task(f())\nawait t",
        "u = asyncio.create_task(asyncio.sleep(60))\nu.cancel();",
        "%%capture\nprint('quiet')",
        "",
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor(2)\nlist(pool.map(abs, [1, 2]))",
        AFTER,
    )

    run = runs.train(notebook, {})

    assert (run.status, run.metrics) == ("complete", {"recall": 1.0})
    assert len(nbformat.read(run.path / "notebook.ipynb", as_version=4).cells) == 12
