# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page "Protect your own service" works as it is written, with a Flask application and with a static nginx."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ansible_collections.kyma.mtls.plugins.filter.workload_routes import workload_routes
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.unit.docs import pages, test_commands
from ansible_collections.kyma.mtls.tests.unit.docs.test_commands import Clone

clone = test_commands.clone  # a fixture
PAGE = "docs/own-service.md"
NGINX = """daemon off; master_process off; pid {home}/nginx.pid; error_log {home}/nginx.log; events {{}}
http {{ access_log off; server {{ listen unix:{home}/static.sock; root {home}/www; }} }}
"""
COMMON = {
    "owner": "test",
    "namespace": "test",
    "gateway": "test/kyma-mtls-gateway",
    "identity_headers": {"X-CLIENT-SSL-CN": "%DOWNSTREAM_PEER_SUBJECT%"},
    "tls_mode": "MUTUAL",
    "platform": "kubernetes",
    "predict": True,
}


def block(kind: str, part: str) -> str:
    return next(found.text for found in pages.blocks(kind) if found.page == PAGE and part in found.text)


@pytest.mark.parametrize("text", [found.text for found in pages.blocks("yaml") if found.page == PAGE])
def test_every_list_of_the_page_is_one_that_can_be_served(text: str) -> None:
    given = yaml.safe_load(text)
    common = {**COMMON, "tls_mode": given.get("gateway_tls_mode", "MUTUAL")}
    assert workload_routes(given["httpbin_workloads"], common)["routes"]


def test_an_application_gets_behind_the_gateway_in_five_commands(clone: Clone) -> None:
    site, alice, bob = (line.partition(" #")[0].strip() for line in block("console", "make site").strip().splitlines())
    start = block("console", "flask").partition(" #")[0]
    clone.borrow_environment()
    clone.ports["5000"] = free_port()
    variables = yaml.safe_load(block("yaml", "upstream: 127.0.0.1:5000\n    allow:\n      - clients"))
    variables["httpbin_workloads"][0]["upstream"] = f"127.0.0.1:{clone.ports['5000']}"
    static = {"name": "static", "hosts": ["static.mtls.local.kyma.dev"], "upstream": f"unix:{clone.home}/static.sock"}
    variables["httpbin_workloads"].append(static)
    (clone.directory / ".kyma-mtls").mkdir()
    (clone.directory / ".kyma-mtls/variables.yml").write_text(yaml.safe_dump(variables))
    (clone.directory / "app.py").write_text(block("python", "Flask"))
    # Nobody answers yet.
    outage = clone.run(site).stdout
    down = clone.run(f"{alice} --output /dev/null --write-out '%{{http_code}}'").stdout
    # The Flask of HTTPBin is as good as any.
    flask = start.replace("flask", str(clone.directory / ".kyma-mtls/runtime/venv/bin/flask"), 1)
    processes = [_started(re.sub(r"\b5000\b", str(clone.ports["5000"]), flask).split(), clone.directory)]
    try:
        if nginx := shutil.which("nginx", path="/usr/sbin:/usr/bin"):
            (clone.home / "www").mkdir()
            (clone.home / "www/index.html").write_text("static\n")
            (clone.home / "nginx.conf").write_text(NGINX.format(home=clone.home))
            processes.append(
                _started([nginx, "-c", f"{clone.home}/nginx.conf", "-e", f"{clone.home}/e.log"], clone.home)
            )
        answer = clone.ok(f"{alice} --retry 20 --retry-all-errors --retry-delay 1 --fail")
        refused = clone.ok(f"{bob} --include")
        if nginx:
            proven = clone.ok("make verify")
        served = (
            clone.ok(f"{bob.partition(' ')[0]} --retry 20 --retry-delay 1 --fail https://static.mtls.local.kyma.dev/")
            if nginx
            else ""
        )
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)

    assert down == "503"
    assert "OUTAGE" in outage
    assert "the workload is down or broken; this is no refusal" in outage
    if nginx:
        assert "PASSED" in proven
        assert next(line.split()[:2] for line in proven.splitlines() if "MV-43" in line)[1] == "warning"
    assert json.loads(answer) == {"hello": "O=ML Client Org,CN=alice"}
    assert refused.startswith(("HTTP/2 403", "HTTP/1.1 403"))
    assert refused.endswith("RBAC: access denied")
    assert served in ("static\n", "")


def _started(command: list[str], directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
