# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role monitor on a host: what it installs, what a run says of sound, broken and absent gateways, what alerts."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import stat
import subprocess
import time
import typing as t
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from ansible_collections.kyma.mtls.plugins.module_utils._local import status
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import CATALOGUE, REFUSALS
from ansible_collections.kyma.mtls.tests.servers import pki as pki_module
from ansible_collections.kyma.mtls.tests.servers import real
from ansible_collections.kyma.mtls.tests.servers.ports import free_port
from ansible_collections.kyma.mtls.tests.servers.workload import Workload
from ansible_collections.kyma.mtls.tests.unit.roles.test_pki_roles import COLLECTION, Play

ROLE = COLLECTION / "roles/monitor"
PASSED, FAILED, OUTAGE, ERROR = range(4)
#: Where the verification is not the matter.
BRIEF = {"checks": ["MV-23", "MV-24", "MV-25"]}


class Site:
    """A gateway that comes, goes and is broken at one address, and the monitor's files."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pki = pki_module.make_pki(directory / "pki")
        self.play = Play(directory)
        self.directory = directory
        self.port = free_port()
        self._workload = Workload()
        self._running: real.Running | None = None
        self._monkeypatch = monkeypatch

    @property
    def monitor(self) -> Path:
        return self.play.home / "monitor"

    @property
    def metrics(self) -> str:
        return (self.directory / "textfiles/kyma-mtls.prom").read_text(encoding="utf-8")

    def serve(self, kind: str = "envoy", **setting: t.Any) -> None:
        """Start a server of ``kind`` at the address, in place of the one that is there."""
        if real.find(kind) is None:
            pytest.skip(f"{kind} is not installed")
        self.stop()
        self._monkeypatch.setattr(real, "free_port", lambda: self.port)
        place = self.directory / f"{kind}-{len(setting)}"
        self._running = real.start(kind, self.pki, place, self._workload.port, real.Setting(**setting))

    def stop(self) -> None:
        if self._running:
            self._running.stop()
            self._running = None

    def end(self) -> None:
        self.stop()
        self._workload.stop()

    def variables(self, **changes: t.Any) -> dict[str, t.Any]:
        return {
            "monitor_runner": "systemd",
            "monitor_activate": False,
            "monitor_become": False,
            "monitor_systemd_directory": str(self.directory / "units"),
            "monitor_textfile_directory": str(self.directory / "textfiles"),
            "monitor_rules_dest": str(self.directory / "rules.yml"),
            "monitor_dashboard_dest": str(self.directory / "dashboard.json"),
            "monitor_url": f"https://{pki_module.HOST}/headers",
            "monitor_connect_to": f"127.0.0.1:{self.port}",
            "monitor_ca": [self.pki.server_ca.crt],
            "monitor_client_cert": self.pki.client.crt,
            "monitor_client_key": self.pki.client.key_file,
            "monitor_client_ca_cert": [self.pki.client_ca.crt],
            "monitor_client_ca_key": self.pki.client_ca.key_file,
            "monitor_crl": "",
            "monitor_options": {"identity_headers": dict(real.KINDS["envoy"].headers)},
            **changes,
        }

    def install(self, *arguments: str, **changes: t.Any) -> int:
        """Run the role; return how many tasks changed something."""
        (self.directory / "units").mkdir(exist_ok=True)
        return self.play.run("monitor", variables=self.variables(**changes), arguments=arguments).changed

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the script as the scheduler does; return exit code and output."""
        done = subprocess.run(
            [str(self.monitor / "config/run"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin"},
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[Site]:
    made = Site(tmp_path, monkeypatch)
    yield made
    made.end()


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} (Debian's package {package}) is not installed")
    return found


def checked(*command: str, **options: t.Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def state(metrics: str, name: str, **labels: str) -> float:
    """Return the value of the one sample of ``name`` with ``labels``."""
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in metrics.splitlines() if line.startswith(name) and all(text in line for text in wanted)]
    assert len(lines) == 1, (name, labels, lines)
    return float(lines[0].rpartition(" ")[2])


def test_from_install_to_removal(site: Site) -> None:
    site.serve()
    assert site.install("--check", "--diff", monitor_options=BRIEF) > 0
    assert not site.monitor.exists()
    assert site.install(monitor_options=BRIEF) > 0
    assert site.install(monitor_options=BRIEF) == 0
    assert state(site.metrics, "kyma_mtls_verdict", state="passed") == 1
    assert stat.S_IMODE((site.directory / "textfiles/kyma-mtls.prom").stat().st_mode) == 0o644

    checked(tool("shellcheck", "shellcheck"), str(site.monitor / "config/run"))
    secret = Path(site.pki.client_ca.key_file).read_bytes().splitlines()[1]
    assert [path for path in site.monitor.rglob("*") if path.is_file() and secret in path.read_bytes()] == []
    exposure = assert_units_are_understood(site.directory / "units", delay="RandomizedDelaySec=300")
    assert float(exposure) < 2
    assert site.install(monitor_runner="systemd_user", monitor_every="15m", monitor_options=BRIEF) > 0
    assert_units_are_understood(site.directory / "units", delay="RandomizedDelaySec=75")

    assert site.install(monitor_state="absent") > 0
    assert site.install(monitor_state="absent") == 0
    assert not site.monitor.exists()
    left = [path for name in ("units", "textfiles") for path in (site.directory / name).iterdir()]
    assert left == []
    assert not (site.directory / "rules.yml").exists()


def assert_units_are_understood(directory: Path, *, delay: str) -> str:
    """Have systemd read the units in ``directory``; return the exposure of the service that it computes."""
    analyze = tool("systemd-analyze", "systemd")
    service, timer = sorted(directory.iterdir())
    assert (service.name, timer.name) == ("kyma-mtls-verify.service", "kyma-mtls-verify.timer")
    checked(analyze, "verify", str(service), str(timer))
    said = timer.read_text(encoding="utf-8")
    assert {"Persistent=true", delay} <= set(said.splitlines())
    calendar = re.search(r"^OnCalendar=(.*)$", said, re.MULTILINE)
    assert calendar
    checked(analyze, "calendar", calendar[1])
    found = re.search(r"exposure level.*: (\d+\.\d)", checked(analyze, "security", "--offline=true", str(service)))
    assert found
    return found[1]


def test_an_interval_that_cannot_be_scheduled_is_refused_before_anything_is_written(site: Site) -> None:
    outcome = site.play.run("monitor", variables=site.variables(monitor_every="7m"))
    assert outcome.code != 0
    assert "cannot be scheduled" in outcome.words
    assert not site.monitor.exists()


class Prometheus:
    """A real Prometheus with the role's rules, fed by a real node_exporter that reads the textfiles."""

    def __init__(self, directory: Path, rules: Path) -> None:
        exporter = tool("prometheus-node-exporter", "prometheus-node-exporter")
        server = tool("prometheus", "prometheus")
        ports = free_port(), free_port()
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{ports[0]}"]}]}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        self._address = f"http://127.0.0.1:{ports[1]}"
        self._processes = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for command in (
                [
                    exporter,
                    "--collector.disable-defaults",
                    "--collector.textfile",
                    f"--collector.textfile.directory={directory / 'textfiles'}",
                    f"--web.listen-address=127.0.0.1:{ports[0]}",
                ],
                [
                    server,
                    f"--config.file={directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={directory / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{ports[1]}",
                ],
            )
        ]

    def ask(self, path: str) -> t.Any:
        with urllib.request.urlopen(f"{self._address}/api/v1/{path}", timeout=5) as answer:  # noqa: S310  (http only)
            return json.load(answer)["data"]

    def value(self, expression: str) -> list[t.Any]:
        return t.cast("list[t.Any]", self.ask(f"query?query={urllib.parse.quote(expression)}")["result"])

    def firing(self, *, since: float) -> set[str]:
        """Return the alerts that fire once the metrics of a run that began after ``since`` have been evaluated."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.value(f"min_over_time(kyma_mtls_last_run_timestamp_seconds[3s]) >= {int(since)}"):
                    return {
                        alert["labels"]["alertname"]
                        for alert in self.ask("alerts")["alerts"]
                        if alert["state"] == "firing"
                    }
            time.sleep(0.5)
        raise AssertionError("Prometheus has not seen the run")

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait()


def assert_rules(site: Site, *firing: str) -> None:
    """Have promtool run the rules on the metrics of the last run, held for an hour: of the two, ``firing`` fire."""
    series = [line.rpartition(" ") for line in site.metrics.splitlines() if line and not line.startswith("#")]
    expectations = [
        {
            "expr": f'(count(ALERTS{{alertname="{name}", alertstate="firing"}}) > bool 0) or vector(0)',
            "eval_time": "1h",
            "exp_samples": [{"labels": "{}", "value": int(name in firing)}],
        }
        for name in ("KymaMtlsWrongClientAdmitted", "KymaMtlsOutage")
    ]
    test = {
        "rule_files": [str(site.directory / "rules.yml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": f"{value}+0x60"} for name, _space, value in series],
                "promql_expr_test": expectations,
            }
        ],
    }
    (site.directory / "rules_test.yml").write_text(yaml.safe_dump(test))
    promtool = tool("promtool", "prometheus")
    checked(promtool, "check", "rules", str(site.directory / "rules.yml"))
    checked(promtool, "test", "rules", str(site.directory / "rules_test.yml"))


class Alertmanager:
    """A real Alertmanager, which the role's webhook calls without Prometheus."""

    def __init__(self, directory: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        (directory / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        self._process = subprocess.Popen(
            [
                tool("prometheus-alertmanager", "prometheus-alertmanager"),
                f"--config.file={directory / 'alertmanager.yml'}",
                f"--storage.path={directory / 'alertmanager'}",
                f"--web.listen-address={self.address}",
                "--cluster.listen-address=",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def active(self) -> list[tuple[str, str]]:
        """Name and verdict of each alert that lasts."""
        with urllib.request.urlopen(f"http://{self.address}/api/v2/alerts", timeout=5) as answer:
            return [(alert["labels"]["alertname"], alert["annotations"]["verdict"]) for alert in json.load(answer)]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def test_prometheus_tells_who_got_in_from_what_is_down(site: Site) -> None:
    """Sound, broken and stopped: exit codes, one line for cron, metrics, and the alerts of a real Prometheus."""
    alertmanager = Alertmanager(site.directory)
    site.serve()
    webhook = f"http://{alertmanager.address}/api/v2/alerts"
    site.install(monitor_runner="none", monitor_webhook_url=webhook, monitor_webhook_format="alertmanager")
    prometheus = Prometheus(site.directory, site.directory / "rules.yml")
    try:
        started = time.time()
        assert site.run("--quiet") == (PASSED, "")
        assert prometheus.firing(since=started) == set()
        assert alertmanager.active() == []
        assert_rules(site)
        dashboard = json.loads((site.directory / "dashboard.json").read_text(encoding="utf-8"))
        without_data = [
            target["expr"]
            for panel in dashboard["panels"]
            for target in panel["targets"]
            if not prometheus.value(target["expr"].replace("$url", ".*")) and "crl" not in target["expr"]
        ]
        assert without_data == []

        site.serve(client_auth="optional")
        started = time.time()
        code, said = site.run("--quiet")
        assert (code, said.split(":")[0]) == (FAILED, "FAILED"), said
        assert state(site.metrics, "kyma_mtls_check_state", check="MV-24", state="failed") == 1
        fired = prometheus.firing(since=started)
        assert "KymaMtlsWrongClientAdmitted" in fired
        assert "KymaMtlsOutage" not in fired
        assert alertmanager.active() == [("KymaMtlsNotProven", "failed")]
        assert_rules(site, "KymaMtlsWrongClientAdmitted")

        site.serve()
        assert site.run("--quiet") == (PASSED, "")
        assert alertmanager.active() == []

        site.stop()
        started = time.time()
        code, said = site.run("--quiet")
        assert (code, said.split(":")[0]) == (OUTAGE, "OUTAGE"), said
        assert prometheus.firing(since=started) == {"KymaMtlsOutage"}
        assert alertmanager.active() == [("KymaMtlsNotProven", "outage")]
        assert_rules(site, "KymaMtlsOutage")
    finally:
        prometheus.stop()
        alertmanager.stop()

    shutil.rmtree(site.monitor / "probe")
    code, said = site.run("--quiet")
    assert code == ERROR
    assert "There is no probe kit" in said
    verdicts = [line.split()[1] for line in (site.monitor / "state/runs.log").read_text().splitlines()]
    assert verdicts == ["passed", "passed", "failed", "passed", "outage", "error"]
    found = status.look(str(site.play.home))
    assert found.monitor is not None
    assert [run.verdict for run in found.monitor.last] == ["passed", "outage", "error"]
    assert "the monitor's last run ended with error" in found.verdict


def test_every_check_raises_one_alert() -> None:
    names = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    refusals, identity = set(names["__monitor_refusal_checks"]), set(names["__monitor_identity_checks"])
    assert not refusals & identity
    assert refusals | identity <= {entry.id for entry in CATALOGUE}
    assert refusals >= REFUSALS


def test_every_expression_of_the_dashboard_is_understood(tmp_path: Path) -> None:
    promtool = tool("promtool", "prometheus")
    dashboard = json.loads((ROLE / "files/dashboard.json").read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"expression_{number}", "expr": expression.replace("$url", ".*")}
        for number, expression in enumerate(expressions)
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked(promtool, "check", "rules", str(tmp_path / "rules.yml"))
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in dashboard["panels"])
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_a_renewal_that_fails_is_reported_and_the_gateway_still_verified(site: Site) -> None:
    site.serve()
    tasks = [{"ansible.builtin.assert": {"that": "lookup('file', path) == 'renewed'"}}]
    renewal = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (site.directory / "renew.yml").write_text(json.dumps(renewal))
    (site.directory / "answer").write_text("renewed")
    site.install(
        monitor_runner="none",
        monitor_rules_dest="",
        monitor_dashboard_dest="",
        monitor_options=BRIEF,
        monitor_renew_playbook=str(site.directory / "renew.yml"),
        monitor_renew_variables={"path": str(site.directory / "answer")},
    )
    (site.directory / "answer").write_text("not renewed")
    code, said = site.run()
    assert code == ERROR
    assert "the renewal failed" in said
    written = (site.directory / "textfiles/kyma-mtls-renewal.prom").read_text(encoding="utf-8")
    assert state(written, "kyma_mtls_renewal_success", site="kyma-mtls") == 0
    assert state(site.metrics, "kyma_mtls_verdict", state="passed") == 1
