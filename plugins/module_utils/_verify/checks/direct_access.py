# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a workload answers beside the gateway (MV-43): who gets there can write any identity header."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import stat
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.http1 import USER_AGENT

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import WorkloadUnderTest

_UNIX = "unix:"
_ADDRESS = re.compile(r"(?P<scheme>https?://)?(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:/\[\]]+)):(?P<port>\d{1,5})/?")
_LONGEST_SECONDS = 3.0
EVERYBODY = "every user and program that reaches it can write any identity header"
NOTHING_TO_TRY = "no address beside the gateway is known; name some in direct_addresses, for example a NodePort"


def try_all(workloads: t.Iterable[WorkloadUnderTest], *, timeout: float) -> list[Case]:
    """Ask each workload once, however many hosts it has."""
    by_name = {workload.name: workload for workload in workloads}
    return [case for workload in by_name.values() for case in try_direct_access(workload, timeout=timeout)]


def try_direct_access(workload: WorkloadUnderTest, *, timeout: float) -> list[Case]:
    """Ask the workload itself, at its upstream and at the addresses where it must not answer."""
    timeout = min(timeout, _LONGEST_SECONDS)
    cases = []
    if workload.upstream:
        name = f"{workload.name}, {workload.upstream}"
        outcome, text = _try_upstream(workload, timeout)
        cases.append(Case("MV-43", name, outcome, text))
    for address in workload.direct_addresses:
        answer = _ask(address, workload, timeout, is_tls=address.startswith("https://"))
        outcome, text = Outcome.PASSED, f"nothing is served there: {answer}"
        if isinstance(answer, int):
            is_refused = answer in {401, 403}
            outcome = Outcome.PASSED if is_refused else Outcome.FAILED
            text = f"refused with HTTP {answer}" if is_refused else f"HTTP {answer} beside the gateway: {EVERYBODY}"
        elif answer == _NO_ADDRESS:
            outcome = Outcome.FAILED
            text = f"{address} is no address such as 10.0.0.5:8080 or https://10.0.0.5:8443"
        cases.append(Case("MV-43", f"{workload.name}, {address}", outcome, text))
    return cases or [Case("MV-43", workload.name, Outcome.SKIPPED, NOTHING_TO_TRY)]


_NO_ADDRESS = "no address"


def _try_upstream(workload: WorkloadUnderTest, timeout: float) -> tuple[Outcome, str]:
    if workload.upstream.startswith(_UNIX):
        return _try_socket(Path(workload.upstream.removeprefix(_UNIX)))
    answer = _ask(workload.upstream, workload, timeout, is_tls=workload.upstream_is_tls)
    if isinstance(answer, int) and answer in {401, 403}:
        return Outcome.PASSED, f"refused with HTTP {answer}"
    if isinstance(answer, int):
        return Outcome.WARNING, (
            f"HTTP {answer} without the gateway: {EVERYBODY}. Have the application listen on a Unix socket in a "
            "directory of its own user"
        )
    if answer == _NO_ADDRESS:
        return Outcome.SKIPPED, f"{workload.upstream} is no address that can be tried"
    return Outcome.PASSED, f"nothing is served there: {answer}"


def _try_socket(path: Path) -> tuple[Outcome, str]:
    """Look whether others than its owner get to the socket: connecting takes write permission on it."""
    try:
        status = path.stat()
        if not stat.S_ISSOCK(status.st_mode):
            return Outcome.SKIPPED, f"{path} is no socket"
        open_to_others = status.st_mode & stat.S_IWOTH and all(
            parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents
        )
    except OSError as exc:
        return Outcome.SKIPPED, f"{path} cannot be read: {exc.strerror}"
    if open_to_others:
        return Outcome.WARNING, f"every user of this machine gets to the socket: {EVERYBODY}. Make it 0660 or stricter"
    return Outcome.PASSED, "only its owner and group get to the socket"


def _ask(address: str, workload: WorkloadUnderTest, timeout: float, *, is_tls: bool) -> int | str:
    """Return the status that ``address`` answers with, else why there is none."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        return _NO_ADDRESS
    path = workload.paths[0].sample
    try:
        with socket.create_connection((found["six"] or found["host"], int(found["port"])), timeout=timeout) as plain:
            plain.settimeout(timeout)
            if is_tls:
                context = ssl.create_default_context()
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                with context.wrap_socket(plain, server_hostname=workload.host) as connection:
                    return _request(connection, workload.host, path)
            return _request(plain, workload.host, path)
    except http.client.HTTPException as exc:
        return f"no HTTP ({type(exc).__name__})"
    except OSError as exc:
        return exc.strerror or str(exc) or type(exc).__name__


def _request(connection: socket.socket, host: str, path: str) -> int:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"User-Agent: {USER_AGENT}", "Connection: close", "", ""]
    connection.sendall("\r\n".join(lines).encode("latin-1", "replace"))
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status
