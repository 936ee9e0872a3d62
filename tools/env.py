# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make or complete the virtual environment; called by tools/env with the Python that was chosen.

pip brings uv, checked by its pinned hash, and uv brings the rest, likewise: it takes seconds where pip takes minutes.
What is complete is stamped at the end, so whatever interrupts this is made good by the next run.
Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

VENV = Path(".venv")
BUILD = Path(".build")
PYTHON_MARK = ".python"
IMPORTED = ("ansible", "cryptography", "jinja2", "packaging", "yaml")


class SetupError(Exception):
    """One line for the person at the terminal."""


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def run(command: list[str], *, env: dict[str, str], what: str) -> None:
    """Run ``command``; its own words are shown only when it fails, above our line."""
    result = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode:
        say(result.stdout.strip())
        raise SetupError(f"{what} failed (exit code {result.returncode}); {advice(result.stdout)}.")


def advice(output: str) -> str:
    """Say what to do, by what the installer printed."""
    text = output.lower()
    if "hash" in text and ("mismatch" in text or "do not match" in text):
        return "the index served other files than the pinned ones: look at who is between you and it, then run again"
    if "no space left" in text:
        return "free some disk space (about 800 MB are needed), then run again"
    if "permission denied" in text:
        return "make the checkout and the caches of pip and uv writable for you, then run again"
    unreachable = (
        "connection", "connect error", "network", "dns", "resolve", "timed out", "timeout",
        "certificate", "tls", "proxy", "no matching distribution", "not found in the package registry", "offline",
    )  # fmt: skip
    if any(word in text for word in unreachable):
        return (
            "the package index could not be used: check the connection, or name a mirror (PIP_INDEX_URL), "
            "a proxy (HTTPS_PROXY) or its CA (SSL_CERT_FILE), then run again"
        )
    return "mend what is said above, then run again"


def make_venv() -> None:
    say(f"Making .venv with Python {sys.version.split()[0]} ({sys.executable}) ...")
    shutil.rmtree(VENV, ignore_errors=True)
    if VENV.exists():
        raise SetupError(f"{VENV.resolve()} is in the way and cannot be removed; remove it, then run again.")
    run([sys.executable, "-m", "venv", str(VENV)], env=dict(os.environ), what="Making the virtual environment")
    (VENV / PYTHON_MARK).write_text(f"{sys.executable}\n", encoding="utf-8")


def venv_is_good() -> bool:
    """Whether .venv is whole and made by this Python; a half-made one lacks the mark."""
    try:
        if (VENV / PYTHON_MARK).read_text(encoding="utf-8").strip() != sys.executable:
            return False
        probe = "import sys, pip; print(*sys.version_info[:2])"
        found = subprocess.run(
            [str(VENV / "bin/python"), "-I", "-c", probe], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return found.stdout.split() == [str(part) for part in sys.version_info[:2]]


def index_settings(python: str) -> dict[str, str]:
    """Give uv what the user told pip (uv does not read pip's settings): index, further indexes, CA file."""
    result = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    settings: dict[str, str] = {}
    for scope in ("global", "install", ":env:"):  # later ones win, as in pip
        for match in re.finditer(rf"^{re.escape(scope)}\.([\w-]+)='(.*)'$", result.stdout, re.MULTILINE):
            settings[match[1]] = match[2]
    wanted = {
        "UV_DEFAULT_INDEX": settings.get("index-url"),
        "UV_INDEX": settings.get("extra-index-url", "").replace("\\n", " ").strip(),
        "SSL_CERT_FILE": settings.get("cert"),
    }
    return {name: value for name, value in wanted.items() if value and name not in os.environ}


def pinned_uv(requirements: Path) -> str:
    """The entry of uv, hashes included, as a requirements file of its own."""
    entry = re.search(r"^uv==\S+(?: \\\n    --hash=\S+)+$", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    if entry is None:
        raise SetupError(f"{requirements} pins no uv with hashes; `make pins` renews it.")
    return f"{entry[0]}\n"


def install_uv(python: str, requirements: Path, env: dict[str, str]) -> str:
    """Install the pinned uv unless it is there; return its path."""
    uv = VENV / "bin" / "uv"
    entry = pinned_uv(requirements)
    version = entry.split()[0].removeprefix("uv==")
    if uv.exists():
        found = subprocess.run([str(uv), "--version"], capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.split()[1:2] == [version]:
            return str(uv)
    pins = VENV / "uv.txt"
    pins.write_text(entry, encoding="utf-8")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*install, "--only-binary=uv", "--require-hashes", "-r", str(pins)], env=env, what="Installing uv")
    return str(uv)


def compile_what_every_run_imports(python: str, env: dict[str, str]) -> None:
    """Make byte code of it, for users who forbid Python to write any; most other files here are never imported."""
    places = [str(path) for name in IMPORTED for path in VENV.glob(f"lib/python*/site-packages/{name}")]
    run([python, "-m", "compileall", "-q", "-j", "0", *places], env=env, what="Compiling what was installed")


def main(use: str, requirements: Path, stamp: str) -> None:
    started = time.monotonic()
    if not venv_is_good():
        make_venv()
    ready = VENV / f".ready-{use}"
    ready.unlink(missing_ok=True)
    python = str(VENV / "bin" / "python")
    env = {**os.environ, **index_settings(python)}
    env.pop("VIRTUAL_ENV", None)
    uv = install_uv(python, requirements, env)
    say(f"Installing {requirements} ...")
    install = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(requirements)]
    run(install, env=env, what=f"Installing {requirements}")
    compile_what_every_run_imports(python, env)
    ready.write_text(f"{stamp}\n", encoding="utf-8")
    say(f"Ready in {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    try:
        BUILD.mkdir(exist_ok=True)
        with (BUILD / "env.lock").open("w") as lock:
            # Two makes at once: the second waits, then finds the work done or completes it.
            fcntl.flock(lock, fcntl.LOCK_EX)
            main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
    except (SetupError, OSError) as exc:
        sys.exit(f"make: {exc}")
    except KeyboardInterrupt:
        sys.exit("make: interrupted; the next run completes the installation.")
