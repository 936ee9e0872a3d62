# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers made to fool the proof: each fails for the check that looks for its fault, and its sound twin passes it.

Nothing here may pass by being skipped: a check has to end as failed on the one and as passed on the other, and a server
that is not installed is a failure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._tls.conftest import outcomes, told

if t.TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ansible_collections.kyma.mtls.tests.servers.pki import Pki
    from ansible_collections.kyma.mtls.tests.servers.workload import Workload
    from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._tls.conftest import Verify


@dataclasses.dataclass(frozen=True)
class Site:
    """What a server of this table gets."""

    pki: Pki
    workload: Workload
    directory: Path


Serve: t.TypeAlias = t.Callable[[Site], t.ContextManager[str]]
Given: t.TypeAlias = t.Callable[["Pki"], dict[str, t.Any]]


def server(kind: str, setting: t.Callable[[Pki], real.Setting]) -> Serve:
    """Return a real server of ``kind``; what it serves is at the address that it yields."""

    @contextlib.contextmanager
    def serve(site: Site) -> Iterator[str]:
        started = real.start(kind, site.pki, site.directory, site.workload.port, setting(site.pki))
        try:
            yield started.address
        finally:
            started.stop()

    return serve


def nothing(_pki: Pki) -> dict[str, t.Any]:
    return {}


@dataclasses.dataclass(frozen=True)
class Row:
    """A fault, the check that must fail on ``faulty`` in a case with ``case`` in its name, and pass on ``sound``."""

    fault: str
    check: str
    faulty: Serve
    sound: Serve
    given: Given = nothing
    case: str = ""
    sound_given: Given | None = None


def _answers(status: int) -> list[Row]:
    """Nobody is verified, and everybody gets the expected status: nginx with and without verification."""
    return [
        Row(
            f"everybody gets the expected HTTP {status}",
            check,
            faulty=server("nginx", lambda _pki: real.Setting(client_auth="no_ca", status=status)),
            sound=server("nginx", lambda _pki: real.Setting(status=status)),
            given=lambda _pki: {"expect_status": [status]},
        )
        for check in ("MV-20", "MV-24", "MV-25", "MV-26")
    ]


TABLE: list[Row] = [
    *_answers(401),
    *_answers(403),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.check} {row.fault}")
def test_the_fault_is_found_and_a_sound_server_passes(
    row: Row, pki: Pki, workload: Workload, verify_address: Verify, tmp_path: Path
) -> None:
    with row.faulty(Site(pki, workload, tmp_path / "faulty")) as address:
        report = verify_address(address, **row.given(pki))
    assert report.verdict == "failed", told(report, "failed", "outage", "warning")
    assert outcomes(report)[row.check] == "failed", told(report, "failed", "outage", "warning", "skipped")
    cases = next(check["cases"] for check in report.checks if check["id"] == row.check)
    assert any(row.case in case["name"] for case in cases if case["outcome"] == "failed"), cases
    with row.sound(Site(pki, workload, tmp_path / "sound")) as address:
        report = verify_address(address, **(row.sound_given or row.given)(pki))
    assert report.verdict == "passed", told(report, "failed", "outage")
    assert outcomes(report)[row.check] == "passed", told(report, "failed", "outage", "warning", "skipped")
