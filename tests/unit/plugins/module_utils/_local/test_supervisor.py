# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor of a runtime: its files, and a real one where it matters."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import shutil
import signal
import subprocess
import typing as t
from types import SimpleNamespace

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import launch, supervisor, supervisor_files
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor import Process, Supervisor
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor_files import Program
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local.runtimes import wait_for


@pytest.fixture
def runtime() -> t.Iterator[runtimes.Runtime]:
    with runtimes.runtime() as made:
        made.layout.make()
        yield made


@pytest.fixture
def idle(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """A supervisor that does not run."""
    layout = runtimes.layout_without_processes(tmp_path, monkeypatch)
    layout.make()
    return Supervisor(layout=layout, python=tmp_path / "bin" / "python")


def sleeper(runtime: runtimes.Runtime, *, name: str = "sleeper", packages: str = "") -> Program:
    """A program that sleeps, and has the runtime's path in its command line."""
    return Program(name, ("/bin/sh", "-c", "while sleep 1; do :; done", str(runtime.layout.root) + "/"), packages)


def test_packages_decide_on_a_restart(runtime: runtimes.Runtime) -> None:
    made = runtime.platform.supervisor
    made.apply([sleeper(runtime), sleeper(runtime, name="other")])
    wait_for(lambda: runtime.pid("sleeper") and runtime.pid("other"), what="both run")
    before = runtime.pids()

    assert made.programs_differ([sleeper(runtime), sleeper(runtime, name="other")]) == []
    changed = [sleeper(runtime, packages="new"), sleeper(runtime, name="other")]
    assert made.programs_differ(changed) == ["sleeper"]
    made.apply(changed)

    wait_for(lambda: runtime.pid("sleeper") not in (None, 0, before["sleeper"]), what="a new process")
    assert runtime.pid("other") == before["other"]
    assert made.programs_differ([sleeper(runtime, packages="new")]) == ["other"]


def test_option_that_may_wait_is_no_reason_to_restart(runtime: runtimes.Runtime) -> None:
    def program(interval: str, *, packages: str = "") -> Program:
        shell = ("/bin/sh", "-c", "while sleep 1; do :; done", str(runtime.layout.root) + "/")
        return Program(
            "sleeper", (*shell, "--flush-msec", interval), packages=packages, waiting_options=("--flush-msec",)
        )

    made = runtime.platform.supervisor
    made.apply([program("1000")])
    wait_for(lambda: runtime.pid("sleeper"), what="it runs")
    before = runtime.pid("sleeper")

    assert made.programs_differ([program("100")]) == []
    made.apply([program("100")])
    assert runtime.pid("sleeper") == before
    assert "--flush-msec 1000" in made.configured()["sleeper"]

    assert made.programs_differ([program("100", packages="new")]) == ["sleeper"]
    made.apply([program("100", packages="new")])
    wait_for(lambda: runtime.pid("sleeper") not in (None, 0, before), what="a new process")
    assert "--flush-msec 100\n" in made.configured()["sleeper"]


def test_damaged_configuration_of_a_program_is_written_anew(idle: Supervisor) -> None:
    program = Program("sleeper", ("/bin/sleep", "1", "--flush-msec", "5"), waiting_options=("--flush-msec",))
    path = idle.layout.programs / "sleeper.conf"
    for damaged in (b"\xff\xfe", b"", b"[program:sleeper]\ncommand = /bin/true --flush-msec 5\n"):
        path.write_bytes(damaged)
        assert idle.programs_differ([program]) == ["sleeper"]
        assert list(idle.configured()) == ["sleeper"]
        assert "/bin/sleep 1 --flush-msec 5" in idle._program_text(program)


def test_stopped_program_is_noticed_and_started(runtime: runtimes.Runtime) -> None:
    made = runtime.platform.supervisor
    made.apply([sleeper(runtime)])
    made._call("supervisor.stopProcess", "sleeper", True)

    assert made.programs_differ([sleeper(runtime)]) == ["sleeper"]
    made.apply([sleeper(runtime)])

    wait_for(lambda: runtime.pid("sleeper"), what="it runs")


def test_program_that_waits_for_its_next_try_is_started_at_once(
    runtime: runtimes.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = runtime.platform.supervisor
    made.apply([sleeper(runtime)])
    called: list[tuple[str, ...]] = []
    waiting = Process(name="sleeper", state="BACKOFF", pid=0, description="Exited too quickly")
    monkeypatch.setattr(made, "processes", lambda: [waiting])
    monkeypatch.setattr(made, "_call", lambda *arguments: called.append(arguments))

    assert made.programs_differ([sleeper(runtime)]) == ["sleeper"]
    made._start_dead({"sleeper"})

    assert [one[0] for one in called] == ["supervisor.stopProcess", "supervisor.startProcess"]


def test_start_is_quiet_when_everything_is_as_wanted(runtime: runtimes.Runtime) -> None:
    made = runtime.platform.supervisor
    assert not made.is_settled()
    made.start()
    pid = runtime.supervisor_pid()

    made.start()

    assert made.is_settled()
    assert runtime.supervisor_pid() == pid
    runtime.layout.launcher.unlink()
    assert not made.is_settled()


def test_other_configuration_restarts_the_supervisor(runtime: runtimes.Runtime) -> None:
    made = runtime.platform.supervisor
    made.start()
    pid = runtime.supervisor_pid()
    with runtime.layout.supervisor_configuration.open("a", encoding="utf-8") as stream:
        stream.write("; of an older version\n")

    assert not made.is_settled()
    made.start()

    assert runtime.supervisor_pid() != pid
    assert pid not in runtime.processes()


def test_other_packages_of_supervisor_restart_it(runtime: runtimes.Runtime) -> None:
    made = runtime.platform.supervisor
    made.start()
    pid = runtime.supervisor_pid()
    record = runtime.layout.installed / "supervisor.sha256"
    before = record.read_text(encoding="ascii") if record.exists() else None
    try:
        record.write_text("of a newer version", encoding="ascii")
        assert not made.is_settled()
        made.start()
        assert runtime.supervisor_pid() != pid
    finally:
        record.unlink()
        if before is not None:
            record.write_text(before, encoding="ascii")


def test_stop_ends_everything_also_what_an_earlier_supervisor_left(runtime: runtimes.Runtime) -> None:
    made = runtime.platform.supervisor
    made.apply([sleeper(runtime)])
    wait_for(lambda: runtime.pid("sleeper"), what="it runs")
    os.kill(runtime.supervisor_pid(), signal.SIGKILL)
    assert made.has_processes()

    made.stop()

    assert not made.has_processes()
    assert not runtime.processes()


def test_stop_ends_a_supervisor_that_cannot_be_reached(runtime: runtimes.Runtime) -> None:
    made = runtime.platform.supervisor
    made.start()
    runtime.layout.supervisor_socket.unlink()
    assert made.has_processes()

    made.stop()

    assert not runtime.processes()
    assert not made.has_processes()


def moved(runtime: runtimes.Runtime, name: str, move: t.Callable[[pathlib.Path, pathlib.Path], t.Any]) -> Supervisor:
    """The supervisor of a runtime as it is found in another place."""
    place = runtime.layout.root.with_name(name)
    move(runtime.layout.root, place)
    layout = RuntimeLayout.at(str(place))
    return Supervisor(layout=layout, python=runtime.platform.supervisor.python)


def copy_and_remove(source: pathlib.Path, target: pathlib.Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*.sock*"))
    shutil.rmtree(source)


@pytest.mark.parametrize("move", [pathlib.Path.rename, copy_and_remove], ids=["renamed", "copied and removed"])
@pytest.mark.parametrize("do", ["start", "stop"])
def test_what_runs_from_the_place_before_is_ended(
    runtime: runtimes.Runtime, move: t.Callable[[pathlib.Path, pathlib.Path], t.Any], do: str
) -> None:
    runtime.platform.supervisor.apply([sleeper(runtime)])
    wait_for(lambda: runtime.pid("sleeper"), what="it runs")
    pids = [runtime.supervisor_pid(), runtime.pid("sleeper")]
    environment = runtime.layout.environment

    made = moved(runtime, "moved", move)
    made.python = made.layout.environment / "bin/python"
    assert made.has_processes()
    try:
        getattr(made, do)()

        wait_for(lambda: not any(launch.command_line(pid or 0) for pid in pids), what="all of it has ended")
        assert made.is_running() is (do == "start")
        assert not list(made.layout.programs.glob("*.conf")) or do == "stop"
    finally:
        made.stop()
        made.layout.root.rename(environment.parent)


def test_copy_leaves_the_processes_of_the_original_alone(runtime: runtimes.Runtime) -> None:
    runtime.platform.supervisor.apply([sleeper(runtime)])
    wait_for(lambda: runtime.pid("sleeper"), what="it runs")
    before = (runtime.supervisor_pid(), runtime.pids())

    def copy(source: pathlib.Path, target: pathlib.Path) -> None:
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*.sock*"))

    made = moved(runtime, "copy", copy)
    assert not made.has_processes()
    made.stop()

    assert (runtime.supervisor_pid(), runtime.pids()) == before
    assert launch.command_line(before[0])


def test_foreign_process_is_never_ended_and_its_lock_is_named(
    idle: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    with subprocess.Popen(["/bin/sleep", "100"]) as foreign:
        try:
            (idle.layout.supervisor / "supervisord.pid").write_text(str(foreign.pid), encoding="ascii")
            lock = idle.layout.locks / "envoy.lock"
            lock.write_text(str(foreign.pid), encoding="ascii")
            idle.stop()
            assert foreign.poll() is None, "the lock is free: nobody's"

            held = os.open(lock, os.O_RDWR)
            launch.fcntl.flock(held, launch.fcntl.LOCK_EX)
            with pytest.raises(MtlsError, match=rf"envoy\.lock is still held, by process {foreign.pid} or a child"):
                idle.stop()
            os.close(held)
            assert foreign.poll() is None
        finally:
            foreign.kill()


def test_missing_supervisor_is_named(idle: Supervisor) -> None:
    with pytest.raises(MtlsError, match=r"has no supervisor \(.*/bin/supervisord\)\. Give its package"):
        idle.start()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("echo no such option; exit 2", r"supervisord did not start \(exit code 2\): no such option"),
        ("sleep 100", r"supervisord cannot be started: .*timed out.*supervisord\.log"),
        ("exit 0", r"supervisord does not answer on .*supervisor\.sock"),
    ],
)
def test_supervisor_that_does_not_start_is_a_failure_in_words(
    idle: Supervisor, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setattr(supervisor, "SPAWN_SECONDS", 0.3)
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.1)
    idle.python.parent.mkdir()
    program = idle.python.with_name("supervisord")
    program.write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
    program.chmod(0o700)

    with pytest.raises(MtlsError, match=message):
        idle.start()


def test_supervisor_that_does_not_end_is_a_failure_in_words(idle: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.1)
    monkeypatch.setattr(idle, "is_running", lambda: True)
    monkeypatch.setattr(idle, "_call", lambda *_arguments: None)

    with pytest.raises(MtlsError, match="does not end"):
        idle.stop()


def test_silent_supervisor_is_named_with_its_log(idle: Supervisor) -> None:
    with pytest.raises(MtlsError, match=r"supervisor does not answer .supervisor\.getAllProcessInfo.*supervisord\.log"):
        idle.processes()


def test_refusal_of_supervisor_is_told_in_its_words(runtime: runtimes.Runtime) -> None:
    made = runtime.platform.supervisor
    made.start()

    with pytest.raises(MtlsError, match=r"supervisor refused supervisor\.stopProcess.*BAD_NAME: nobody"):
        made.restart("nobody")


def test_everything_is_missing_while_the_supervisor_does_not_run(idle: Supervisor) -> None:
    assert idle.programs_differ([Program("a", ("/bin/a",))]) == ["a"]
    idle.layout.programs.joinpath("b.conf").write_text("", encoding="ascii")
    assert idle.programs_differ([Program("a", ("/bin/a",))]) == ["a", "b"]


def test_launcher_comes_from_the_modules_archive_too(monkeypatch: pytest.MonkeyPatch) -> None:
    source = pathlib.Path(launch.__file__).read_text(encoding="utf-8")
    assert supervisor.launcher_source() == source
    # Ansible's loader of collections gives bytes.
    loader = SimpleNamespace(get_source=lambda _name: source.encode())
    monkeypatch.setattr(launch, "__spec__", SimpleNamespace(loader=loader))
    assert supervisor.launcher_source() == source
    monkeypatch.setattr(launch, "__spec__", None)
    with pytest.raises(MtlsError, match=r"launch\.py cannot be read: is the collection installed completely"):
        supervisor.launcher_source()


def test_program_name_has_nothing_that_supervisor_would_read() -> None:
    assert supervisor_files.program_name("test/http bin:1%d") == "test-http-bin-1-d"


def test_removed_runtime_has_no_processes(idle: Supervisor) -> None:
    shutil.rmtree(idle.layout.root)

    assert not idle.has_processes()
    idle.stop()


def is_all_said(runtime: runtimes.Runtime, name: str) -> bool:
    """The last words may have been the ones that made the log too long, and be in its predecessor."""
    for log in runtime.layout.logs.glob(f"{name}.log*"):
        with contextlib.suppress(FileNotFoundError):  # renamed just now
            if b"END" in log.read_bytes():
                return True
    return False


@pytest.mark.parametrize("output_log", ["", "chatter-access"])
def test_logs_of_a_program_that_never_stops_talking_stay_small(
    runtime: runtimes.Runtime, monkeypatch: pytest.MonkeyPatch, output_log: str
) -> None:
    monkeypatch.setattr(supervisor_files, "LOG_BYTES", "64KB")
    words = "x" * 200
    talk = f"for i in $(seq 20000); do echo $i {words}; echo error $i {words} >&2; done; echo END; echo END >&2"
    command = ("/bin/sh", "-c", f"{talk}; while sleep 1; do :; done", f"{runtime.layout.root}/")
    names = {"chatter", output_log or "chatter"}

    runtime.platform.supervisor.apply([Program("chatter", command, output_log=output_log)])
    for name in names:
        wait_for(functools.partial(is_all_said, runtime, name), what=f"everything is said in {name}.log")

    logs = sorted(runtime.layout.logs.glob("chatter*"))
    assert len(logs) == (1 + supervisor_files.LOG_BACKUPS) * len(names)
    # supervisor looks at the size after each of its reads, of 128 KiB at most.
    assert max(log.stat().st_size for log in logs) < (64 + 128) * 1024
    assert {log.stat().st_mode & 0o777 for log in logs} == {0o600}
