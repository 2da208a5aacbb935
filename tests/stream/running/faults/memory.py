"""The memory of each service while it is killed and started again, over hours."""

import threading
import time
from typing import NamedTuple

import numpy as np
import psutil

from workbench.services.processes import processes

SERVICES = ("s3", "pulsar", "kafka", "jobmanager", "taskmanager")
EVERY_S = 5
SETTLED_S = 60  # a process that began later has not what it needs yet
GROWTH = 0.05  # of the median, from the first half to the second


class Sample(NamedTuple):
    """What a process had."""

    name: str
    age_s: float
    at_s: float
    own_mib: float  # resident, without what is mapped from files


class Memory(threading.Thread):
    """Looks at the processes of services, and at pids of `others`, every few seconds."""

    def __init__(self, others):
        super().__init__(daemon=True)
        self.others = others
        self.samples = []
        self.began_s = time.monotonic()
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(EVERY_S):
            for name in SERVICES:
                for process in processes(name):
                    self.look(called(name, process), process.pid)
            for name, pid in self.others():
                self.look(name, pid)

    def look(self, name, pid):
        if not name:
            return
        try:
            process = psutil.Process(pid)
            size, age_s = process.memory_info(), time.time() - process.create_time()
        except psutil.Error:  # ended meanwhile
            return
        own_mib = (size.rss - size.shared) / 2**20
        self.samples.append(Sample(name, age_s, time.monotonic() - self.began_s, own_mib))

    def halves(self):
        """Return each name's samples of settled processes, MiB, of either half of the time."""
        middle_s = max(sample.at_s for sample in self.samples) / 2
        settled = [sample for sample in self.samples if sample.age_s > SETTLED_S]
        halves = {}
        for sample in settled:
            first, second = halves.setdefault(sample.name, ([], []))
            (first if sample.at_s < middle_s else second).append(sample.own_mib)
        return {name: pair for name, pair in sorted(halves.items()) if all(pair)}

    def report(self):
        """Return a line for each name: medians and counts of both halves, and the growth."""
        return [
            f"{name}: {np.median(first):.0f} MiB ({len(first)} looks), then "
            f"{np.median(second):.0f} ({len(second)}), {grown(first, second):+.1%}"
            for name, (first, second) in self.halves().items()
        ]

    def check(self):
        """Nothing takes more in the second half than in the first, but for what is noise."""
        grew = {name: grown(*pair) for name, pair in self.halves().items()}
        assert {name: growth for name, growth in grew.items() if growth > GROWTH} == {}


def grown(first, second):
    return float(np.median(second) / np.median(first) - 1)


def called(service, process):
    """Return what a process of a service is, the TaskManager's Python workers by themselves.

    Empty: a shell that waits for another.
    """
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return service
    if service == "taskmanager" and "java" not in command.split(" ")[0]:
        return "python worker" if "beam" in command else ""
    return service
