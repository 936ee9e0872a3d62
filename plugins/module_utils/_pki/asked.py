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
from ansible_collections.kyma.mtls.plugins.module_utils._pki import demand, holders, keys, wanted
from ansible_collections.kyma.mtls.plugins.module_utils._pki.authority import Authority
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import is_reference_name

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.placement import Placement
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.provided import Pair, Source

Parameters: t.TypeAlias = t.Mapping[str, t.Any]

_PRIVATE_KEY = "PRIVATE KEY-----"
_PROVIDED = ("certificate", "key", "key_content", "chain")


def from_parameters(given: Parameters, *, check_mode: bool, now: datetime.datetime) -> demand.Demand:
    """Turn the module's parameters into a demand. Raises MtlsError naming what is not possible.

    What is provided is read and checked here, before anything else is looked at.
    """
    wanted.refuse_unwritable(given)
    usage, directory = given["usage"], Path(given["directory"])
    names = _Names(given["variable_prefix"])
    _refuse_exposed_keys(given, names)
    certificates = holders.items_of(
        given["certificates"],
        usage=usage,
        directory=directory,
        defaults=given["defaults"],
        rekey=given["rekey"],
    )
    placement: Placement | None = None
    if given["provided"] is not None:
        placement, authorities = _provided(given, names, now)
        certificates = certificates if authorities else ()
    else:
        if strangers := [one["name"] for one in given["certificates"] if any(one.get(part) for part in _PROVIDED)]:
            raise MtlsError(
                f"A finished certificate or key is given for {', '.join(strangers)}, but the CA is not provided. "
                f"{names.provide}, or leave them out. Nothing was changed."
            )
        authorities = _authorities(given, names, _constraints(given, certificates), now)
    _refuse_impossible_numbers(given, names, now)
    _refuse_impossible_hosts(given, names)
    return demand.Demand(
        usage=usage,
        directory=directory,
        state=given["state"],
        authorities=authorities,
        provided=placement,
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


def exposed_keys(given: Parameters) -> list[str]:
    """Return the values with a private key in an option that is not for one, and so is not kept out of output."""
    return [value for _option, value in _exposed(given, _Names(None))]


def _exposed(given: Parameters, names: _Names) -> list[tuple[str, str]]:
    """Give option and value of each key that is where certificates, or the path of a file, belong."""
    found = [(names.of(f"provided.{part}"), (given["provided"] or {}).get(part)) for part in ("ca", "ca_key")]
    for one in given["certificates"]:
        options = _pair_options(str(one["name"]), given, names)
        found += [(options[part], one.get(part)) for part in ("certificate", "chain", "key")]
    return [(option, str(value)) for option, value in found if value and _PRIVATE_KEY in str(value)]


def _refuse_exposed_keys(given: Parameters, names: _Names) -> None:
    if exposed := _exposed(given, names):
        raise MtlsError(
            f"{', '.join(option for option, _value in exposed)} holds a private key, which output and logs would show. "
            "Give only certificates, or the path of a file, there, and the content of the key as the option whose name "
            "ends in key_content, which no output shows. Nothing was changed."
        )


def _pair_options(name: str, given: Parameters, names: _Names) -> dict[str, str]:
    """What the parts of a finished certificate are called where the caller's users set them."""
    if given["usage"] == "server":
        return {part: names.of(f"provided.{part}") for part in _PROVIDED}
    return {part: f"{part} of {name} in {names.of('clients')}" for part in _PROVIDED}


def _provided(given: Parameters, names: _Names, now: datetime.datetime) -> tuple[Placement, tuple[Authority, ...]]:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import provided  # noqa: PLC0415  (when needed)

    if given["state"] not in {demand.PRESENT, demand.REVOKED}:
        raise MtlsError(
            "The CA is provided, so it is not rotated here. Provide the next one when its owner has made it. "
            "Nothing was changed."
        )
    parts = given["provided"]
    if not parts["ca"]:
        raise MtlsError(f"{names.of('provided.ca')} is missing. Provide the CA certificates. Nothing was changed.")

    def source(option: str, value: t.Any) -> provided.Source | None:
        return provided.Source(option, str(value)) if value else None

    wanted.refuse_names([str(one["name"]) for one in given["certificates"]])
    authority_key = source(names.of("provided.ca_key"), parts["ca_key"])
    authority_key = authority_key or source(names.of("provided.ca_key_content"), parts["ca_key_content"])
    pairs = [] if authority_key else [_pair(one, given, names, source) for one in given["certificates"]]
    if not authority_key and (given["revoke"] or given["rekey"]):
        raise MtlsError(
            "Nobody can be revoked or given a new certificate here: the CA's key is not provided. Ask the CA's owner, "
            f"or set {names.of('provided.ca_key')}. Nothing was changed."
        )
    return provided.preflight(
        provided.Given(
            usage=given["usage"],
            directory=Path(given["directory"]),
            authorities=provided.Source(names.of("provided.ca"), parts["ca"]),
            authority_key=authority_key,
            passphrase=given["ca_key_passphrase"] or None,
            pairs=tuple(pairs),
            hostnames=tuple(given["hostnames"]),
            include_root=given["include_root"],
        ),
        now=now,
    )


def _pair(one: Parameters, given: Parameters, names: _Names, source: t.Callable[[str, t.Any], Source | None]) -> Pair:
    """A holder's finished certificate and key; where the CA's key is not provided, everybody needs them."""
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import provided  # noqa: PLC0415  (when needed)

    name = str(one["name"])
    option = _pair_options(name, given, names)
    certificate, chain = (
        source(option["certificate"], one.get("certificate")),
        source(option["chain"], one.get("chain")),
    )
    key = source(option["key"], one.get("key")) or source(option["key_content"], one.get("key_content"))
    if certificate is None or key is None:
        lack = option["certificate"] if certificate is None else option["key"]
        raise MtlsError(
            f"Certificate {name} cannot be issued here, because the CA's key is not provided, and {lack} is missing. "
            f"Provide both the certificate and its key, or the CA's key as {names.of('provided.ca_key')}, or take "
            f"{name} off the list. Nothing was changed."
        )
    if one.get("p12") or one.get("state") == "absent":
        what, out = ("a PKCS#12 file is not made", "p12") if one.get("p12") else ("its files are not removed", "it")
        raise MtlsError(
            f"Certificate {name} is provided, so {what} here. Leave {out} out of the list. Nothing was changed."
        )
    return provided.Pair(name, certificate, key, one.get("key_passphrase") or None, chain)


class _Names:
    """What the options are called where the caller's users set them, for messages."""

    def __init__(self, prefix: str | None) -> None:
        self._prefix = prefix

    def of(self, option: str) -> str:
        return f"{self._prefix}_{option.replace('.', '_')}" if self._prefix else option

    @property
    def provide(self) -> str:
        """How to say that the CA is provided."""
        return f"Set {self._prefix}_provider to provided" if self._prefix else "Set provided"


def _refuse_impossible_numbers(given: Parameters, names: _Names, now: datetime.datetime) -> None:
    try:
        for option in ("grace_days", "crl_days"):
            wanted.refuse_endless(names.of(option), given[option], now)
        if given["grace_days"] < 0:
            raise MtlsError(f"{names.of('grace_days')} is {given['grace_days']}, but must be 0 or more.")
    except MtlsError as exc:
        raise MtlsError(f"{exc} Nothing was changed.") from exc
    if len((given["ca_key_passphrase"] or "").encode()) > keys.PASSPHRASE_MAXIMUM_BYTES:
        raise MtlsError(
            f"{names.of('ca_key_passphrase')} is longer than {keys.PASSPHRASE_MAXIMUM_BYTES} bytes, which OpenSSL does "
            "not support. Set a shorter one. Nothing was changed."
        )


def _refuse_impossible_hosts(given: Parameters, names: _Names) -> None:
    for host in given["hostnames"]:
        if not is_reference_name(host):
            raise MtlsError(
                f"{names.of('hostnames')} has {host!r}, which is no host name, IP address, URI or mailbox. Labels of "
                "a host name are letters, digits and hyphens, without underscores. Correct it. Nothing was changed."
            )


def _authorities(
    given: Parameters, names: _Names, constraints: x509.NameConstraints | None, now: datetime.datetime
) -> tuple[Authority, ...]:
    usage, root, intermediate = given["usage"], given["ca"], given["intermediate"]
    if root is None:
        raise MtlsError("ca is missing. Say which CA is wanted, at least its subject.")
    spec = _key_spec(root)
    key_variables = f"{names.of('ca.key_type')}, {names.of('ca.key_size')} and {names.of('ca.curve')}"
    found = [(f"{usage} root CA", "ca", root, "ca.subject")]
    if intermediate is not None:
        found.append((f"{usage} intermediate CA", "intermediate", intermediate, "intermediate.subject"))
    subjects = {
        variable: _subject_of(one, names.of(variable), names.of(variable.replace("subject", "days")), now)
        for _title, _basename, one, variable in found
    }
    return tuple(
        Authority(
            title=title,
            basename=basename,
            subject=subjects[variable],
            key=spec,
            days=one["days"],
            constraints=constraints,
            subject_variable=names.of(variable),
            key_variables=key_variables,
        )
        for title, basename, one, variable in found
    )


def _subject_of(authority: Parameters, subject_variable: str, days_variable: str, now: datetime.datetime) -> x509.Name:
    if authority["days"] < 1:
        raise MtlsError(f"{days_variable} is {authority['days']}, but a CA lives 1 day or more. Nothing was changed.")
    try:
        wanted.refuse_endless(days_variable, authority["days"], now)
    except MtlsError as exc:
        raise MtlsError(f"{exc} Nothing was changed.") from exc
    try:
        return wanted.parse_subject(authority["subject"])
    except MtlsError as exc:
        raise MtlsError(f"{subject_variable} is not possible: {exc} Nothing was changed.") from exc


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
        wanted.parse_sans([name for one in certificates for name in one.get("sans") or ()]),
    )
