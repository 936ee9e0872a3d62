# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks by Ansible's own tools: sanity, lint, documentation, artifact, molecule."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tarfile
import typing as t
from pathlib import Path

from checks.files import copy_project
from checks.step import BUILD, ROOT, CheckError, Context, SkipError
from checks.units import CORE_2_20, OTHER_VERSIONS, core_of, environment_of, environment_with, first_on_path

COLLECTION = "kyma.mtls"
FROM_CHECKOUT = {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_COLLECTIONS_PATH": str(BUILD / "collections"),
    "ANSIBLE_HOME": str(BUILD / "ansible-home"),
}

# ansible-test makes some ten environments without pip, and would download pip's installer from a host of its own.
GET_PIP = f'''"""Stand-in for get-pip.py: uv brings the wanted pip, which takes a tenth of the time of ensurepip."""
import os
import subprocess
import sys

sys.path.insert(0, {str(ROOT / "tools")!r})
from env import index_settings

uv, wanted = {str(ROOT / ".venv/bin/uv")!r}, [word for word in sys.argv[1:] if not word.startswith("--no-")]
settings = index_settings({str(ROOT / ".venv/bin/python")!r})
install = [uv, "pip", "install", "--quiet", "--python", sys.executable]
subprocess.run([*install, *wanted], check=True, env={{**os.environ, **settings}})
'''


def _without_settings() -> dict[str, str]:
    """No configuration, neither the checkout's nor the user's: as on a machine that never saw either."""
    empty = BUILD / "empty.cfg"
    empty.touch()
    return {
        "ANSIBLE_CONFIG": str(empty),
        "ANSIBLE_COLLECTIONS_PATH": str(BUILD / "no-collections"),
        "ANSIBLE_HOME": str(BUILD / "ansible-home"),
    }


def sanity(context: Context) -> str:
    """ansible-test wants a real path that ends in ansible_collections/NAMESPACE/NAME, and leaves files in it."""
    copy = BUILD / "sanity/ansible_collections/kyma/mtls"
    copy_project(copy)
    if shutil.which("git"):
        # Else it would ask the checkout's git, which ignores the whole copy.
        context.run("git", "init", "--quiet", ".", cwd=copy)
    env = {**_without_settings(), "HOME": str(_sanity_home(context))}
    command = ("ansible-test", "sanity", "--color", "no", "--python", f"{sys.version_info[0]}.{sys.version_info[1]}")
    # Pylint takes two thirds of all the time, most of it for tests, whose rules ruff holds.
    output = "".join(
        context.run(*command, *selected, cwd=copy, env=env, reason=_failed_sanity_tests)
        for selected in (("--skip-test", "pylint"), ("--test", "pylint", "--exclude", "tests/"))
    )
    ran = re.findall(r"^Running sanity test \"([\w-]+)\"", output, re.MULTILINE)
    skipped = sorted(set(re.findall(r"^(?:WARNING: )?Skipping sanity test \"([\w-]+)\"", output, re.MULTILINE)))
    if not ran:
        raise CheckError("ansible-test ran no test")
    return f"{len(set(ran))} tests" + (f"; without {', '.join(skipped)}" if skipped else "")


def _failed_sanity_tests(output: str) -> str:
    """Its last words are a headline and one failed test a line."""
    names = output.partition("listed below (out of")[2].splitlines()[1:]
    return f"problems in {', '.join(names)}" if names else ""


def _sanity_home(context: Context) -> Path:
    """A home of its own: the stand-in for get-pip goes nowhere near the user's, pip's settings and cache are shared."""
    home = BUILD / "sanity-home"
    cache = home / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    listed = context.run(sys.executable, "-c", "import ansible_test; print(ansible_test.__path__[0])")
    source = Path(listed.strip().splitlines()[-1]) / "_internal/python_requirements.py"
    for version in set(re.findall(r"\bpip='([\d.]+)'", source.read_text(encoding="utf-8"))):
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP, encoding="utf-8")
    for name in (".cache/pip", ".config/pip", ".pip", ".netrc"):
        real, link = Path.home() / name, home / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if real.exists() and not link.is_symlink():
            link.symlink_to(real)
    return home


def lint(context: Context) -> str:
    output = context.run("ansible-lint", "--strict", "--offline", "--nocolor", env=FROM_CHECKOUT)
    found = re.findall(r"Passed: .*", output)
    return found[-1][:100] if found else ""


def documentation(context: Context) -> str:
    return _read_all_documentation(context, ROOT, FROM_CHECKOUT)


def _read_all_documentation(context: Context, collection: Path, env: t.Mapping[str, str]) -> str:
    """Every plugin and role, by name: a broken documentation makes ansible-doc fail or leave it out.

    An action plugin has the documentation of the module of its name, which ansible-test sees to.
    """
    modules = sorted(path.stem for path in (collection / "plugins/modules").glob("*.py") if path.stem != "__init__")
    filters = sorted({path.stem for path in (collection / "plugins/filter").glob("*.*")} - {"__init__"})
    lookups = sorted({path.stem for path in (collection / "plugins/lookup").glob("*.py")} - {"__init__"})
    roles = sorted(path.name for path in (collection / "roles").iterdir() if path.is_dir())
    for kind, names in (("module", modules), ("filter", filters), ("lookup", lookups), ("role", roles)):
        if names:
            _read_documentation(context, kind, names, env)
    return f"{len(modules)} modules, {len(filters)} filters, {len(lookups)} lookups, {len(roles)} roles"


