# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A supervised program runs alone, and no process of somebody else is ever ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import signal
import stat
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._local import launch
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local.runtimes import wait_for

MARK = "/a/runtime/"


@contextlib.contextmanager
def process(*arguments: str, script: str = "import time; print(flush=True); time.sleep(100)") -> t.Iterator[int]:
    """A process with ``arguments`` in its command line, once it runs."""
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as made:
        assert made.stdout
        made.stdout.readline()
        try:
            yield made.pid
        finally:
            made.kill()


def is_alive(pid: int) -> bool:
    """Whether ``pid`` runs; a zombie has no command line."""
    return bool(launch.command_line(pid))


def launched(lock: pathlib.Path, mark: str, *command: str) -> list[str]:
    return [sys.executable, "-I", str(launch.__file__), str(lock), mark, "--", *command]


@contextlib.contextmanager
def held(lock: pathlib.Path, content: str) -> t.Iterator[None]:
    """A lock file that somebody holds."""
    with lock.open("w", encoding="ascii") as stream:
        stream.write(content)
        stream.flush()
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def test_own_process_is_ended_politely() -> None:
    with process(MARK) as pid:
        assert launch.end_process(pid, mark=MARK)
        assert not is_alive(pid)


def test_own_process_that_ignores_the_request_is_killed() -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(100)"
    with process(MARK, script=script) as pid:
        assert launch.end_process(pid, mark=MARK, grace_seconds=0.2)
        wait_for(lambda: not is_alive(pid), what="the process is dead")


@pytest.mark.parametrize("named", [f"unix:{MARK}socket", f"--config={MARK}envoy.json", f"{MARK}bin/python"])
def test_path_below_the_mark_makes_a_process_ours(named: str) -> None:
    with process(named) as pid:
        assert launch.end_process(pid, mark=MARK)


def test_process_that_works_in_a_renamed_runtime_is_ours(tmp_path: pathlib.Path) -> None:
    (tmp_path / "old/runtime/logs").mkdir(parents=True)
    script = f"import os, time; os.chdir('{tmp_path}/old/runtime/logs'); print(flush=True); time.sleep(100)"
    with process("/old/runtime/", script=script) as pid:
        (tmp_path / "old").rename(tmp_path / "new")

        assert not launch.is_ours(pid, mark=f"{tmp_path}/other/runtime/")
        assert not launch.is_ours(pid, mark=f"{tmp_path}/new/run/")
        assert launch.end_process(pid, mark=f"{tmp_path}/new/runtime/")
        wait_for(lambda: not is_alive(pid), what="the process is dead")


@pytest.mark.parametrize("named", ["/another/runtime/", f"/elsewhere{MARK}bin/python"])
def test_process_without_the_mark_is_left_alone(named: str) -> None:
    with process(named) as pid:
        assert not launch.end_process(pid, mark=MARK)
        assert is_alive(pid)


def test_process_that_is_gone_is_not_ours() -> None:
    with process(MARK) as pid:
        pass

    assert not launch.end_process(pid, mark=MARK)


def test_process_that_cannot_be_killed_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    with process(MARK) as pid, monkeypatch.context() as patch:
        patch.setattr(launch.os, "kill", lambda *_arguments: None)
        assert launch.end_process(pid, mark=MARK, grace_seconds=0.0)
        patch.undo()


