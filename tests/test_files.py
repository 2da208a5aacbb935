"""A write is whole or not at all, whatever ends it and wherever; and there is one door for it."""

import ast
import ctypes
import errno
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from workbench import files

SOURCES = Path(files.__file__).parent
LONG = "x" * 5_000_000

# Writes in a child that ends itself, or meets an error, at the n-th line that runs in `files`.
HURT = """
import errno, os, signal, sys
from pathlib import Path
from workbench import files

what, how, target = sys.argv[1], sys.argv[2], Path(sys.argv[3])

def write():
    if what == "folder":
        with files.new_folder(target) as part:
            for name in "ab":
                (part / name).write_text("after")
    elif what == "private":
        files.write_text(target, "after", mode=0o600)
    elif what == "json":
        files.write_json(target, "after")
    else:
        files.write_text(target, "after")

def hurt(number):
    left = number
    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(errno.ENOSPC, "No space left on device")
        return trace
    sys.settrace(trace)
    write()
    sys.settrace(None)
    print(left)

number = 0
while True:
    number += 1
    child = os.fork()
    if child == 0:
        try:
            hurt(number)
        except OSError:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(number, status, flush=True)
    sys.stdin.readline()
    if status == 0:
        break
"""


def contents(target):
    if target.is_dir():
        return {path.name: path.read_text() for path in target.iterdir()}
    return target.read_text().strip().strip('"') if target.exists() else None


@pytest.mark.parametrize("there", [True, False], ids=["replaced", "new"])
@pytest.mark.parametrize("how", ["kill", "error"])
@pytest.mark.parametrize("what", ["text", "private", "json", "folder"])
@pytest.mark.slow
def test_a_write_that_ends_at_any_line_leaves_before_or_after(tmp_path, what, how, there):
    target = tmp_path / "place" / "target"
    old = {"a": "before", "b": "before"} if what == "folder" else "before"
    new = {"a": "after", "b": "after"} if what == "folder" else "after"
    before = old if there else None

    def restore():
        if target.is_dir():
            files.remove_folder(target)
        target.unlink(missing_ok=True)
        if there and what == "folder":
            target.mkdir(parents=True)
            for name, text in old.items():
                (target / name).write_text(text)
        elif there:
            target.parent.mkdir(exist_ok=True)
            target.write_text(old)

    restore()
    command = [sys.executable, "-c", HURT, what, how, str(target)]
    texts = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        for line in child.stdout:
            if len(line.split()) != 2:
                continue
            texts.append(contents(target))
            if texts[-1] not in (before, new):
                child.kill()
                pytest.fail(f"at line {line.split()[0]} it was {texts[-1]}")
            files.remove_abandoned(tmp_path / "place")
            assert list((tmp_path / "place").glob(".*")) == []
            restore()
            child.stdin.write("\n")
            child.stdin.flush()

    assert len(texts) > 20, "too few lines were tried"
    assert before in texts
    assert texts[-1] == new


@pytest.mark.parametrize("text", ["short", LONG], ids=["short", "long"])
def test_a_disk_that_takes_no_more_keeps_what_was_there_and_no_rest(tmp_path, text):
    path = tmp_path / "note"
    path.write_text("before")
    code = (
        "import resource, sys; from workbench import files; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3, 3)); "
        "files.write_text(sys.argv[1], sys.argv[2] * 1_000_000)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, path, text[:5]], capture_output=True, text=True
    )

    refused = f"OSError: [Errno {errno.EFBIG}] File too large: '{path}'"
    assert done.stderr.splitlines()[-1] == refused
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["note"]


def test_readers_beside_a_writer_find_one_whole_text(tmp_path):
    path = files.write_text(tmp_path / "note", "a" * 300_000)
    stop, texts = threading.Event(), set()

    def read():
        while not stop.is_set():
            text = path.read_text()
            texts.add((len(text), *set(text)))

    reader = threading.Thread(target=read)
    reader.start()
    for letter in "bcdefgh" * 5:
        files.write_text(path, letter * 300_000)
    stop.set()
    reader.join()

    assert {(length, len(rest)) for length, *rest in texts} == {(300_000, 1)}


def test_a_private_file_is_never_open_to_others(tmp_path):
    path = tmp_path / "secret"
    modes = []
    with files.new_file(path, mode=0o600) as part:
        modes.append(stat.S_IMODE(part.stat().st_mode))
        part.write_text("token")

    assert [*modes, stat.S_IMODE(path.stat().st_mode)] == [0o600, 0o600]


def test_a_file_is_as_open_as_the_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        path = files.write_text(tmp_path / "note", "")
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_json_ends_with_a_line_and_text_is_utf_8(tmp_path):
    assert files.write_json(tmp_path / "a", {"µ": 1}).read_bytes() == b'{\n "\\u00b5": 1\n}\n'
    assert files.write_text(tmp_path / "b", "µ\r\n").read_bytes() == b"\xc2\xb5\r\n"


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "there" / "note")
    files.write_text(tmp_path / "link", "text")
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    files.write_text(tmp_path / "pipe", "text")

    assert (tmp_path / "there" / "note").read_text() == "text"
    assert reader.communicate()[0] == b"text"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "pipe").is_fifo()


def test_a_writer_that_wrote_nothing_or_failed_changes_nothing(tmp_path):
    path = files.write_text(tmp_path / "note", "before")
    with files.new_file(path):
        pass
    with suppress(ZeroDivisionError), files.new_file(path) as part:
        part.write_text(f"half {1 / 0}")
    with suppress(ZeroDivisionError), files.new_folder(tmp_path / "new") as folder:
        (folder / "note").write_text("half")
        (folder / "more").write_text(f"half {1 / 0}")

    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["note"]


