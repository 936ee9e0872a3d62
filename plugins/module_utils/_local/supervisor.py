# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The supervisor of the local platform: start, stop, its programs, and their state.

Source of the interface: supervisor 4.3, XML-RPC API.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import os
import re
import shutil
import subprocess
import time
import typing as t
import xmlrpc.client
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import write_atomic
from ansible_collections.kyma.mtls.plugins.module_utils._local import launch
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor_files import (
    PACKAGES,
    Program,
    mark,
    program_configuration,
    supervisor_configuration,
)
from ansible_collections.kyma.mtls.plugins.module_utils._local.unix_http import UnixTransport

RPC_SECONDS = 10.0
SPAWN_SECONDS = 60.0
START_SECONDS = 15.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.03


@dataclasses.dataclass(frozen=True)
class Process:
    """What supervisor says of one program; ``pid`` is 0 when it does not run."""

    name: str
    state: str
    pid: int
    description: str
    started: int = 0
    """When it was started last, in seconds since 1970 UTC; 0 when it never was."""


class Supervisor:
    """The running (or not running) supervisor of one runtime."""

    def __init__(self, *, layout: RuntimeLayout, python: Path) -> None:
        self.layout = layout
        self.python = python
        transport = UnixTransport(layout.supervisor_socket, timeout=RPC_SECONDS)
        self._server = xmlrpc.client.ServerProxy("http://localhost", transport=transport)

    def _call(self, method: str, *arguments: t.Any) -> t.Any:
        try:
            return getattr(self._server, method)(*arguments)
        except xmlrpc.client.Fault as exc:
            raise MtlsError(f"supervisor refused {method}{arguments}: {exc.faultString}. {self._log_hint()}") from exc
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as exc:
            raise MtlsError(f"supervisor does not answer ({method}): {exc}. {self._log_hint()}") from exc

    def _log_hint(self) -> str:
        return f"See {self.layout.logs / 'supervisord.log'}."

    def is_running(self) -> bool:
        """Whether the supervisor of this runtime answers."""
        try:
            state = self._server.supervisor.getState()
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return False
        return isinstance(state, dict) and state.get("statename") == "RUNNING"

    def is_settled(self) -> bool:
        """Whether the files on disk are what they should be and the supervisor runs."""
        return (
            self._file_is(self.layout.supervisor_configuration, self._configuration())
            and self._file_is(self.layout.launcher, launcher_source())
            and self.is_running()
        )

    def _configuration(self) -> str:
        packages = text_of(self.layout.installed / f"{PACKAGES}.sha256") or ""
        return supervisor_configuration(self.layout, packages=packages.strip())

    @staticmethod
    def _file_is(path: Path, text: str) -> bool:
        return text_of(path) == text

    def start(self) -> None:
        """Write the configuration and have the supervisor run; a running one with another configuration restarts.

        Raises MtlsError when it does not come up.
        """
        self._write_launcher()
        self._end_previous()
        text = self._configuration()
        if not self._file_is(self.layout.supervisor_configuration, text):
            if self.is_running():
                self.stop()
            self._forget_programs_elsewhere()
            write_atomic(self.layout.supervisor_configuration, text.encode(), mode=0o600)
        if self.is_running():
            return
        # One that lives but cannot be reached (its socket is gone) would fight the new one over the programs.
        launch.end_process(self._pid(), mark=mark(self.layout), grace_seconds=STOP_SECONDS)
        self._spawn()
        wait_until(
            self.is_running,
            seconds=START_SECONDS,
            failure=lambda: f"supervisord does not answer on {self.layout.supervisor_socket}. {self._log_hint()}",
        )

    def _spawn(self) -> None:
        command = [str(self.python.with_name("supervisord")), "-c", str(self.layout.supervisor_configuration)]
        # A bare environment: what the user's shell or Ansible holds in variables is none of these processes' business.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "PYTHONNOUSERSITE": "1"}
        try:
            done = subprocess.run(  # noqa: S603  (our own program, no shell)
                command,
                capture_output=True,
                text=True,
                check=False,
                env=environment,
                stdin=subprocess.DEVNULL,
                timeout=SPAWN_SECONDS,
                # supervisor opens its own log before it takes the umask of its configuration.
                umask=0o077,
            )
        except FileNotFoundError as exc:
            raise MtlsError(
                f"The local runtime has no supervisor ({command[0]}). Give its package, as the role cluster does."
            ) from exc
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise MtlsError(f"supervisord cannot be started: {exc}. {self._log_hint()}") from exc
        if done.returncode:
            raise MtlsError(
                f"supervisord did not start (exit code {done.returncode}): {(done.stderr or done.stdout).strip()}"
            )

    def _write_launcher(self) -> None:
        source = launcher_source()
        if not self._file_is(self.layout.launcher, source):
            write_atomic(self.layout.launcher, source.encode(), mode=0o600)

    def processes(self) -> list[Process]:
        """Return what supervisor says of its programs."""
        return [
            Process(info["name"], info["statename"], info["pid"], info["description"], started=info["start"])
            for info in self._call("supervisor.getAllProcessInfo")
        ]

    def programs_differ(self, programs: t.Sequence[Program]) -> list[str]:
        """Return the names of the programs whose file, or whose process, is not as desired (added, changed, dead)."""
        desired = {program.name: program for program in programs}
        differing = [
            name
            for name, program in desired.items()
            if not self._file_is(self.layout.programs / f"{name}.conf", self._program_text(program))
        ]
        present = {path.stem for path in self.layout.programs.glob("*.conf")}
        differing += sorted(present - set(desired))
        if self.is_running():
            alive = {process.name for process in self.processes() if process.state in {"RUNNING", "STARTING"}}
            differing += sorted(set(desired) - alive - set(differing))
        else:
            differing += sorted(set(desired) - set(differing))
        return differing

    def _program_text(self, program: Program) -> str:
        """Return the configuration of a program: the present one, when it differs only in what may wait."""
        text = program_configuration(program, layout=self.layout, python=self.python)
        present = text_of(self.layout.programs / f"{program.name}.conf")
        if present is None:
            return text
        waits = program.without_waiting_options(present) == program.without_waiting_options(text)
        return present if waits else text

    def apply(self, programs: t.Sequence[Program]) -> None:
        """Bring the supervised programs to exactly ``programs``; one that is unchanged and alive is left alone."""
        self.replace({program.name: self._program_text(program) for program in programs})

    def configured(self) -> dict[str, str]:
        """Return the programs as they are configured: name -> text of the file, for ``replace``."""
        paths = self.layout.programs.glob("*.conf")
        return {path.stem: path.read_text(encoding="utf-8", errors="replace") for path in paths}

    def replace(self, texts: t.Mapping[str, str]) -> None:
        """Bring the supervised programs to exactly these files: name -> text.

        Raises MtlsError when that fails, or when something that is no longer desired does not end.
        """
        for name, text in texts.items():
            path = self.layout.programs / f"{name}.conf"
            if not self._file_is(path, text):
                write_atomic(path, text.encode(), mode=0o600)
        desired = set(texts)
        for path in self.layout.programs.glob("*.conf"):
            if path.stem not in desired:
                path.unlink()
        self.start()
        added, changed, removed = self._call("supervisor.reloadConfig")[0]
        for name in (*removed, *changed):
            self._call("supervisor.stopProcessGroup", name)
            self._call("supervisor.removeProcessGroup", name)
        for name in (*changed, *added):
            self._call("supervisor.addProcessGroup", name)
        self._start_dead(desired)
        self._end_orphans(keep=desired)

    def _start_dead(self, desired: set[str]) -> None:
        for process in self.processes():
            if process.name in desired and process.state in {"STOPPED", "EXITED", "FATAL", "UNKNOWN", "BACKOFF"}:
                # Autostart of a group that was just added may be faster than these calls.
                with contextlib.suppress(MtlsError):
                    if process.state == "BACKOFF":
                        # Its next try may be minutes away.
                        self._call("supervisor.stopProcess", process.name, True)
                    self._call("supervisor.startProcess", process.name, False)

    def restart(self, name: str) -> None:
        """Stop and start one program."""
        self._call("supervisor.stopProcess", name, True)
        self._call("supervisor.startProcess", name, False)

    def stop(self) -> None:
        """End the supervisor and everything that it supervises, also what outlived an earlier supervisor.

        Raises MtlsError when one of our processes does not end.
        """
        self._end_previous()
        pid = self._pid()
        if self.is_running():
            self._call("supervisor.shutdown")
            wait_until(
                lambda: not self._is_alive(pid),
                seconds=STOP_SECONDS,
                failure=lambda: f"supervisord (pid {pid}) does not end. {self._log_hint()}",
            )
        else:
            launch.end_process(pid, mark=mark(self.layout), grace_seconds=STOP_SECONDS)
        self._end_orphans(keep=())

    def _end_orphans(self, *, keep: t.Collection[str]) -> None:
        """End what outlived an earlier supervisor, and wait for its children, which hold its lock too."""
        for lock in sorted(self.layout.locks.glob("*.lock")):
            orphan = None if lock.stem in keep else launch.lock_holder(lock)
            if orphan is not None:
                self._end_orphan(lock, orphan)

    def _end_orphan(self, lock: Path, orphan: int) -> None:
        launch.end_process(orphan, mark=mark(self.layout))
        wait_until(
            lambda: launch.lock_holder(lock) is None,
            seconds=STOP_SECONDS,
            failure=lambda: f"{lock} is still held, by process {orphan} or a child of it. End it, and run this again.",
        )

    def has_processes(self) -> bool:
        """Whether the supervisor, or anything that outlived it, runs."""
        return (
            self.is_running()
            or self._is_alive(self._pid())
            or bool(self.previous())
            or any(launch.lock_holder(lock) is not None for lock in self.layout.locks.glob("*.lock"))
        )

    def previous(self) -> dict[int, str]:
        """Return the processes that still run from where this runtime was before: pid -> mark.

        Only when it is gone there: of two copies, each has its own processes.
        """
        root = self._configured_root()
        if root == self.layout.root or root.exists():
            return {}
        pids = [self._pid(), *(launch.pid_in(lock) for lock in sorted(self.layout.locks.glob("*.lock")))]
        return {pid: f"{root}/" for pid in pids if pid and launch.is_ours(pid, mark=f"{root}/")}

    def _configured_root(self) -> Path:
        """Return the place for which the configuration on disk was written; our own when there is none."""
        return self._configured("directory") or self.layout.root

    def _configured(self, option: str) -> Path | None:
        configuration = text_of(self.layout.supervisor_configuration) or ""
        found = re.search(rf"(?m)^{option} = (.+)$", configuration)
        return Path(found[1].replace("%%", "%")) if found else None

    def _end_previous(self) -> None:
        # The supervisor is the first of them; it would start the others again.
        for pid, place in self.previous().items():
            launch.end_process(pid, mark=place, grace_seconds=STOP_SECONDS)

    def _forget_programs_elsewhere(self) -> None:
        """Remove the programs of another place; whoever applies objects here configures them anew."""
        root, socket = self._configured_root(), self._configured("file")
        if root == self.layout.root:
            return
        for path in self.layout.programs.glob("*.conf"):
            path.unlink()
        # On a long path the sockets are elsewhere, and stay behind when the runtime is moved.
        if (
            socket is not None
            and not root.exists()
            and socket.parent == RuntimeLayout(root).sockets != root / "sockets"
        ):
            shutil.rmtree(socket.parent, ignore_errors=True)

    def _pid(self) -> int:
        try:
            return int((self.layout.supervisor / "supervisord.pid").read_text())
        except (OSError, ValueError):
            return 0

    def _is_alive(self, pid: int) -> bool:
        return self.is_running() or (pid > 0 and launch.is_ours(pid, mark=mark(self.layout)))


def text_of(path: Path) -> str | None:
    """Return what a file says; None when it is not there, or holds no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def launcher_source() -> str:
    """Return the source of launch.py, also when this code runs out of Ansible's zip archive or by its own loader."""
    loader = launch.__spec__.loader if launch.__spec__ else None
    source = loader.get_source(launch.__name__) if loader is not None and hasattr(loader, "get_source") else None
    if not source:
        raise MtlsError("The collection's file launch.py cannot be read: is the collection installed completely?")
    # Ansible's loader of collections gives bytes.
    return source.decode() if isinstance(source, bytes) else str(source)


def wait_until(condition: t.Callable[[], bool], *, seconds: float, failure: t.Callable[[], str]) -> None:
    """Wait until ``condition`` holds.

    Raises MtlsError with ``failure()`` after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise MtlsError(failure())
        time.sleep(POLL_SECONDS)