def test_command_line_without_proc_comes_from_ps(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """As on macOS."""
    ps = tmp_path / "ps"
    ps.write_text('#!/bin/sh\necho "command of $4 $*"\n', encoding="ascii")
    ps.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(launch, "Path", lambda path: tmp_path / "no-proc" / str(path).lstrip("/"))

    assert launch.command_line(42) == "command of 42 -o command= -p 42\n"


def test_holder_is_who_holds_the_lock_not_who_is_written_in_it(tmp_path: pathlib.Path) -> None:
    lock = tmp_path / "lock"

    assert launch.lock_holder(lock) is None
    lock.write_text(str(os.getpid()), encoding="ascii")
    assert launch.lock_holder(lock) is None
    with held(lock, "4711"):
        assert launch.lock_holder(lock) == 4711
    with held(lock, ""):
        assert launch.lock_holder(lock) == 0
    with held(lock, "rubbish"):
        assert launch.lock_holder(lock) == 0


def test_program_inherits_the_lock_and_writes_its_pid(tmp_path: pathlib.Path) -> None:
    lock = tmp_path / "lock"
    with subprocess.Popen(launched(lock, f"{tmp_path}/", "/bin/sleep", "100")) as made:
        try:
            wait_for(lambda: launch.command_line(made.pid) == "/bin/sleep 100 ", what="the program runs")
            assert launch.lock_holder(lock) == made.pid
            assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        finally:
            made.kill()

    assert launch.lock_holder(lock) is None


def test_second_instance_ends_the_first(tmp_path: pathlib.Path) -> None:
    lock, mark = tmp_path / "lock", f"{tmp_path}/"
    command = ["/bin/sh", "-c", "sleep 100 & wait", mark]
    with subprocess.Popen(launched(lock, mark, *command)) as first:
        wait_for(lambda: launch.lock_holder(lock) == first.pid, what="the first runs")
        children = pathlib.Path(f"/proc/{first.pid}/task/{first.pid}/children")
        child = int(wait_for(lambda: children.read_text(encoding="ascii").split(), what="its child")[0])
        with subprocess.Popen(launched(lock, mark, "/bin/sleep", "100")) as second:
            try:
                first.wait()
                # Its child holds the lock on: the second waits for it.
                assert launch.lock_holder(lock) == first.pid
                os.kill(child, signal.SIGKILL)
                wait_for(lambda: launch.lock_holder(lock) == second.pid, what="the second runs")
            finally:
                second.kill()


def test_foreign_process_in_the_lock_file_is_waited_for_but_never_ended(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LOCK_SECONDS", 0.3)
    lock = tmp_path / "lock"
    with process("somebody else's") as pid, held(lock, str(pid)):
        with pytest.raises(SystemExit, match="held by a process that is not ours to end"):
            launch.take_lock(lock, mark=MARK)
        assert is_alive(pid)


def test_free_lock_is_taken_whatever_pid_is_in_it(tmp_path: pathlib.Path) -> None:
    lock = tmp_path / "lock"
    with process(MARK) as pid:
        lock.write_text(str(pid), encoding="ascii")

        os.close(launch.take_lock(lock, mark=MARK))

        assert is_alive(pid)


def test_own_process_that_holds_the_lock_is_ended(tmp_path: pathlib.Path) -> None:
    lock = tmp_path / "lock"
    script = (
        "import fcntl, os, sys, time; f = open(sys.argv[2], 'w'); f.write(str(os.getpid())); f.flush();"
        "fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); time.sleep(100)"
    )
    with process(MARK, str(lock), script=script) as pid:
        descriptor = launch.take_lock(lock, mark=MARK)
        os.close(descriptor)
        assert not is_alive(pid)


def test_launching_becomes_the_command(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.write_text("999999999 of an earlier run", encoding="ascii")
    became: list[t.Any] = []

    def become(path: str, arguments: list[str]) -> None:
        became.append((path, arguments, launch.lock_holder(lock)))

    monkeypatch.setattr(launch.os, "execv", become)

    launch.main([str(lock), MARK, "--", "/bin/envoy", "--x"])

    assert became == [("/bin/envoy", ["/bin/envoy", "--x"], os.getpid())]
    inherited = [
        int(one.name) for one in pathlib.Path("/proc/self/fd").iterdir() if one.exists() and one.samefile(lock)
    ]
    assert [os.get_inheritable(one) for one in inherited] == [True]
    os.close(inherited[0])


@pytest.mark.parametrize("arguments", [["lock", MARK, "--"], ["lock", MARK, "envoy", "--x"]])
def test_wrong_usage_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"usage: launch\.py"):
        launch.main(arguments)
