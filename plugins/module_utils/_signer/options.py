# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that say where a CA's key is."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import expand
from ansible_collections.kyma.mtls.plugins.module_utils._signer.command import CommandSigner
from ansible_collections.kyma.mtls.plugins.module_utils._signer.pkcs11 import Pkcs11Signer

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import Signer

# The argument spec of the suboptions, as in the documentation fragment.
OPTIONS: dict[str, t.Any] = {
    "pkcs11": {
        "type": "dict",
        "options": {
            "module": {"type": "path", "required": True},
            "token": {"type": "str", "required": True, "no_log": False},
            "serial": {"type": "str"},
            "label": {"type": "str", "required": True},
            "id": {"type": "str"},
            "pin": {"type": "str", "no_log": True},
        },
    },
    "command": {"type": "list", "elements": "str"},
    "public_key": {"type": "str", "no_log": False},
    "timeout": {"type": "int", "default": 30},
}


def parse(name: str, given: t.Mapping[str, t.Any] | None) -> Signer | None:
    """Return the signer that the option ``name`` describes, None when there is none. Raises MtlsError.

    Nothing is opened or started.
    """
    if not given or not any(given.get(part) for part in ("pkcs11", "command", "public_key")):
        return None
    token, argv = given.get("pkcs11"), given.get("command")
    if bool(token) == bool(argv):
        raise MtlsError(f"{name} has {'both' if token else 'neither'} pkcs11 and command. Give one of them.")
    if token:
        return Pkcs11Signer(
            name,
            Path(token["module"]),
            token["token"],
            token.get("serial") or None,
            token["label"],
            _identifier(f"{name}.pkcs11.id", token.get("id")),
            token.get("pin") or None,
        )
    timeout = given.get("timeout") or 0
    if timeout < 1:
        raise MtlsError(f"{name}.timeout is {timeout}, but must be 1 or more seconds.")
    if not given.get("public_key"):
        raise MtlsError(
            f"{name}.public_key is missing. A command only signs: give the public key that belongs to its key, in PEM "
            "or as the path of a file."
        )
    program, *arguments = map(str, t.cast("list[str]", argv))
    argv = (str(expand(program)) if program.startswith("~") else program, *arguments)
    return CommandSigner(name, argv, str(given["public_key"]), timeout)


def _identifier(name: str, text: str | None) -> bytes | None:
    try:
        return bytes.fromhex(text.replace(":", "")) if text else None
    except ValueError as exc:
        raise MtlsError(f"{name} is {text!r}, but must be hexadecimal digits, as pkcs11-tool shows them.") from exc