@pytest.fixture
def old(tmp_path):
    """A folder to be replaced."""
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a").write_text("before")
    return tmp_path / "target"


def replace_by_after(folder):
    with files.new_folder(folder) as part:
        (part / "a").write_text("after")


def test_where_folders_cannot_be_swapped_the_old_one_comes_back(old, monkeypatch):
    replace, goals = os.replace, []

    def refusing(source, goal):
        goals.append(goal)
        if len(goals) == 2:  # the old one is aside, and nothing stands at its place
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, goal)

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())  # a system without renameat2
    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(OSError, match=f"error: '{old}'"):
        replace_by_after(old)

    assert len(goals) == 3
    assert contents(old) == {"a": "before"}
    assert list(old.parent.iterdir()) == [old]


@pytest.mark.parametrize("refusal", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_disk_that_refuses_the_swap_is_told_and_nothing_is_moved(old, monkeypatch, refusal):
    class Library:
        @staticmethod
        def renameat2(*_):
            ctypes.set_errno(refusal)
            return -1

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Library)
    with pytest.raises(OSError, match=os.strerror(refusal)):
        replace_by_after(old)

    assert contents(old) == {"a": "before"}
    assert list(old.parent.iterdir()) == [old]


def test_of_two_folders_of_one_name_the_second_is_refused(tmp_path):
    for text in ("first", "second"):
        folder = files.part_folder(tmp_path)
        (folder / "note").write_text(text)
        if text == "first":
            files.put_new(folder, tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"File exists: '.*run'"):
        files.put_new(folder, tmp_path / "run")

    assert (tmp_path / "run" / "note").read_text() == "first"


def test_what_the_dead_left_is_removed_and_what_the_living_write_is_not(tmp_path):
    code = (
        "import os, sys; from workbench import files; p = files.part_folder(sys.argv[1]); "
        "(p / 'note').write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path])
    assert done.returncode == -signal.SIGKILL
    mine = files.part_folder(tmp_path)
    other = tmp_path / f"{files.PARTIAL}elsewhere-1-00000000"
    other.mkdir()
    assert len(list(tmp_path.iterdir())) == 3

    files.remove_abandoned(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted([mine, other])


def test_what_a_killed_swap_had_set_aside_stands_in_its_place_again(tmp_path):
    code = """if True:
        import os, sys
        from pathlib import Path
        from workbench import files

        def replace(source, target, step=os.replace):
            step(source, target)
            os.kill(os.getpid(), 9)

        folder = Path(sys.argv[1])
        (folder / "run").mkdir()
        (folder / "run" / "note").write_text("old")
        part = files.part_folder(folder)
        (part / "note").write_text("new")
        files._exchange, os.replace = lambda first, second: False, replace
        files.put(part, folder / "run")
    """
    done = subprocess.run([sys.executable, "-c", code, tmp_path])
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "run").exists()

    files.remove_abandoned(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "note").read_text() == "old"


def test_one_process_at_a_time_is_let_in_and_a_dead_one_is_out(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from workbench import files\n"
        "with files.locked(Path(sys.argv[1]) / 'lock'):\n"
        "    print('in', flush=True)\n"
        "    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    holder.stdout.readline()
    entered = []

    def enter():
        with files.locked(tmp_path / "lock"):
            entered.append(time.monotonic())

    waiting = threading.Thread(target=enter)
    waiting.start()
    time.sleep(0.3)
    assert entered == []
    holder.kill()
    holder.communicate()
    waiting.join(60)

    assert len(entered) == 1


def test_a_line_that_a_killed_process_left_half_written_is_no_line(tmp_path):
    log = tmp_path / "new" / "log"
    files.append_line(log, "one")
    with log.open("ab") as file:
        file.write(b"x" * 10_000)
    assert files.whole_lines(log) == ["one"]

    files.append_line(log, "two")

    assert log.read_bytes() == b"one\ntwo\n"


def test_what_was_cut_in_the_first_line_is_none(tmp_path):
    (tmp_path / "log").write_bytes(b"tor")

    files.append_line(tmp_path / "log", "one")

    assert files.whole_lines(tmp_path / "log") == ["one"]


def test_lines_of_many_threads_are_each_whole(tmp_path):
    texts = [str(number) * 500 for number in range(40)]
    threads = [
        threading.Thread(target=files.append_line, args=(tmp_path / "log", text)) for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(files.whole_lines(tmp_path / "log")) == sorted(texts)


# A call that writes past the door, by the name of the function, and where it may stand and why.
PAST = {"write_text", "write_bytes", "mkstemp", "mkdtemp", "flock", "fsync", "rename", "replace"}
MAY = {
    "files.py": "the door itself",
    "runs/execution/notebook.py": "a scratch folder in /tmp, short for sockets; a process's log",
    "stream/span/fates.py": "scratch of a span, which is mapped",
    "stream/span/peaks.py": "a switch of the system's in /proc",
}


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            whose = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            yield node, name, whose


def writes(node, name, whose):
    if name == "write_text" or name == "write_bytes":
        return whose != "files"
    if name in ("rename", "replace"):  # a path's has one argument, a text's two
        return whose == "os" or (len(node.args) == 1 and not node.keywords)
    if name == "open":
        modes = [one.value for one in node.args if isinstance(one, ast.Constant)]
        return any(isinstance(mode, str) and set(mode) & set("wax") for mode in modes[-1:])
    return name in PAST


def test_nothing_is_written_past_the_door():
    past = [
        f"{path.relative_to(SOURCES)}:{node.lineno} {whose}.{name}"
        for path in sorted(SOURCES.rglob("*.py"))
        if str(path.relative_to(SOURCES)) not in MAY
        for node, name, whose in calls(path)
        if writes(node, name, whose)
    ]

    assert past == [], "write it with workbench.files"
