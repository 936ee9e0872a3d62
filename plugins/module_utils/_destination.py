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
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes, require_regular, sync_directory
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

with contextlib.suppress(ImportError):  # the module's edge reports it
    from cryptography import x509

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"


def place_certificates(module: AnsibleModule, content: str) -> dict[str, t.Any]:
    """Make the file ``dest`` hold exactly ``content`` (certificates in PEM) and return the module's values for it.

    Only certificates are shown in the difference. Raises MtlsError when the file cannot be written.
    """
    try:
        dest = os.path.realpath(module.params["dest"])
    except ValueError as exc:  # a null byte
        raise MtlsError(f"The destination {module.params['dest']!r} is not the name of a file: {exc}.") from exc
    _check_place(dest, check_mode=module.check_mode)
    exists = Path(dest).exists()
    before = read_bytes(dest, what="former chain") if exists else b""
    differs = not exists or before != content.encode()
    result: dict[str, t.Any] = {"dest": module.params["dest"], "changed": differs}
    if module._diff:  # the only way to ask, and every module of ansible-core asks it so
        result["diff"] = {
            "before_header": dest,
            "after_header": dest,
            "before": certificates_only(before),
            "after": certificates_only(content.encode()),
        }
    if differs and not module.check_mode:
        if exists and module.params["backup"]:
            result["backup_file"] = module.backup_local(dest)
        _replace(module, dest, content.encode())
    if exists or not module.check_mode:
        arguments = module.load_file_common_arguments({**module.params, "path": dest})
        result["changed"] = module.set_fs_attributes_if_different(arguments, differs)
    return result


def certificates_only(data: bytes) -> str:
    """Return the certificates in ``data`` as PEM; of every other block only its kind, of other text only that it is."""
    shown: list[str] = []
    rest = data
    for block in load.pem_blocks(data):
        try:
            certificate = x509.load_der_x509_certificate(block.content or b"")
        except PARSE_ERRORS:
            shown.append(f"({block.label} block, not shown)\n")
        else:
            shown.append(describe.pem_of(certificate))
            rest = rest.replace(shown[-1].encode(), b"")
    if rest.strip():
        shown.append("(what is not a certificate is not shown)\n")
    return "".join(shown)


def _check_place(dest: str, *, check_mode: bool) -> None:
    require_regular(dest)
    if not check_mode and not Path(dest).parent.is_dir():  # a dry run may precede the directory's creation
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
