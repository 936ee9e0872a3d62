# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""make status: what of the site in MTLS_HOME runs, where it listens, what expires when, what was verified last.

Reads only, and changes nothing. Exits with 1 when something that was set up does not run or has expired.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".build/collections"))

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError  # noqa: E402  (after the path is set)
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import Layout  # noqa: E402
from ansible_collections.kyma.mtls.plugins.module_utils._local.store import Store  # noqa: E402
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor import Supervisor  # noqa: E402
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import load_certificates, load_crls  # noqa: E402

SOON_DAYS = 30


def home() -> Path:
    given = os.environ.get("MTLS_HOME")
    return Path(given).expanduser().absolute() if given else ROOT / ".kyma-mtls"


def heading(text: str) -> None:
    print(f"\n{text}")


def rows(lines: t.Iterable[tuple[str, ...]]) -> None:
    table = list(lines)
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]) - 1)] if table else []
    for row in table:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
        print(f"  {'  '.join([*cells, row[-1]])}".rstrip())


def show_processes(layout: Layout) -> bool:
    """Show what supervisor says; whether all is well."""
    heading("Processes")
    if not layout.supervisor_configuration.exists():
        print("  none were set up")
        return True
    supervisor = Supervisor(layout=layout, python=layout.environment / "bin/python")
    if not supervisor.is_running():
        print("  supervisor does not run: make site brings everything back")
        return False
    processes = supervisor.processes()
    rows((process.name, process.state.lower(), process.description) for process in processes)
    return all(process.state == "RUNNING" for process in processes)


def show_ports(layout: Layout) -> None:
    heading("Ports")
    ports = Store(layout.objects).load().ports if layout.objects.is_dir() else {}
    rows((f"127.0.0.1:{local}", f"for port {port} of the Gateway") for port, local in sorted(ports.items()))
    if not ports:
        print("  none")


def show_certificates(pki: Path) -> bool:
    """Show every certificate and CRL with the days it has left; whether none has expired."""
    heading("Certificates")
    now = datetime.datetime.now(tz=datetime.UTC)
    files = [path for path in sorted(pki.rglob("*")) if path.suffix in {".crt", ".crl"}]
    lines: list[tuple[str, ...]] = []
    good = True
    for path in files:
        try:
            moments = [(name, end) for name, end in ends(path) if end is not None]
        except (MtlsError, OSError) as exc:
            lines.append((str(path.relative_to(pki)), "unreadable", str(exc)))
            good = False
            continue
        for name, end in moments:
            days = (end - now).days
            left = "EXPIRED" if end <= now else f"{days} days left" + (", renew soon" if days < SOON_DAYS else "")
            good = good and end > now
            lines.append((str(path.relative_to(pki)), f"until {end:%Y-%m-%d %H:%M} UTC", left, name))
    rows(lines)
    if not files:
        print("  none")
    return good


def ends(path: Path) -> list[tuple[str, datetime.datetime | None]]:
    """The names in a file of certificates or CRLs, with the moment at which each ends."""
    data = path.read_bytes()
    if path.suffix == ".crl":
        crls = load_crls(data, source=str(path)).crls
        return [(f"CRL of {crl.issuer.rfc4514_string()}", crl.next_update_utc) for crl in crls]
    certificates = load_certificates(data, source=str(path)).certificates
    return [(certificate.subject.rfc4514_string(), certificate.not_valid_after_utc) for certificate in certificates]


def show_verification(report: Path) -> bool:
    """Show the last verification; whether it passed (none is no failure)."""
    heading("Last verification")
    try:
        when = datetime.datetime.fromtimestamp(report.stat().st_mtime, tz=datetime.UTC)
        document = json.loads(report.read_text(encoding="utf-8"))
    except FileNotFoundError:
        print("  none: make verify")
        return True
    except (OSError, ValueError) as exc:
        print(f"  {report} cannot be read: {exc}")
        return False
    verdict = document.get("verdict", "unknown")
    words = ", ".join(f"{count} {name}" for name, count in document.get("counts", {}).items() if count)
    print(f"  {when:%Y-%m-%d %H:%M} UTC: {verdict.upper()} ({words}), {report.with_suffix('.html')}")
    return bool(verdict == "passed")


def main() -> int:
    place = home()
    if not place.is_dir():
        print(f"There is no site in {place}: make site sets one up.")
        return 1
    print(f"The site in {place}")
    layout = Layout.at(str(place / "runtime"))
    running = show_processes(layout)
    show_ports(layout)
    valid = show_certificates(place / "pki")
    verified = show_verification(place / "report/verify.json")
    return 0 if running and valid and verified else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MtlsError as exc:
        sys.exit(f"make: {exc}")
