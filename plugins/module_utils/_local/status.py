# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a site on the local platform, read and never changed: what runs, listens, expires and was proven."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import socket
import textwrap
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.plugins.module_utils._local.store import ObjectStore
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor import Supervisor
from ansible_collections.kyma.mtls.plugins.module_utils._monitor import runs
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import load_certificates, load_crls

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._monitor.runs import Monitor

SOON_DAYS = 30
ADDRESS = "127.0.0.1"
# Keys and certificates of clients that were revoked are kept for the proof that they are refused.
KEPT = "revoked"
CONNECT_SECONDS = 2.0
# supervisor's log says so of a program that ended unexpectedly.
ENDED = re.compile(r"^(?P<when>\S+ \S+),\d+ \S+ exited: (?P<name>\S+) \((?P<how>[^;)]*); not expected\)$")


@dataclasses.dataclass(frozen=True)
class ProgramStatus:
    """A supervised process. ``ends`` counts its unexpected exits in the log; it was restarted after each."""

    name: str
    state: str
    pid: int
    since: datetime.datetime | None
    ends: int
    last_end: str


@dataclasses.dataclass(frozen=True)
class Port:
    """A port that the gateway should listen on."""

    port: int
    gateway_port: int
    is_open: bool


@dataclasses.dataclass(frozen=True)
class Expiry:
    """When a certificate or revocation list ends; ``error`` says why a file could not be read."""

    path: str
    name: str
    not_after: datetime.datetime | None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Verification:
    """The last report."""

    when: datetime.datetime
    verdict: str
    counts: t.Mapping[str, int]
    report: str


@dataclasses.dataclass(frozen=True)
class ObjectStatus:
    """Something of a cluster on which the site is, as another package has found it."""

    name: str
    state: str
    is_well: bool


@dataclasses.dataclass(frozen=True)
class Status:
    """Everything about one site at the moment ``now``; ``problems`` is empty when all is well."""

    home: Path
    now: datetime.datetime
    programs: tuple[ProgramStatus, ...]
    ports: tuple[Port, ...]
    expiries: tuple[Expiry, ...]
    verification: Verification | None
    problems: tuple[str, ...]
    objects: tuple[ObjectStatus, ...] | None = None
    """What was found on the cluster; None on the platform ``local``."""
    monitor: Monitor | None = None
    """What the role monitor has installed in the site's directory."""

    @property
    def verdict(self) -> str:
        """One line: whether all is well."""
        return f"NOT WELL: {'; '.join(self.problems)}." if self.problems else "All is well."


def look(home: str, *, pki: t.Sequence[str] = (), objects: t.Sequence[ObjectStatus] | None = None) -> Status:
    """Return the status of the site in ``home``, which is on the cluster whose ``objects`` are given, if any are.

    ``pki`` has the directories of the PKIs; without it they are below ``home``.
    Raises MtlsError when the supervisor of the local runtime is there and does not answer as it should.
    """
    place = Path(home).expanduser().absolute()
    now = datetime.datetime.now(tz=datetime.UTC)
    layout = RuntimeLayout.at(str(place / "runtime"))
    if not place.is_dir():
        return Status(place, now, (), (), (), None, (f"there is no site in {place}",))
    problems: list[str] = []
    if objects is None:
        programs, ports = _programs(layout, problems), _ports(layout)
    else:
        programs, ports = (), ()
        problems += [f"{found.name}: {found.state.rstrip('.')}" for found in objects if not found.is_well]
    problems += [f"nothing listens on {ADDRESS}:{port.port}" for port in ports if not port.is_open]
    directories = [Path(path).expanduser().absolute() for path in pki] or [place / "pki"]
    expiries = tuple(_expiries(directories, place / "pki"))
    problems += [f"{expiry.path} cannot be read ({expiry.error})" for expiry in expiries if expiry.error]
    problems += [f"{expiry.path} has expired" for expiry in expiries if expiry.not_after and expiry.not_after <= now]
    verification = _verification(place / "report/verify.json", problems)
    monitor = runs.look(place / "monitor", now=now)
    if monitor and monitor.problem:
        problems.append(monitor.problem.rstrip("."))
    problems_once = tuple(dict.fromkeys(problems))
    on_cluster = None if objects is None else tuple(objects)
    return Status(place, now, programs, ports, expiries, verification, problems_once, on_cluster, monitor)


def _programs(layout: RuntimeLayout, problems: list[str]) -> tuple[ProgramStatus, ...]:
    if not layout.supervisor_configuration.exists():
        return ()
    supervisor = Supervisor(layout=layout, python=layout.environment / "bin/python")
    if not supervisor.is_running():
        problems.append("the local runtime does not run")
        return ()
    ends = _ends(layout.logs)
    found = []
    for process in supervisor.processes():
        since = datetime.datetime.fromtimestamp(process.started, tz=datetime.UTC) if process.started else None
        own = ends.get(process.name, [])
        last = own[-1] if own else ""
        found.append(ProgramStatus(process.name, process.state.lower(), process.pid, since, len(own), last))
        if process.state != "RUNNING":
            problems.append(f"{process.name} is {process.state.lower()} ({process.description})")
    return tuple(found)


def _ends(logs: Path) -> dict[str, list[str]]:
    """Return for each program, oldest first, when and how it ended unexpectedly."""
    found: dict[str, list[str]] = {}
    # supervisor numbers its rotated logs, the oldest last.
    for path in sorted(logs.glob("supervisord.log*"), reverse=True):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if ended := ENDED.match(line):
                found.setdefault(ended["name"], []).append(f"{ended['when']}, {ended['how']}")
    return found


