"""The JVM of a process: started early, once, and gone with it."""

import os
import subprocess
import sys
import time

import psutil
import pytest

BEGUN = """
from workbench.stream.running import gateway

gateway.start_gateway(brief=True)
gateway.start_gateway(brief=True)
(jvm,) = gateway._jvms
print(jvm.port(), jvm.process.pid)
"""


THREADS = """
import threading, time
from pyflink.java_gateway import get_gateway
from workbench.stream.running import gateway

gateway.start_gateway(brief=True)
gateway.guard_gateway()
java = get_gateway().jvm.java.lang.Thread


def number():
    return java.currentThread().getId()


def sleep():
    numbers.append(number())
    java.sleep(1000)
    numbers.append(number())


numbers = [number()]
other = threading.Thread(target=sleep)
other.start()
time.sleep(0.5)
numbers.append(number())  # while the other waits
other.join()
print(*numbers, number())
"""


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.flink
def test_a_jvm_that_is_started_beside_imports_ends_with_a_python_that_never_asks_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", BEGUN],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    port, pid = map(int, done.stdout.split())

    assert port > 0
    for _ in range(600):
        if not is_running(pid):
            break
        time.sleep(0.1)
    assert not is_running(pid)


@pytest.mark.flink
def test_a_thread_of_python_keeps_its_thread_of_java_whatever_others_ask(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    first, others, amid, others_after, last = done.stdout.split()

    assert amid == last == first
    assert others == others_after != first


def test_a_second_job_of_a_process_finds_the_threads_of_its_gateway_kept():
    from py4j.java_gateway import JavaGateway

    from workbench.stream.running.gateway import keep_threads

    java = JavaGateway()  # connects when it is asked for something
    keep_threads(java)
    kept = java._gateway_client.deque
    keep_threads(java)

    assert java._gateway_client.deque is kept
