"""Run a stream as the job of an application cluster.

`python -m workbench.stream.running.application NAME`.

For Kubernetes (`kubernetes`), where Flink starts this in the JobManager; everything but the
stream is set there: checkpoints, restarts, what is on the class path.
"""

from __future__ import annotations

import argparse
import sys

from workbench.stream.running.live import embed


def main(arguments: list[str]) -> None:
    """Build the job of a stream and start it in this cluster."""
    parser = argparse.ArgumentParser(prog="python -m workbench.stream.running.application")
    parser.add_argument("name")
    parser.add_argument("--position", default="latest")
    parser.add_argument("--package")
    given = parser.parse_args(arguments)
    embed(given.name, position=given.position, package=given.package)


if __name__ == "__main__":
    main(sys.argv[1:])
