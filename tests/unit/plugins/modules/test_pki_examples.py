# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples in the documentation of the PKI's modules and roles run as they stand."""

from __future__ import annotations

import datetime
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa

import ansible_collections.kyma.mtls.plugins.module_utils as collection
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._pki.samples import DAY, make_home

COLLECTION = Path(next(iter(collection.__path__))).parents[1]
MODULES = (
    "modules.certificate_batch",
    "modules.certificate_revocation",
    "modules.ca_rotation",
    "modules.pki_info",
    "modules.pki",
    "modules.client_handover",
)
ROLES = ("server_pki", "client_pki")
# These need NSS, which is not everywhere.
if shutil.which("certutil"):
    MODULES += ("modules.trust_store",)
    ROLES += ("trust",)


def tasks_of(name: str) -> list[dict[str, t.Any]]:
    module = importlib.import_module(f"ansible_collections.kyma.mtls.plugins.{name}")
    return t.cast("list[dict[str, t.Any]]", yaml.safe_load(module.EXAMPLES))


def plays_of(role: str) -> list[dict[str, t.Any]]:
    text = (COLLECTION / "roles" / role / "README.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert blocks, f"the README of {role} has no example"
    return [play for block in blocks for play in yaml.safe_load(block)]


def test_every_example_runs_as_it_stands(tmp_path: Path) -> None:
    start = datetime.datetime.now(datetime.UTC) - DAY
    for side in ("client", "server"):
        directory = tmp_path / "pki" / side
        directory.mkdir(parents=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        names = {"organization": f"ML {side.title()} Org", "common_name": f"ML {side.title()} Root CA"}
        make_home(directory, key=key, start=start, **names)
    tasks = [task for name in MODULES for task in tasks_of(name)]
    plays: list[dict[str, t.Any]] = [{"hosts": "gateway", "gather_facts": False, "tasks": tasks}]
    for role in ROLES:
        # The roles make CAs of their own, and this home has some: each README gets a directory to itself.
        # What the role trust needs is there.
        place = "~/pki/" if role == "trust" else f"~/{role}/"
        plays += json.loads(json.dumps(plays_of(role)).replace("~/pki/", place))
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    (tmp_path / "ansible.cfg").write_text("")
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "-i", "gateway,", "-e", json.dumps(variables), tmp_path / "play.yml"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTION.parents[2]),
            "ANSIBLE_NOCOLOR": "1",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for end in (
        *("pki/client/clients/robot/client.key", "server_pki/server/server-chain.pem"),
        *("own/server/server-chain.pem", "own/client/ca.crl", "corporate/client/ca-bundle.crt"),
    ):
        assert (tmp_path / end).is_file()
