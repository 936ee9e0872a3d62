# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build the collection's artifact so that the same commit gives the same bytes, whoever builds it, and when.

ansible-galaxy packs the files' own times, in the directory's order; here the archive is packed again, sorted, with the
commit's time. The contents and their checksums inside (MANIFEST.json, FILES.json) are ansible-galaxy's.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"


def build(workplace: Path) -> Path:
    """ansible-galaxy's artifact of the last commit."""
    source = workplace / "source"
    source.mkdir()
    archive = workplace / "commit.tar"
    subprocess.run(["git", "archive", "--output", str(archive), "HEAD"], cwd=ROOT, check=True)
    with tarfile.open(archive) as tar:
        # Before Python 3.11.4 there is no filter; an archive made by git needs none.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(source)  # noqa: S202  (git made it)
    settings = workplace / "ansible.cfg"
    settings.touch()
    subprocess.run(
        ["ansible-galaxy", "collection", "build", "--output-path", str(workplace)],
        cwd=source,
        env={**os.environ, "ANSIBLE_CONFIG": str(settings), "ANSIBLE_HOME": str(workplace / "home")},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return next(workplace.glob("*.tar.gz"))


def sorted_document(data: bytes) -> bytes:
    """FILES.json lists files as the directory gave them: order them by name."""
    document = json.loads(data)
    document["files"].sort(key=lambda entry: entry["name"])
    return json.dumps(document, indent=True).encode()


def read(archive: Path) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(archive) as tar:
        return {member.name: (member, _content(tar, member)) for member in tar}


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.isfile() else None
    return stream.read() if stream else b""


def repack(archive: Path, target: Path, when: int) -> None:
    members = read(archive)
    info, data = members["FILES.json"]
    members["FILES.json"] = (info, sorted_document(data))
    info, data = members["MANIFEST.json"]
    manifest = json.loads(data)
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(members["FILES.json"][1]).hexdigest()
    members["MANIFEST.json"] = (info, json.dumps(manifest, indent=True).encode())
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=when, compresslevel=9) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for name in sorted(members):
            info, data = members[name]
            info.mtime, info.size = when, len(data)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            tar.addfile(info, fileobj=io.BytesIO(data))


def main() -> None:
    when = int(
        os.environ.get("SOURCE_DATE_EPOCH")
        or subprocess.run(
            ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    )
    DIST.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        built = build(Path(directory))
        target = DIST / built.name
        partial = target.with_suffix(".part")
        repack(built, partial, when)
        shutil.move(partial, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(f"{target.name}.sha256").write_text(f"{digest}  {target.name}\n", encoding="utf-8")
    print(f"{target.relative_to(ROOT)}\nsha256 {digest}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, subprocess.CalledProcessError) as exc:
        sys.exit(f"make: the artifact was not built: {exc}")