def _ports(layout: RuntimeLayout) -> tuple[Port, ...]:
    ports = ObjectStore(layout.objects).load().ports if layout.objects.is_dir() else {}
    return tuple(Port(local, port, _is_open(local)) for port, local in sorted(ports.items()))


def _is_open(port: int) -> bool:
    try:
        with socket.create_connection((ADDRESS, port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False


def _expiries(directories: t.Sequence[Path], usual: Path) -> t.Iterator[Expiry]:
    """Yield what ends in ``directories``; a path is shown relative to the ``usual`` place if it is there."""
    found = {path: path.relative_to(directory) for directory in directories for path in directory.rglob("*")}
    for path, relative in sorted(found.items()):
        if path.suffix not in {".crt", ".crl"} or KEPT in relative.parts:
            continue
        shown = str(path.relative_to(usual) if path.is_relative_to(usual) else path)
        try:
            ends = [Expiry(shown, name, end) for name, end in _ends_of_file(path)]
        except (MtlsError, OSError) as exc:
            yield Expiry(shown, "", None, error=str(exc))
        else:
            yield from ends


def _ends_of_file(path: Path) -> list[tuple[str, datetime.datetime | None]]:
    data = path.read_bytes()
    if path.suffix == ".crl":
        crls = load_crls(data, source=str(path)).crls
        return [(f"CRL of {crl.issuer.rfc4514_string()}", crl.next_update_utc) for crl in crls]
    certificates = load_certificates(data, source=str(path)).certificates
    return [(certificate.subject.rfc4514_string(), certificate.not_valid_after_utc) for certificate in certificates]


def _verification(report: Path, problems: list[str]) -> Verification | None:
    """Return the last report; none is no problem: the site may never have been proven yet."""
    try:
        when = datetime.datetime.fromtimestamp(report.stat().st_mtime, tz=datetime.UTC)
        document = json.loads(report.read_text(encoding="utf-8"))
        verdict, counts = str(document["verdict"]), dict(document["counts"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        problems.append(f"{report} cannot be read ({exc})")
        return None
    if verdict != "passed":
        problems.append(f"the last verification ended with the verdict {verdict}")
    return Verification(when, verdict, counts, str(report.with_suffix(".html")))


def lines(status: Status) -> list[str]:
    """Return the status for a person: tables with a heading each, and one last line that says whether all is well."""
    shown = [f"The site in {status.home}"]
    tables: list[tuple[str, list[tuple[str, ...]], str]] = [
        ("Processes", [_program_row(program, now=status.now) for program in status.programs], "none run"),
        ("Ports", [_port_row(port) for port in status.ports], "none"),
    ]
    if status.objects is not None:
        tables = [("Cluster", [(found.name, found.state) for found in status.objects], "nothing was checked")]
    for heading, rows, without in (
        *tables,
        ("Certificates", [_expiry_row(expiry, now=status.now) for expiry in status.expiries], "none"),
        ("Last verification", _verification_rows(status.verification), "none"),
        *([("Monitor", _monitor_rows(status.monitor), "")] if status.monitor else []),
    ):
        shown += ["", heading, *(_table(rows) or [f"  {without}"])]
    return [*shown, "", status.verdict]


def _table(rows: t.Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return [
        "  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _program_row(program: ProgramStatus, *, now: datetime.datetime) -> tuple[str, ...]:
    since = f"since {_moment(program.since)} ({_span(now - program.since)})" if program.since and program.pid else ""
    ends = (
        f"{_times(program.ends, 'unexpected exit')}, last {program.last_end}" if program.ends else "no unexpected exit"
    )
    return program.name, program.state, f"pid {program.pid}" if program.pid else "", since, ends


def _port_row(port: Port) -> tuple[str, ...]:
    return (
        f"{ADDRESS}:{port.port}",
        "open" if port.is_open else "CLOSED",
        f"for port {port.gateway_port} of the Gateway",
    )


def _expiry_row(expiry: Expiry, *, now: datetime.datetime) -> tuple[str, ...]:
    if expiry.not_after is None:
        return expiry.path, "unreadable" if expiry.error else "no end", expiry.error, expiry.name
    days = (expiry.not_after - now).days
    left = "EXPIRED" if expiry.not_after <= now else f"{days} days left" + (", renew soon" if days < SOON_DAYS else "")
    return expiry.path, f"until {_moment(expiry.not_after)}", left, expiry.name


def _verification_rows(verification: Verification | None) -> list[tuple[str, ...]]:
    if verification is None:
        return []
    counts = ", ".join(f"{count} {name}" for name, count in verification.counts.items() if count)
    return [(_moment(verification.when), f"{verification.verdict.upper()} ({counts})", verification.report)]


def _monitor_rows(monitor: Monitor) -> list[tuple[str, ...]]:
    rows = [(_moment(run.when), run.verdict, textwrap.shorten(run.headline, 90)) for run in monitor.last]
    following = _moment(monitor.next_run) if monitor.next_run else "unknown: another scheduler starts it"
    return [*rows, (following, "next run", f"every {monitor.every}" if monitor.next_run else "")]


def _moment(when: datetime.datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _span(span: datetime.timedelta) -> str:
    minutes = int(span.total_seconds()) // 60
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _times(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
