# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status of a site: what is told of it, and whether all is well."""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import shutil
import signal
import typing as t

import pytest
from cryptography.x509.oid import NameOID

from ansible_collections.kyma.mtls.plugins.module_utils._local import status
from ansible_collections.kyma.mtls.plugins.module_utils._local.supervisor_files import Program
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import samples
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local.runtimes import wait_for


@pytest.fixture
def home(tmp_path: pathlib.Path) -> pathlib.Path:
    """A site without processes: a CA, a client, and a verification that passed."""
    ca = samples.Authority("ML Client Root CA", "ML Client Org")
    certificate, _key = ca.issue((NameOID.COMMON_NAME, "ML Client Curl"))
    (tmp_path / "pki/client/clients/curl").mkdir(parents=True)
    (tmp_path / "pki/client/ca.crt").write_bytes(ca.pem)
    (tmp_path / "pki/client/ca.crl").write_bytes(ca.revocation_list(certificate))
    (tmp_path / "pki/client/clients/curl/client.crt").write_bytes(certificate)
    (tmp_path / "report").mkdir()
    report(tmp_path, verdict="passed", counts={"passed": 30, "failed": 0})
    return tmp_path


@pytest.fixture
def runtime() -> t.Iterator[runtimes.Runtime]:
    """A local runtime at its place in a site."""
    with runtimes.runtime(name="runtime") as made:
        yield made


def report(home: pathlib.Path, **document: t.Any) -> None:
    (home / "report/verify.json").write_text(json.dumps(document), encoding="utf-8")


def told(home: pathlib.Path) -> str:
    return "\n".join(status.lines(status.look(str(home))))


