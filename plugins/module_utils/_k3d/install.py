# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Programs that are one file of a release: fetched, verified by SHA-256, and put in place in one step.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import re
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import ensure_directory, write_atomic

PROGRAM_MODE = 0o755
DIRECTORY_MODE = 0o755
SYSTEMS: t.Mapping[str, str] = {"Linux": "linux", "Darwin": "darwin"}
MACHINES: t.Mapping[str, str] = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_SHA256 = re.compile(r"[0-9a-f]{64}")

Fetch = t.Callable[[str], bytes]


@dataclass(frozen=True)
class Tool:
    """A program; ``sha256`` has a digest by platform, such as ``linux-amd64``."""

    name: str
    url: str
    sha256: t.Mapping[str, str]
    checksums_url: str = ""


@dataclass(frozen=True)
class Platform:
    os: str
    arch: str

    def __str__(self) -> str:
        return f"{self.os}-{self.arch}"

    def fill(self, url: str) -> str:
        return url.replace("{os}", self.os).replace("{arch}", self.arch)


def this_platform(system: str, machine: str) -> Platform:
    """Return the platform in the words of Go's releases.

    Raises MtlsError for one without them.
    """
    if system not in SYSTEMS or machine.lower() not in MACHINES:
        raise MtlsError(
            f"The tools are released for Linux and macOS on amd64 and arm64, not for {system} on {machine}. "
            "Install them yourself, and leave cluster_install_tools out."
        )
    return Platform(SYSTEMS[system], MACHINES[machine.lower()])


def install(directory: Path, tool: Tool, *, platform: Platform, fetch: Fetch, check_only: bool) -> bool:
    """Have ``tool`` in ``directory``; return whether that changed anything, or would.

    Nothing is fetched when the file there has the digest of the table. Raises MtlsError when a digest is not right or
    not known; what was there is then untouched.
    """
    target = directory / tool.name
    known = tool.sha256.get(str(platform), "").lower()
    if known and not _SHA256.fullmatch(known):
        raise MtlsError(f"The SHA-256 of {tool.name} for {platform} is '{known}', which is not 64 hexadecimal digits.")
    have = _digest(target.read_bytes()) if target.is_file() else ""
    executable = bool(have) and target.stat().st_mode & 0o777 == PROGRAM_MODE
    if known and have == known and executable:
        return False
    if check_only and known:
        return True
    url = platform.fill(tool.url)
    expected = known or released(tool, url=url, platform=platform, fetch=fetch)
    if have == expected and executable:
        return False
    if check_only:
        return True
    content = fetch(url)
    found = _digest(content)
    if found != expected:
        raise MtlsError(
            f"{url} has the SHA-256 {found}, but {expected} is expected. It was not installed. "
            "Fetch it again; if that gives the same, do not trust it.",
            expected=expected,
            found=found,
        )
    if not directory.is_dir():
        ensure_directory(directory, mode=DIRECTORY_MODE)
    write_atomic(target, content, mode=PROGRAM_MODE)
    return True


def released(tool: Tool, *, url: str, platform: Platform, fetch: Fetch) -> str:
    """Return the digest in the file of checksums that the release itself has.

    Raises MtlsError when there is none.
    """
    if not tool.checksums_url:
        raise MtlsError(f"There is no SHA-256 of {tool.name} for {platform}. Give one.")
    checksums_url = platform.fill(tool.checksums_url)
    file_name = url.rpartition("/")[2]
    digest = find_checksum(fetch(checksums_url).decode(errors="replace"), file_name)
    if not digest:
        raise MtlsError(f"{checksums_url} has no SHA-256 of {file_name}. Give one for {platform}.")
    return digest


def find_checksum(text: str, file_name: str) -> str:
    """Return the digest of ``file_name`` in ``text``, in the format of sha256sum, or a digest that stands alone.

    A name may have a directory before it: k3d's releases have ``_dist/``.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) == 1 and _SHA256.fullmatch(lines[0][0].lower()):
        return lines[0][0].lower()
    for words in lines:
        named = len(words) == 2 and words[1].lstrip("*").rpartition("/")[2] == file_name
        if named and _SHA256.fullmatch(words[0].lower()):
            return words[0].lower()
    return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
