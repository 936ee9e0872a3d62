# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's ``dest`` with the usual file options: compared, backed up and replaced in one step.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes, sync_directory

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"


def place_certificates(module: AnsibleModule, content: str) -> dict[str, t.Any]:
    """Make the file ``dest`` hold exactly ``content`` (certificates in PEM) and return the module's values for it.

    Only certificates are shown in the difference. Raises MtlsError when the file cannot be written.
    """
    dest = os.path.realpath(module.params["dest"])
    _check_place(dest)
    exists = Path(dest).exists()
    before = read_bytes(dest, what="former chain") if exists else b""
    differs = not exists or before != content.encode()
    result: dict[str, t.Any] = {"dest": module.params["dest"], "changed": differs}
    if module._diff:  # the only way to ask, and every module of ansible-core asks it so
        result["diff"] = {
            "before_header": dest,
            "after_header": dest,
            "before": certificates_only(before.decode("utf-8", "replace")),
            "after": certificates_only(content),
        }
    if differs and not module.check_mode:
        if exists and module.params["backup"]:
            result["backup_file"] = module.backup_local(dest)
        _replace(module, dest, content.encode())
    if exists or not module.check_mode:
        arguments = module.load_file_common_arguments({**module.params, "path": dest})
        result["changed"] = module.set_fs_attributes_if_different(arguments, differs)
    return result


def certificates_only(text: str) -> str:
    """Return the PEM certificates in ``text``; of every other block only its kind, of other text nothing."""
    shown: list[str] = []
    label = ""
    hidden = False
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(_BEGIN):
            label = stripped.removeprefix(_BEGIN).removesuffix(_DASHES)
            shown.append(line if label == "CERTIFICATE" else f"({label} block, not shown)")
        elif label == "CERTIFICATE":
            shown.append(line)
        elif not label and stripped:
            hidden = True
        if stripped.startswith(_END):
            label = ""
    if hidden:
        shown.append("(other text, not shown)")
    return "".join(f"{line}\n" for line in shown)


def _check_place(dest: str) -> None:
    if Path(dest).is_dir():
        raise MtlsError(f"The destination {dest} is a directory. Give the name of a file.", path=dest)
    if not Path(dest).parent.is_dir():
        raise MtlsError(f"The directory {Path(dest).parent} does not exist. Create it first.", path=dest)


def _replace(module: AnsibleModule, dest: str, data: bytes) -> None:
    """Write beside ``dest``, flush to the disk, then let Ansible move it (it keeps mode, owner and SELinux context)."""
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{Path(dest).name}.", dir=Path(dest).parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        module.atomic_move(temporary, dest, unsafe_writes=module.params["unsafe_writes"])
        temporary = ""
        sync_directory(Path(dest).parent)
    except OSError as exc:
        raise MtlsError(f"The file {dest} cannot be written: {exc.strerror}.", path=dest) from exc
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
