# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which manifests the role modules accepts, from a directory that stands for a release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.kyma.mtls.tests.unit.plugins.modules.k3d_double import ROOT

if t.TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = {"modules_istio_version": "0.0.1", "modules_api_gateway_version": "0.0.2"}
FILES = (
    "istio/releases/download/{modules_istio_version}/istio-manager.yaml",
    "api-gateway/releases/download/{modules_api_gateway_version}/api-gateway-manager.yaml",
)


class Mirror(t.NamedTuple):
    directory: Path
    home: Path

    def obtain(self, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        """Have the manifests, which are not those that Kyma's sources give."""
        versions = {"modules_istio_version": "1.30.0", "modules_api_gateway_version": "3.10.0", **variables}
        for file in FILES:
            path = self.directory / file.format(**versions)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("kind: Namespace\n")
        role = {"name": "kyma.mtls.modules", "tasks_from": "manifests"}
        tasks = [{"name": "Manifests", "ansible.builtin.include_role": role}]
        playbook = self.home.with_name("play.json")
        playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
        given = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "modules_platform": "kubernetes",
            "modules_source": str(self.directory),
            "modules_home": str(self.home),
            "modules_require_sha256": False,
            **versions,
        }
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        }
        return subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-e", json.dumps(given), str(playbook)],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture
def mirror(tmp_path):
    return Mirror(tmp_path / "mirror", tmp_path / "home")


def test_another_file_for_a_release_of_the_table_is_refused_whatever_the_flag_says(mirror):
    done = mirror.obtain()
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0, told
    assert "a88d8f9fabbaaf4a82b88179ff22805e26f9719f4ba9f987de94d747340bdb2d is expected" in told, told
    assert not mirror.home.exists()


def test_a_release_that_nobody_knows_is_recorded_in_the_home_and_not_in_its_source(mirror):
    done = mirror.obtain(**UNKNOWN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0.0.1/istio-manager.yaml" in (mirror.home / "manifests/SHA256SUMS").read_text()
    assert not (mirror.directory / "SHA256SUMS").exists()
