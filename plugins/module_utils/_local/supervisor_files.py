# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration files of supervisor: its own, and one for each program.

Source: supervisor 4.3, configuration file.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import typing as t

if t.TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout

# The package set that supervisor itself comes in.
PACKAGES = "supervisor"
LOG_BYTES = "5MB"
LOG_BACKUPS = 2


@dataclasses.dataclass(frozen=True)
class Program:
    """One supervised process: a name, and a command whose first element is an absolute path."""

    name: str
    command: tuple[str, ...]
    packages: str = ""
    """Digest of the packages that it runs from: another one means a restart."""
    output_log: str = ""
    """Name of the log of its standard output, when that is kept apart from what it says of itself."""
    waiting_options: tuple[str, ...] = ()
    """Options of the command whose values may wait for its next start: they alone are no reason to restart it."""

    def without_waiting_options(self, text: str) -> str:
        """Return a configuration's ``text`` without the options that may wait."""
        for option in self.waiting_options:
            text = re.sub(rf" {re.escape(option)} \S+", "", text)
        return text


def escaped(text: str) -> str:
    """Return ``text`` for supervisor's configuration, where a percent sign starts an expansion."""
    return text.replace("%", "%%")


def supervisor_configuration(layout: RuntimeLayout, *, packages: str) -> str:
    """Return the text of supervisord.conf; another digest of supervisor's own ``packages`` means a restart."""
    return "\n".join(
        (
            f"; packages {packages}",
            "[unix_http_server]",
            f"file = {escaped(str(layout.supervisor_socket))}",
            "chmod = 0700",
            "[supervisord]",
            f"logfile = {escaped(str(layout.logs / 'supervisord.log'))}",
            f"logfile_maxbytes = {LOG_BYTES}",
            f"logfile_backups = {LOG_BACKUPS}",
            f"pidfile = {escaped(str(layout.supervisor / 'supervisord.pid'))}",
            f"directory = {escaped(str(layout.root))}",
            "umask = 077",
            "identifier = kyma-mtls",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]",
            f"serverurl = unix://{escaped(str(layout.supervisor_socket))}",
            "[include]",
            # Relative to this file: the option is split at blanks, which a path may contain.
            "files = programs/*.conf",
            "",
        )
    )


def program_configuration(program: Program, *, layout: RuntimeLayout, python: Path) -> str:
    """Return the text of one program's file: the program behind its lock, restarted whenever it ends."""
    lock = layout.locks / f"{program.name}.lock"
    command = [str(python), "-I", str(layout.launcher), str(lock), mark(layout), "--", *program.command]
    return "\n".join(
        (
            f"[program:{program.name}]",
            f"command = {escaped(shlex.join(command))}",
            f'environment = KYMA_MTLS_PACKAGES="{program.packages}"',
            "autostart = true",
            "autorestart = true",
            "startsecs = 1",
            "startretries = 1000",
            "stopsignal = TERM",
            "stopwaitsecs = 5",
            "killasgroup = true",
            *program_logs(program, layout=layout),
            "",
        )
    )


def program_logs(program: Program, *, layout: RuntimeLayout) -> list[str]:
    """Return the lines of a program's file that say where its output goes; supervisor bounds every log."""
    logs = {"stdout": program.output_log or program.name}
    if program.output_log:
        logs["stderr"] = program.name
    lines = [f"redirect_stderr = {'false' if program.output_log else 'true'}"]
    for stream, name in logs.items():
        # supervisor expands this option twice.
        lines.append(f"{stream}_logfile = {escaped(escaped(str(layout.logs / f'{name}.log')))}")
        lines.append(f"{stream}_logfile_maxbytes = {LOG_BYTES}")
        lines.append(f"{stream}_logfile_backups = {LOG_BACKUPS}")
    return lines


def mark(layout: RuntimeLayout) -> str:
    """Return what every process of this runtime has in its command line, and no other process."""
    return f"{layout.root}/"


def program_name(text: str) -> str:
    """Return ``text`` as a program's name: only characters that supervisor and file systems leave alone."""
    return re.sub(r"[^A-Za-z0-9-]", "-", text)
