# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work in shares on several cores: the answer is that of one process, whatever becomes of the others."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils import _parallel

HERE = os.getpid()
#: Of a Python that imports the collection.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(_parallel.__file__).parents[5])}


@pytest.fixture(autouse=True)
def three_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_parallel, "cores", lambda: 3)


def squares(numbers: t.Iterable[int]) -> list[int]:
    return [number * number for number in numbers]


def all_squares(count: int, work: t.Callable[[t.Sequence[int]], list[int]], *, least: int = 4) -> list[int]:
    found: list[int] = []
    for share, result in _parallel.shared_out(range(count), work, least=least):
        found += squares(share) if result is None else result
    return found


def children() -> set[str]:
    with open(f"/proc/{HERE}/task/{HERE}/children") as stream:  # noqa: PTH123  (of the kernel)
        return set(stream.read().split())


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 8, 11, 12, 13, 100])
def test_every_item_has_its_place(count: int) -> None:
    assert all_squares(count, squares) == squares(range(count))


@pytest.mark.parametrize("count", [0, 7, 100])
def test_what_all_shares_give_is_one_list(count: int) -> None:
    assert _parallel.collected(range(count), squares, least=4) == squares(range(count))


def test_other_processes_work_on_all_shares_but_the_first() -> None:
    shares = _parallel.shared_out(range(12), lambda _share: os.getpid(), least=4)
    places = [place for _share, place in shares]
    assert places[0] is None
    assert len({HERE, *places[1:]}) == 3


def test_few_items_need_no_process() -> None:
    assert [found for _share, found in _parallel.shared_out(range(7), squares, least=4)] == [None]


def test_they_work_at_the_same_time_and_are_gone_afterwards() -> None:
    before = children()
    shares = _parallel.shared_out(range(12), lambda _share: children_of_parent(), least=4)
    next(shares)
    assert len(children() - before) == 2
    seen = [found for _share, found in shares]
    assert len(seen) == 2
    assert children() == before


def children_of_parent() -> int:
    time.sleep(0.2)
    return os.getppid()


def killed(share: t.Sequence[int]) -> list[int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return squares(share)


def broken(_share: t.Sequence[int]) -> list[int]:
    raise RuntimeError("a message that nobody sees")


def unsendable(share: t.Sequence[int]) -> t.Any:
    return (number for number in share)


@pytest.mark.parametrize("work", [killed, broken, unsendable])
def test_the_work_of_a_process_that_fails_is_the_caller_s(
    work: t.Callable[[t.Sequence[int]], list[int]], capfd: pytest.CaptureFixture[str]
) -> None:
    assert all_squares(12, work) == squares(range(12))
    assert capfd.readouterr() == ("", "")


def test_where_no_process_can_be_started_the_work_is_the_caller_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    assert all_squares(12, squares) == squares(range(12))


def test_without_a_free_file_descriptor_the_work_is_the_caller_s(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*, duplex: bool) -> t.NoReturn:
        raise OSError(errno.EMFILE, f"Too many open files, duplex={duplex}")

    monkeypatch.setattr(multiprocessing.connection, "Pipe", full)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert all_squares(12, squares) == squares(range(12))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


# Its children give more than a pipe holds, while it sleeps in its own share.
KILLED = """
import sys, time
from ansible_collections.kyma.mtls.plugins.module_utils import _parallel
_parallel.cores = lambda: 3
def work(share):
    time.sleep(0.3)
    return b"x" * 2**20
for number, _share in enumerate(_parallel.shared_out(range(3), work, least=1)):
    if number == 0:
        print("begun", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_caller_that_is_killed_leaves_no_process_and_no_lock_behind(tmp_path: Path, kind: signal.Signals) -> None:
    """Whoever reads its output, or waits for its lock, would wait for ever."""
    lock = (tmp_path / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    running = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdout=subprocess.PIPE,
        pass_fds=[lock.fileno()],
        env=ENVIRONMENT,
        start_new_session=True,
    )
    lock.close()  # it is that of the process and of its children now
    assert running.stdout is not None
    try:
        assert running.stdout.readline() == b"begun\n"
        running.send_signal(kind)
        with (tmp_path / "lock").open("w") as again:
            assert any(_is_locked(again) for _attempt in range(200)), "its children are still there"
        assert running.stdout.read() == b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.stdout.close()
        running.wait()


def _is_locked(file: t.IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(0.05)
        return False
    return True


# In a process without other threads, which would get the signals that the main one blocks. A module has none, either.
TIME_OVER = """
import os, signal, time
from ansible_collections.kyma.mtls.plugins.module_utils import _parallel
_parallel.cores = lambda: 3
class Over(BaseException):
    pass
def over(_number, _frame):
    raise Over
def wait(seconds):
    signal.setitimer(signal.ITIMER_REAL, seconds)
    for _share in _parallel.shared_out(range(3), lambda _share: time.sleep(20), least=1):
        for _moment in range(2000):  # a signal that comes just before a sleep does not end it
            time.sleep(0.01)
signal.signal(signal.SIGALRM, over)
for number in range(120):
    try:
        wait(0.0001 + number * 0.00005)
    except Over:
        pass
with open(f"/proc/self/task/{os.getpid()}/children") as stream:
    print(stream.read().strip())
"""


def test_a_caller_whose_time_is_over_leaves_no_process_behind() -> None:
    """As the time limit of a task does, at any moment of the beginning."""
    command = [sys.executable, "-c", TIME_OVER]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT, timeout=300)
    assert done.stdout == "\n"


def test_a_time_that_is_over_as_signals_get_blocked_leaves_none_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    class OverError(BaseException):
        pass

    change = signal.pthread_sigmask
    before = change(signal.SIG_BLOCK, ())

    def and_run_handlers(how: int, which: t.Collection[int]) -> set[int]:
        found = change(how, which)
        if how == signal.SIG_BLOCK and which:
            raise OverError
        return found

    monkeypatch.setattr(_parallel.signal, "pthread_sigmask", and_run_handlers)
    with pytest.raises(OverError):
        all_squares(12, squares)
    assert change(signal.SIG_SETMASK, before) == before


def test_elsewhere_than_on_linux_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_parallel.sys, "platform", "darwin")
    monkeypatch.delattr(os, "fork")
    assert all_squares(12, squares) == squares(range(12))


def test_a_caller_that_stops_leaves_no_process_behind() -> None:
    before = children()

    def stop() -> None:
        for _share, _found in _parallel.shared_out(range(12), lambda _share: time.sleep(600), least=4):
            assert len(children() - before) == 2
            raise KeyError

    with pytest.raises(KeyError):
        stop()
    assert children() == before
