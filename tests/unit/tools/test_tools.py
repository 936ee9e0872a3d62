# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What make relies on: the choice of a Python, the way to ansible-playbook, the runner of the checks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SHIM = "#!/bin/sh\necho 'pyenv: python: command not found' >&2\nexit 127\n"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def pretender(path: Path, reason: str) -> Path:
    """A Python that answers the probe with a refusal."""
    return program(path, f"#!/bin/sh\necho '{reason}' >&2\nexit 1\n")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with the shell's tools and no Python."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("sh", "head", "sed", "dirname"):
        (directory / name).symlink_to(shutil.which(name) or name)
    return directory


def choose(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "tools/python")],
        env={"PATH": str(path), "HOME": str(path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_shim_that_only_fails_is_passed_over(bare: Path) -> None:
    program(bare / "python3.13", SHIM)
    (bare / "python3").symlink_to(sys.executable)
    chosen = choose(bare)
    assert chosen.returncode == 0, chosen.stderr
    assert Path(chosen.stdout.strip()).exists()


def test_a_python_that_pyenv_installed_is_found_without_its_shims(bare: Path) -> None:
    real = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    program(bare / ".pyenv/versions/3.12.9/bin/python3", real)
    assert choose(bare).returncode == 0


@pytest.mark.parametrize(
    ("pythons", "words"),
    [
        ({}, "there is none on PATH; install Python 3.11, 3.12 or 3.13"),
        ({"python3": "it is Python 3.9"}, "install Python 3.11, 3.12 or 3.13"),
        ({"python3.12": "it has no module ensurepip"}, "the package python3-venv"),
    ],
)
def test_without_a_usable_python_one_line_says_what_to_do(bare: Path, pythons: dict[str, str], words: str) -> None:
    for name, reason in pythons.items():
        pretender(bare / name, reason)
    refused = choose(bare)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_named_python_is_taken_or_refused_never_replaced(bare: Path) -> None:
    (bare / "python3").symlink_to(sys.executable)
    assert choose(bare, PYTHON=sys.executable).returncode == 0
    refused = choose(bare, PYTHON="/nonexistent/python")
    assert refused.returncode == 1
    assert "PYTHON=/nonexistent/python does not do" in refused.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with tools/play, in a directory whose name wants to be quoted; ansible-playbook shows what it got."""
    root = tmp_path / 'a "checkout" of mine'
    (root / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools/play", root / "tools/play")
    program(root / "tools/env", "#!/bin/sh\nexit 0\n")
    show = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['ANSIBLE_CONFIG']]))"
    program(root / ".venv/bin/ansible-playbook", f'#!/bin/sh\nexec {sys.executable} -c "{show}" "$@"\n')
    return root


def play(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(checkout / "tools/play"), *arguments],
        cwd=checkout,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(checkout), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def given(result: subprocess.CompletedProcess[str]) -> tuple[dict[str, object], list[str]]:
    """The variables and the further arguments that ansible-playbook got."""
    arguments, _configuration = json.loads(result.stdout)
    assert arguments[1] == "-e"
    return json.loads(arguments[2]), arguments[3:]


def test_the_home_is_in_the_checkout_whatever_its_path(checkout: Path) -> None:
    variables, further = given(play(checkout, "site", "-e", "gateway_port=9443"))
    assert variables == {"mtls_home": f"{checkout}/.kyma-mtls", "mtls_platform": "local"}
    assert further == ["-e", "gateway_port=9443"]


@pytest.mark.parametrize(("home", "expected"), [("/srv/x", "/srv/x"), ("~/x", "~/x"), ("x y", "{checkout}/x y")])
def test_another_home_may_be_relative(checkout: Path, home: str, expected: str) -> None:
    variables, _further = given(play(checkout, "site", MTLS_HOME=home, PLATFORM="k3d"))
    assert variables == {"mtls_home": expected.format(checkout=checkout), "mtls_platform": "k3d"}


@pytest.mark.parametrize("home", ["~/a home", "a home", "{checkout}/a home"])
def test_the_variables_of_a_site_hold_for_every_command_and_extra_ones_come_later(checkout: Path, home: str) -> None:
    (checkout / "a home").mkdir()
    place = home.format(checkout=checkout)
    assert given(play(checkout, "verify", MTLS_HOME=place))[1] == []
    (checkout / "a home/variables.yml").write_text("gateway_port: 9443\n")
    _variables, further = given(play(checkout, "verify", "-e", "gateway_port=1", MTLS_HOME=place))
    assert further == ["-e", f"@{checkout}/a home/variables.yml", "-e", "gateway_port=1"]


@pytest.mark.parametrize(("purge", "expected"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_only_teardown_purges_and_only_when_asked(checkout: Path, purge: str, expected: bool) -> None:
    assert given(play(checkout, "teardown", PURGE=purge))[0]["mtls_purge"] is expected
    assert "mtls_purge" not in given(play(checkout, "site", PURGE=purge))[0]


def test_a_purge_that_is_not_understood_is_refused(checkout: Path) -> None:
    refused = play(checkout, "teardown", PURGE="perhaps")
    assert refused.returncode == 2
    assert "PURGE=perhaps is not understood" in refused.stderr


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import checks.__main__ as main  # noqa: PLC0415  (the path is set only now)
    from checks import step  # noqa: PLC0415

    monkeypatch.setattr(main, "LOGS", tmp_path / "logs")
    return main, step


def test_every_end_of_a_step_is_told_with_its_reason(runner, capsys: pytest.CaptureFixture[str]) -> None:
    main, step = runner

    def fails(context):
        context.run("sh", "-c", "echo the last words; exit 3")

    def skips(_context):
        raise step.SkipError("not installed here")

    def breaks(_context):
        raise ZeroDivisionError("oh")

    steps = [
        step.Step("good", "g", "", lambda context: context.run("echo", "fine").strip()),
        step.Step("bad", "g", "", fails),
        step.Step("absent", "g", "", skips),
        step.Step("broken", "g", "", breaks),
    ]
    results = {result.step.name: (result.result, result.reason) for result in main.run_all(steps)}
    assert results == {
        "good": ("passed", "fine"),
        "bad": ("failed", "sh exited with 3: the last words"),
        "absent": ("skipped", "not installed here"),
        "broken": ("failed", "the check itself broke: ZeroDivisionError: oh"),
    }
    assert "the last words" in capsys.readouterr().out


def test_a_step_with_workers_has_others_beside_it(runner) -> None:
    main, step = runner
    first, second = (step.Step(name, "g", "", str, has_workers=True) for name in ("first", "second"))
    small = step.Step("small", "g", "", str)
    assert main._next_to_start([small, first, second], []) is first
    assert main._next_to_start([second, small], [first]) is small
    assert main._next_to_start([second], [first, small]) is second
    assert main._next_to_start([], [first]) is None


def test_a_step_that_takes_too_long_is_ended_and_failed(runner) -> None:
    main, step = runner
    sleepy = step.Step("sleepy", "g", "", lambda context: context.run("sleep", "60"), timeout_seconds=1)
    (result,) = main.run_all([sleepy])
    assert (result.result, result.reason) == ("failed", "not finished after 1 s")
