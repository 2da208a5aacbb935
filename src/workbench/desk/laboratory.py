"""JupyterLab on the project's folder, its kernel this very Python with `%%pulsar_sql` at hand."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from workbench import files
from workbench.endpoints import home, project
from workbench.errors import DeskError


def lab(*, port: int = 0, browser: bool = True) -> None:
    """Become JupyterLab: it takes this process over, and ends with it.

    It listens on 127.0.0.1 and asks for its token, which it prints; `JUPYTER_TOKEN` sets one.

    Parameters
    ----------
    port
        0: 8888, or the next one that is free.
    browser
        Whether to open one.

    Raises
    ------
    DeskError
        If `JUPYTER_TOKEN` is set to nothing: that would turn the token off.
    """
    if os.environ.get("JUPYTER_TOKEN") == "":
        raise DeskError(
            "JUPYTER_TOKEN is empty, which lets everybody on this machine in",
            hint="unset it, or set it to a secret",
        )
    _before("JUPYTER_PATH", write_kernel())
    _before("JUPYTER_CONFIG_PATH", _write_page())
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *_arguments(port, browser)])  # noqa: S606 - no shell is wanted


def _before(variable: str, folder: Path) -> None:
    """Put a folder in front of those that a variable names."""
    given = os.environ.get(variable)
    os.environ[variable] = os.pathsep.join([str(folder), given] if given else [str(folder)])


def _write_page() -> Path:
    """Write what JupyterLab's page is to leave out: it asks everybody whether to fetch news."""
    folder = home() / "jupyter" / "config"
    page = folder / "labconfig" / "page_config.json"
    disabled = {"@jupyterlab/apputils-extension:announcements": True}
    files.write_json(page, {"disabledExtensions": disabled})
    return folder


def write_kernel() -> Path:
    """Write the kernel `python3` that notebooks name, and return the folder for `JUPYTER_PATH`.

    It is the Python that runs this, whatever kernels a person has elsewhere.
    """
    folder = home() / "jupyter"
    extension = "--InteractiveShellApp.extra_extensions=workbench"
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", extension]
    described = {"argv": command, "display_name": "workbench", "language": "python"}
    files.write_json(folder / "kernels" / "python3" / "kernel.json", described)
    return folder


def _arguments(port: int, browser: bool) -> list[str]:
    root = project()
    tree = "/lab/tree/notebooks" if (root / "notebooks").is_dir() else "/lab"
    arguments = [
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url={tree}",
        "--ServerApp.ip=127.0.0.1",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    if os.geteuid() == 0:  # as in a container; Jupyter alone refuses
        arguments += ["--ServerApp.allow_root=True"]
    if port:
        arguments += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    return arguments if browser else [*arguments, "--no-browser"]
