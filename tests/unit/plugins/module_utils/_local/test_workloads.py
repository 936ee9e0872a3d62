# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Local processes that play Deployments."""

from __future__ import annotations

import pathlib
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import workloads
from ansible_collections.kyma.mtls.plugins.module_utils._local.environment import Environment
from ansible_collections.kyma.mtls.plugins.module_utils._local.paths import RuntimeLayout
from ansible_collections.kyma.mtls.plugins.module_utils._local.workloads import WorkloadProcess
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._envoy import samples

WORKLOAD = WorkloadProcess(
    "test/httpbin", "httpbin==0.10.4", ("gunicorn", "--bind=unix:{socket}", "--pid={socket}.pid")
)


def test_command_gets_its_program_and_its_socket(tmp_path: pathlib.Path) -> None:
    layout = RuntimeLayout.at(str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gunicorn").touch()
    socket = WORKLOAD.socket(layout)

    program = WORKLOAD.program(layout=layout, environment=Environment(path=tmp_path, records=tmp_path))

    assert program.name == "workload-test-httpbin"
    assert program.command == (f"{tmp_path}/bin/gunicorn", f"--bind=unix:{socket}", f"--pid={socket}.pid")
    assert program.packages == WORKLOAD.packages.digest


def test_every_deployment_has_its_own_socket(tmp_path: pathlib.Path) -> None:
    layout = RuntimeLayout.at(str(tmp_path))
    names = ["test/httpbin", "test-httpbin", "prod/httpbin"]

    assert len({WorkloadProcess(name, "", ()).socket(layout) for name in names}) == 3


@pytest.mark.parametrize("command", [(), ("gunicorn",), ("gunicorn", "--bind=unix:/tmp/x")])
def test_command_without_a_socket_is_refused(command: tuple[str, ...]) -> None:
    with pytest.raises(MtlsError, match=r"command of workload test/httpbin must contain \{socket\}"):
        workloads.check_command(WorkloadProcess("test/httpbin", "", command))


def test_command_with_a_socket_is_accepted() -> None:
    workloads.check_command(WORKLOAD)


@pytest.mark.parametrize(
    ("containers", "path"),
    [
        ([{"name": "sidecar"}, {"readinessProbe": {"httpGet": {"path": "/status/200"}}}], "/status/200"),
        ([{"readinessProbe": {"tcpSocket": {"port": 80}}}], "/"),
        ([{"readinessProbe": None}], "/"),
        ([], "/"),
        (None, "/"),
    ],
)
def test_readiness_is_asked_where_the_probe_asks(containers: t.Any, path: str) -> None:
    deployment = samples.make_deployment()
    deployment["spec"]["template"]["spec"]["containers"] = containers

    assert workloads.readiness_path(deployment) == path


def test_deployment_without_a_template_is_asked_at_its_root() -> None:
    assert workloads.readiness_path({"spec": None}) == "/"
