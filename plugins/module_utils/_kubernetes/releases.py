# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests of releases: fetched once, verified by SHA-256, and the same ones from then on.

A manifest without a known digest is refused, or trusted on first use and recorded. The record is a file in the
format of sha256sum, so that ``sha256sum --check`` reads it too.
"""

from __future__ import annotations

import hashlib
import re
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._curl import curl, join
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import ensure_directory, read_bytes, write_atomic

RECORD = "SHA256SUMS"
MANIFEST_MODE = 0o644
DIRECTORY_MODE = 0o755
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Fetch = t.Callable[[str], bytes]


@dataclass(frozen=True)
class Manifest:
    """One file of a release; ``path`` is relative to the directory, ``url`` empty when it has to be there already."""

    path: str
    url: str = ""
    sha256: str = ""
    moving: bool = False
    """Whether ``url`` may have another content next time, as that of a latest release: it is asked each time."""
    variable: str = ""
    """What a user sets to give the digest, for messages."""


@dataclass
class Downloads:
    """What became of the manifests: their digests by path, None where another file is still there (check mode)."""

    changed: bool = False
    digests: dict[str, str | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def obtain(
    directory: Path,
    manifests: t.Sequence[Manifest],
    *,
    fetch: Fetch,
    require_sha256: bool,
    check_only: bool,
    record: Path | None = None,
) -> Downloads:
    """Have ``manifests`` in ``directory``.

    A given digest always counts. Without ``require_sha256`` a manifest for which there is none is believed when it is
    first used, and has to be the same from then on: ``record`` has its digest (by default a file of ``directory``).
    With ``check_only`` nothing is written; what only its content tells is fetched nevertheless.
    Raises MtlsError when a digest is not known or not right; what was there is then untouched.
    """
    for manifest in manifests:
        _check_digest(manifest, required=require_sha256 and not manifest.moving)
    record = record or directory / RECORD
    recorded = read_record(record)
    for manifest in manifests:
        _check_source(manifest, _expected(manifest, recorded))
    found = Downloads()
    for manifest in manifests:
        obtained = _obtain(directory, manifest, _expected(manifest, recorded), fetch=fetch, check_only=check_only)
        found.digests[manifest.path] = obtained.expected
        found.changed |= obtained.changed
        if obtained.digest and not _expected(manifest, recorded) and not manifest.moving:
            found.changed = True
            if not check_only:
                recorded[manifest.path] = obtained.digest
                ensure_directory(record.parent, mode=DIRECTORY_MODE)
                write_record(record, recorded)
                found.warnings.append(
                    f"{manifest.url or directory / manifest.path} was trusted on first use. Its SHA-256 is "
                    f"{obtained.digest}: compare it with what others got. From now on only this file is accepted "
                    f"({record})."
                )
    return found


class _Downloaded(t.NamedTuple):
    """What became of one manifest: its digest, that of the file as it is for who reads it next, and any change."""

    digest: str
    expected: str | None
    changed: bool


def _expected(manifest: Manifest, recorded: t.Mapping[str, str]) -> str:
    return manifest.sha256.lower() or ("" if manifest.moving else recorded.get(manifest.path, ""))


def _obtain(directory: Path, manifest: Manifest, expected: str, *, fetch: Fetch, check_only: bool) -> _Downloaded:
    target = directory / manifest.path
    if not manifest.url:
        have = _digest(read_bytes(target, what="manifest"))
        _compare(have, expected, manifest, what=str(target), known=bool(manifest.sha256))
        return _Downloaded(have, have, changed=False)
    have = _digest(read_bytes(target, what="manifest")) if target.is_file() else ""
    if expected and have == expected:
        return _Downloaded(have, have, changed=False)
    if check_only and expected:
        return _Downloaded(expected, None if have else expected, changed=True)
    content = fetch(manifest.url)
    digest = _digest(content)
    _compare(digest, expected, manifest, what=manifest.url, known=bool(manifest.sha256))
    if have == digest:
        return _Downloaded(digest, digest, changed=False)
    if check_only:
        return _Downloaded(digest, None if have else digest, changed=True)
    ensure_directory(target.parent, mode=DIRECTORY_MODE)
    write_atomic(target, content, mode=MANIFEST_MODE)
    return _Downloaded(digest, digest, changed=True)


def read_record(path: Path) -> dict[str, str]:
    """Return the digests of ``path`` by file; none when there is no such file.

    Raises MtlsError when it cannot be understood: an expectation must not get lost.
    """
    if not path.exists():
        return {}
    lines = read_bytes(path, what="record of digests").decode(errors="replace").splitlines()
    matches = [_LINE.fullmatch(line) for line in lines if line.strip()]
    if not all(matches):
        raise MtlsError(f"{path} is not in the format of sha256sum. Remove it only if you trust the sources again.")
    return {match[2]: match[1] for match in matches if match}


def write_record(path: Path, digests: t.Mapping[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    write_atomic(path, "".join(lines).encode(), mode=MANIFEST_MODE)


def _check_digest(manifest: Manifest, *, required: bool) -> None:
    if manifest.sha256 and not _SHA256.fullmatch(manifest.sha256.lower()):
        raise MtlsError(f"The SHA-256 of {manifest.path} is '{manifest.sha256}', which is not 64 hexadecimal digits.")
    if required and not manifest.sha256:
        fetched = curl(manifest.url, options=["-sSfL"])
        source = f"{fetched} | sha256sum" if manifest.url else join(["sha256sum", str(manifest.path)])
        raise MtlsError(
            f"The SHA-256 of {manifest.url or manifest.path} is not known, and without it nobody would notice another "
            "file. "
            f"Compute it ({source}), compare it with what others got, and give it"
            + (f" as {manifest.variable}" if manifest.variable else "")
            + ". Or trust the file on first use, and only the same one from then on: "
            "modules_require_sha256=false.",
            unknown=manifest.path,
        )


def _check_source(manifest: Manifest, expected: str) -> None:
    if manifest.url.lower().startswith("http://") and not expected:
        raise MtlsError(
            f"{manifest.url} is fetched without TLS, and its SHA-256 is not known: anybody on the way could replace "
            "it. "
            "Use https://, or give its SHA-256" + (f" as {manifest.variable}." if manifest.variable else "."),
            unknown=manifest.path,
        )


def _compare(digest: str, expected: str, manifest: Manifest, *, what: str, known: bool) -> None:
    if not expected or digest == expected:
        return
    origin = "is expected" if known else "it had on first use"
    advice = (
        "If you know why it is another one (a mirror that names other images), give that digest as "
        f"{manifest.variable}."
        if manifest.variable
        else "If you know why it is another one, give that digest."
    )
    raise MtlsError(
        f"{what} has the SHA-256 {digest}, but {expected} {origin}. Nothing of it is used. Fetch it again from where "
        f"you trust it; if that gives the same, somebody has changed a release. {advice}",
        expected=expected,
        found=digest,
    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