def _read_documentation(context: Context, kind: str, names: list[str], env: t.Mapping[str, str]) -> None:
    wanted = [f"{COLLECTION}.{name}" for name in names]
    output = context.run("ansible-doc", "--json", "-t", kind, *wanted, env=env, quiet=True)
    found = json.loads(output[output.index("{") :])
    missing = [name for name in wanted if not _is_documented(found.get(name))]
    if missing:
        raise CheckError(f"ansible-doc -t {kind} knows nothing of {', '.join(missing)}")


def _is_documented(entry: t.Any) -> bool:
    return bool(entry) and entry.get("entry_points") != {}


def documentation_lint(context: Context) -> None:
    context.run(
        *("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--skip-rstcheck"),
        *("--validate-collection-refs=self", "."),
        env=FROM_CHECKOUT,
    )


def documentation_site(context: Context) -> None:
    context.run(ROOT / "tools/docs")


def artifact(context: Context) -> str:
    """Build as a release does, install where nothing of the checkout is in sight, and read it there."""
    copy, place = BUILD / "artifact/source", BUILD / "artifact/installed"
    copy_project(copy)
    context.run("rm", "-rf", place)
    galaxy = _without_settings()
    context.run("ansible-galaxy", "collection", "build", "--force", "--output-path", copy.parent, cwd=copy, env=galaxy)
    archive = max(copy.parent.glob("kyma-mtls-*.tar.gz"), key=lambda path: path.stat().st_mtime)
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    strays = [name for name in names if name.split("/")[0] in {".build", ".ci", ".github", ".venv", ".kyma-mtls"}]
    if strays:
        raise CheckError(f"the artifact holds {strays[0]}: see build_ignore in galaxy.yml")
    install = ("ansible-galaxy", "collection", "install", archive, "--offline", "--no-deps", "-p", place)
    context.run(*install, cwd=copy.parent, env=galaxy)
    elsewhere = {**galaxy, "ANSIBLE_COLLECTIONS_PATH": str(place)}
    _read_all_documentation(context, place / "ansible_collections/kyma/mtls", elsewhere)
    playbooks = sorted((place / "ansible_collections/kyma/mtls/playbooks").glob("*.yml"))
    playbook_names = [f"{COLLECTION}.{playbook.stem}" for playbook in playbooks]
    context.run("ansible-playbook", "--syntax-check", *playbook_names, cwd=copy.parent, env=elsewhere)
    _as_galaxy_would(context, archive)
    return f"{archive.name}: {len(names)} files, {archive.stat().st_size // 1024} KiB"


def _as_galaxy_would(context: Context, archive: Path) -> None:
    """Galaxy's checks on upload; what it only warns of is in the log."""
    python = environment_of(context, "venv-importer", sys.executable, "tools/galaxy-importer.txt")
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    settings = BUILD / "galaxy-importer.cfg"
    # ansible-lint is a step of its own, and stricter.
    settings.write_text("[galaxy-importer]\nRUN_ANSIBLE_LINT = False\n", encoding="utf-8")
    env = {**_without_settings(), "PATH": path, "GALAXY_IMPORTER_CONFIG": str(settings)}
    output = context.run(
        *(python, "-m", "galaxy_importer.main", archive),
        cwd=archive.parent,
        env=env,
        reason="galaxy-importer refuses it",
    )
    if "Importer processing completed successfully" not in output:
        raise CheckError("galaxy-importer did not complete")


def molecule_scenarios() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


# Each scenario under one pair of Python and ansible-core, so that together they have seen all that are here.
SCENARIO_PYTHONS = {"kubernetes": OTHER_VERSIONS[-1], "lifecycle": CORE_2_20}


def molecule(name: str) -> t.Callable[[Context], str]:
    def run(context: Context) -> str:
        why_not = ROOT / "molecule" / name / "requires"
        if why_not.exists():
            _require(context, why_not)
        python = _scenario_python(context, name)
        # State of its own, so that two runs at once (another checkout, another scenario) do not meet.
        state = {"MOLECULE_EPHEMERAL_DIRECTORY": str(BUILD / "molecule" / name), "NO_COLOR": "1"}
        context.run("molecule", "test", "-s", name, env={**FROM_CHECKOUT, **first_on_path(python), **state})
        return core_of(context, python)

    return run


def _scenario_python(context: Context, name: str) -> Path:
    if name in SCENARIO_PYTHONS:
        try:
            return environment_with(context, SCENARIO_PYTHONS[name])
        except SkipError as exc:
            context.say(f"{exc}: under our own instead")
    return Path(sys.executable)


def _require(context: Context, script: Path) -> None:
    """A scenario that needs more than Python says so in an executable ``requires``: its words are the skip's reason."""
    try:
        context.run(script)
    except CheckError as exc:
        raise SkipError(str(exc).partition(": ")[2] or str(exc)) from exc