def later(monkeypatch: pytest.MonkeyPatch, *, days: int) -> None:
    """Let it be ``days`` later."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.fromtimestamp(datetime.datetime.now(tz).timestamp() + days * 86400, tz)

    fake = type("module", (), {"datetime": Clock, "UTC": datetime.UTC, "timedelta": datetime.timedelta})
    monkeypatch.setattr(status, "datetime", fake)


def test_a_sound_site_is_well_in_one_line(home: pathlib.Path) -> None:
    found = status.look(str(home))
    assert found.problems == ()
    assert status.lines(found)[-1] == "All is well."
    assert {one.path for one in found.expiries} == {"client/ca.crt", "client/ca.crl", "client/clients/curl/client.crt"}
    assert "PASSED (30 passed)" in told(home)


def test_where_there_is_no_site_that_is_what_is_wrong(tmp_path: pathlib.Path) -> None:
    found = status.look(str(tmp_path / "nowhere"))
    assert found.verdict == f"NOT WELL: there is no site in {tmp_path}/nowhere."


def test_a_site_that_was_never_verified_can_be_well(home: pathlib.Path) -> None:
    (home / "report/verify.json").unlink()
    assert status.look(str(home)).problems == ()
    assert "Last verification\n  none" in told(home)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"verdict": "failed", "counts": {"failed": 1}}', "the last verification ended with the verdict failed"),
        ("{", "verify.json cannot be read"),
        ("[]", "verify.json cannot be read"),
    ],
)
def test_a_verification_that_did_not_pass_is_not_well(home: pathlib.Path, text: str, problem: str) -> None:
    (home / "report/verify.json").write_text(text, encoding="utf-8")
    assert problem in status.look(str(home)).verdict


def test_certificates_are_looked_at_where_the_pki_roles_have_put_them(
    home: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    usual = [one.path for one in status.look(str(home)).expiries]
    assert usual
    shutil.copytree(home / "pki", tmp_path / "elsewhere")
    parts = [str(path) for path in (tmp_path / "elsewhere").iterdir()]
    found = [one.path for one in status.look(str(home), pki=parts).expiries]
    assert found == [str(tmp_path / "elsewhere" / path) for path in usual]
    same = [str(path) for path in (home / "pki").iterdir()]
    assert [one.path for one in status.look(str(home), pki=same).expiries] == usual


def test_what_has_expired_is_named_and_what_will_soon_is_told(
    home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {one.path: one.not_after for one in status.look(str(home)).expiries}
    leaf = ends["client/clients/curl/client.crt"]
    assert leaf is not None
    left = (leaf - datetime.datetime.now(tz=datetime.UTC)).days

    later(monkeypatch, days=left - 5)
    assert "client/clients/curl/client.crt has expired" not in status.look(str(home)).problems
    assert "days left, renew soon" in told(home)
    later(monkeypatch, days=left + 2)
    assert "client/clients/curl/client.crt has expired" in status.look(str(home)).problems
    assert "EXPIRED" in told(home)


def test_a_damaged_certificate_is_named_and_a_kept_one_is_left_out(home: pathlib.Path) -> None:
    (home / "pki/client/revoked/01").mkdir(parents=True)
    (home / "pki/client/revoked/01/client.crt").write_text("not looked at", encoding="utf-8")
    (home / "pki/client/ca.crt").write_text("damaged", encoding="utf-8")
    found = status.look(str(home))
    assert [one for one in found.problems if one.startswith("client/ca.crt cannot be read")]
    assert len(found.problems) == 1
    assert "unreadable" in told(home)


def test_a_running_site_tells_since_when_and_what_ended_by_itself(runtime: runtimes.Runtime) -> None:
    home = runtime.layout.root.parent
    runtime.apply()
    # For supervisor a program starts for a second, however soon it serves.
    wait_for(lambda: not status.look(str(home)).problems, what="all is well")
    before = status.look(str(home))
    assert [(one.name, one.state, one.ends) for one in before.programs] == [
        ("envoy", "running", 0),
        ("workload-test-httpbin", "running", 0),
    ]
    assert [(one.port, one.gateway_port, one.is_open) for one in before.ports] == [(runtime.port, 443, True)]
    assert "no unexpected exit" in told(home)

    os.kill(before.programs[0].pid, signal.SIGKILL)
    wait_for(lambda: status.look(str(home)).programs[0].ends, what="the end is told")
    wait_for(lambda: not status.look(str(home)).problems, what="envoy is back")
    assert "1 unexpected exit, last " in told(home)
    assert "terminated by SIGKILL" in told(home)

    runtime.platform.supervisor.stop()
    after = status.look(str(home))
    assert after.problems == ("the local runtime does not run", f"nothing listens on 127.0.0.1:{runtime.port}")
    assert "CLOSED" in told(home)


def test_a_program_that_does_not_come_up_is_named(runtime: runtimes.Runtime) -> None:
    runtime.layout.make()
    command = ("/bin/sh", "-c", "exit 3", f"{runtime.layout.root}/")
    runtime.platform.supervisor.apply([Program("failing", command)])
    problems = wait_for(lambda: status.look(str(runtime.layout.root.parent)).problems, what="it is noticed")
    assert problems[0].startswith("failing is ")


def test_ends_are_counted_across_rotated_logs(tmp_path: pathlib.Path) -> None:
    line = "2026-11-{day} 10:00:00,123 WARN exited: envoy (terminated by SIGSEGV; not expected)\n"
    (tmp_path / "supervisord.log.1").write_text(line.format(day="01"), encoding="utf-8")
    (tmp_path / "supervisord.log").write_text(
        line.format(day="02") + "2026-11-03 10:00:00,123 INFO stopped: envoy (exit status 0)\n", encoding="utf-8"
    )
    assert status._ends(tmp_path) == {
        "envoy": ["2026-11-01 10:00:00, terminated by SIGSEGV", "2026-11-02 10:00:00, terminated by SIGSEGV"]
    }


def test_a_log_that_cannot_be_read_is_no_reason_to_say_nothing(tmp_path: pathlib.Path) -> None:
    (tmp_path / "supervisord.log").mkdir()
    assert status._ends(tmp_path) == {}


@pytest.mark.parametrize(("minutes", "words"), [(0, "0 min"), (59, "59 min"), (61, "1 h 1 min"), (49 * 60, "2 d 1 h")])
def test_spans_are_told_in_words(minutes: int, words: str) -> None:
    assert status._span(datetime.timedelta(minutes=minutes)) == words


def test_several_ends_are_counted(tmp_path: pathlib.Path) -> None:
    program = status.ProgramStatus("envoy", "running", 1, None, 3, "2026-11-02 10:00:00, exit status 1")
    found = status.Status(tmp_path, datetime.datetime.now(tz=datetime.UTC), (program,), (), (), None, ())
    assert "3 unexpected exits, last 2026-11-02 10:00:00, exit status 1" in "\n".join(status.lines(found))
