# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the options of a module call to what is demanded of one side of the PKI.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki import demand, holders, keys
from ansible_collections.kyma.mtls.plugins.module_utils._pki.authority import Authority

if t.TYPE_CHECKING:
    from cryptography import x509

Parameters: t.TypeAlias = t.Mapping[str, t.Any]


def from_parameters(given: Parameters, *, check_mode: bool) -> demand.Demand:
    """Turn the module's parameters into a demand. Raises MtlsError naming what is not possible."""
    usage, directory = given["usage"], Path(given["directory"])
    names = _Names(given["variable_prefix"])
    certificates = holders.items_of(
        given["certificates"],
        usage=usage,
        directory=directory,
        defaults=given["defaults"],
        rekey=given["rekey"],
    )
    return demand.Demand(
        usage=usage,
        directory=directory,
        state=given["state"],
        authorities=_authorities(given, names, _constraints(given, certificates)),
        passphrase=given["ca_key_passphrase"] or None,
        certificates=certificates,
        hostnames=tuple(given["hostnames"]),
        include_root=given["include_root"],
        grace_days=given["grace_days"],
        crl_days=given["crl_days"],
        crl_refresh_before=given["crl_refresh_before"],
        revoke=tuple(dict.fromkeys(given["revoke"])),
        rekey=tuple(given["rekey"]),
        concurrency=given["concurrency"],
        check_mode=check_mode,
        permitted_variable=names.of("permitted_names"),
    )


class _Names:
    """What the options are called where the caller's users set them, for messages."""

    def __init__(self, prefix: str | None) -> None:
        self._prefix = prefix

    def of(self, option: str) -> str:
        return f"{self._prefix}_{option.replace('.', '_')}" if self._prefix else option


def _authorities(given: Parameters, names: _Names, constraints: x509.NameConstraints | None) -> tuple[Authority, ...]:
    usage, root, intermediate = given["usage"], given["ca"], given["intermediate"]
    if root is None:
        raise MtlsError("ca is missing. Say which CA is wanted, at least its subject.")
    spec = _key_spec(root)
    key_variables = f"{names.of('ca.key_type')}, {names.of('ca.key_size')} and {names.of('ca.curve')}"
    wanted = [(f"{usage} root CA", "ca", root, "ca.subject")]
    if intermediate is not None:
        wanted.append((f"{usage} intermediate CA", "intermediate", intermediate, "intermediate.subject"))
    return tuple(
        Authority(
            title=title,
            basename=basename,
            subject=tuple(one["subject"]),
            key=spec,
            days=one["days"],
            constraints=constraints,
            subject_variable=names.of(variable),
            key_variables=key_variables,
        )
        for title, basename, one, variable in wanted
    )


def _key_spec(root: Parameters) -> keys.KeySpec:
    kind = root["key_type"]
    if kind == "RSA":
        keys.require_size(root["key_size"])
        return keys.KeySpec("RSA", size=root["key_size"])
    return keys.KeySpec("ECDSA", curve=root["curve"]) if kind == "ECDSA" else keys.KeySpec("Ed25519")


def _constraints(given: Parameters, certificates: t.Sequence[Parameters]) -> x509.NameConstraints | None:
    """The name constraints of CAs that are made: by default those of the server's own names, and none for clients."""
    is_wanted = given["name_constraints"]
    if is_wanted is None:
        is_wanted = given["usage"] == "server"
    if not is_wanted:
        return None
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import name_constraints  # noqa: PLC0415  (when needed)

    return name_constraints.permitting(
        name_constraints.parse_subtrees(given["permitted_names"]),
        name_constraints.parse_sans(name for one in certificates for name in one.get("sans") or ()),
    )
