# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the options of a module call to what a PKI should be."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._client_list import read_client_list, secrets_of
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, before_any_change
from ansible_collections.kyma.mtls.plugins.module_utils._pki import certificate_spec, keys, spec, subject_names
from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca_keys import CaKeys
from ansible_collections.kyma.mtls.plugins.module_utils._signer import options as signers
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import system_roots
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import pem_of
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import is_reference_name

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki import outside_ca
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.cluster_signer import ClusterRequests
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.external_ca import Pair, Source
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.foreign_lists import ListSource
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.request_issuer import RequestSigner

Parameters: t.TypeAlias = t.Mapping[str, t.Any]

_PRIVATE_KEY = "PRIVATE KEY-----"
_FINISHED = ("certificate", "key", "key_content", "chain")


@before_any_change()
def to_spec(given: Parameters, *, now: datetime.datetime, requests: ClusterRequests | None = None) -> spec.PkiSpec:
    """Turn the module's parameters into a spec. Raises MtlsError naming what is not possible.

    What is provided is read and checked here, before anything else is looked at. ``requests`` is what signs in a
    cluster.
    """
    certificate_spec.refuse_unwritable(given)
    _refuse_exposed_keys(given)
    _refuse_numbers(given, now)
    _refuse_hosts(given)
    usage, directory = given["usage"], Path(given["directory"])
    ca_keys = _ca_keys(given)
    items = _items(given, directory)
    certificates: tuple[certificate_spec.CertificateSpec, ...] = ()
    external = outside = signer = None
    if given["vault"] or requests is not None:
        signer, outside = _outside(given, requests, now)
        external, authorities = outside.external, outside.specs
        certificates = certificate_spec.parse(items, now=now, is_outside=True)
    elif given["provided"] is not None:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki import external_ca  # noqa: PLC0415  (most runs do without)

        external, authorities = external_ca.check(_provided(given), now=now)
        if authorities:
            certificates = certificate_spec.parse(items, now=now)
    else:
        if unprovided := [item["name"] for item in given["certificates"] if any(item.get(part) for part in _FINISHED)]:
            raise MtlsError(
                f"A finished certificate or key is given for {', '.join(unprovided)}, but the CA is not provided. "
                "Set provided, or leave them out."
            )
        certificates = certificate_spec.parse(items, now=now)
        authorities = _authorities(given, _constraints(given, certificates), now)
    return spec.PkiSpec(
        usage=usage,
        directory=directory,
        state=given["state"],
        authorities=authorities,
        certificates=certificates,
        passphrase=given["ca_key_passphrase"] or None,
        ca_keys=ca_keys,
        external=external,
        provider=external.provider if external is not None else spec.SELF_SIGNED,
        hostnames=tuple(given["hostnames"]),
        include_root=given["include_root"],
        grace_days=given["grace_days"],
        crl_days=given["crl_days"],
        crl_refresh_before=given["crl_refresh_before"],
        revoke=tuple(dict.fromkeys(given["revoke"])),
        rekey=tuple(given["rekey"]),
        signer=signer,
        list_sources=_list_sources(given, signer if given["vault"] else None, is_outside=signer is not None),
        publishes_lists=bool(given["crl_url"]),
        is_held_back=outside is not None and outside.is_held_back,
        concurrency=given["concurrency"],
    )


def with_clients_of_file(given: Parameters) -> Parameters:
    """Return the module's parameters with the clients of ``certificates_file`` among the certificates.

    Raises MtlsError naming the lines of the file that are not clients.
    """
    if not given["certificates_file"]:
        return given
    if given["usage"] != "client":
        raise MtlsError("certificates_file is for clients only, and usage is server. Set certificates instead.")
    return {**given, "certificates": [*given["certificates"], *read_client_list(given["certificates_file"])]}


def secrets_in(given: Parameters) -> list[str]:
    """Return the secrets among the certificates: those of a file are unknown to Ansible's own arguments."""
    return [*secrets_of(given["certificates"]), *exposed_keys(given)]


def _ca_keys(given: Parameters) -> CaKeys:
    """Give the CA keys that are not files. Raises MtlsError for what cannot be; no token is opened."""
    options = ("ca_key", "intermediate_key")
    listed = given["previous_ca_keys"] or []
    if not listed and not any(given[option] for option in options):
        return CaKeys()
    ca, intermediate = (signers.parse(option, given[option]) for option in options)
    previous = [signers.parse(f"previous_ca_keys[{number}]", signer) for number, signer in enumerate(listed)]
    if given["provided"] is not None:
        raise MtlsError(
            "ca_key is for CAs that are created here, and the CA is provided. Provide its key as provided.ca_key, or "
            "leave one of the two out."
        )
    if intermediate is not None and given["intermediate"] is None:
        raise MtlsError(
            "intermediate_key is given, but there is no intermediate CA. Give intermediate too, or name the root's "
            "key as ca_key."
        )
    if given["ca"] is not None and given["ca"]["key_type"] == "Ed25519" and (ca or intermediate):
        raise MtlsError(
            "ca.key_type is Ed25519, but a CA key that is not a file must be an RSA or ECDSA key. Set ca.key_type to "
            "what the key is."
        )
    return CaKeys(ca, intermediate, tuple(signer for signer in previous if signer is not None))


def _outside(
    given: Parameters, requests: ClusterRequests | None, now: datetime.datetime
) -> tuple[RequestSigner, outside_ca.OutsideCa]:
    """Return the external issuer and its CA. Raises MtlsError when neither it nor what is stored has one."""
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import (  # noqa: PLC0415  (most runs do without)
        cluster_signer,
        outside_ca,
        vault,
    )

    if given["state"] not in {spec.PRESENT, spec.REVOKED}:
        raise MtlsError(
            "The CA is at the issuer, so it is not rotated here: when the issuer has another root CA, the next runs go "
            "over to it."
        )
    provided = given["provided"] or {}
    if provided.get("ca_key") or provided.get("ca_key_content"):
        raise MtlsError("provided has the key of a CA, and there is an external issuer too. Set one of the two.")
    source = _source("provided.ca", provided.get("ca"))
    signer: RequestSigner
    if requests is None:
        signer = vault.VaultClient(vault.to_pki(given["vault"]))
    else:
        if source is None:
            raise MtlsError(
                "provided.ca is missing: the CA of the issuer, the one that issues first, then those above it. "
                "cert-manager names it only beside a certificate."
            )
        if given["revoke"]:
            raise MtlsError(
                f"{requests.title} does not revoke certificates. Use short lifetimes, or have the CA's owner revoke "
                "them and give its list as crl_url."
            )
        signer = cluster_signer.ClusterSigner(requests, "".join(map(pem_of, source.certificates())).encode())
        source = None
    found = outside_ca.find(
        given["usage"],
        Path(given["directory"]),
        signer,
        provider="vault" if requests is None else "cert_manager",
        provided=source,
        now=now,
    )
    return signer, found


def _list_sources(given: Parameters, signer: t.Any, *, is_outside: bool) -> tuple[ListSource, ...]:
    urls = tuple(given["crl_url"] or ())
    if not urls and (signer is None or given["usage"] != "client"):
        return ()
    if urls and given["usage"] != "client":
        raise MtlsError("crl_url is for clients: no client asks a list whether the server is revoked. Leave it out.")
    if urls and not is_outside and given["provided"] is None:
        raise MtlsError(
            "crl_url is for CAs whose key is elsewhere, but this CA is created here and signs its own revocation list. "
            "Leave it out."
        )
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import foreign_lists  # noqa: PLC0415  (most runs do without)

    ca_file = str((given["vault"] or {}).get("ca_file") or "")
    sources: list[ListSource] = [foreign_lists.UrlSource(urls, ca_file)] if urls else []
    return (*sources, *((signer,) if signer is not None else ()))


def exposed_keys(given: Parameters) -> list[str]:
    """Return the values with a private key in an option that is not for one, and so is not kept out of output."""
    return [value for _option, value in _exposed(given)]


def _exposed(given: Parameters) -> list[tuple[str, str]]:
    """Give option and value of each key that is where certificates, or the path of a file, belong."""
    found = [(f"provided.{part}", (given["provided"] or {}).get(part)) for part in ("ca", "ca_key")]
    for item in given["certificates"]:
        found += [(_option(item, part), item.get(part)) for part in ("certificate", "chain", "key")]
    return [(option, str(value)) for option, value in found if value and _PRIVATE_KEY in str(value)]


def _refuse_exposed_keys(given: Parameters) -> None:
    if exposed := _exposed(given):
        raise MtlsError(
            f"{', '.join(option for option, _value in exposed)} holds a private key, which output and logs would show. "
            "Give only certificates, or the path of a file, there, and the content of the key as the option whose name "
            "ends in key_content, which no output shows."
        )


def _option(item: Parameters, part: str) -> str:
    """What a part of a finished certificate is called."""
    return f"{part} of {item['name']} in certificates"


def _refuse_numbers(given: Parameters, now: datetime.datetime) -> None:
    for option in ("grace_days", "crl_days"):
        certificate_spec.refuse_endless(option, given[option], now)
    if given["grace_days"] < 0:
        raise MtlsError(f"grace_days is {given['grace_days']}, but must be 0 or more.")
    if len((given["ca_key_passphrase"] or "").encode()) > keys.PASSPHRASE_MAXIMUM_BYTES:
        raise MtlsError(
            f"ca_key_passphrase is longer than {keys.PASSPHRASE_MAXIMUM_BYTES} bytes, which OpenSSL does not support. "
            "Set a shorter one."
        )


def _refuse_hosts(given: Parameters) -> None:
    for host in given["hostnames"]:
        if not is_reference_name(host):
            raise MtlsError(
                f"hostnames has {host!r}, which is not a host name, IP address, URI or mailbox. Labels of a host name "
                "are letters, digits and hyphens, without underscores. Correct it."
            )


def _items(given: Parameters, directory: Path) -> list[dict[str, t.Any]]:
    """Give every certificate with the defaults: the server's files are in ``directory``, a client's below it.

    An organization only holds for those without a whole subject. Who has neither subject nor common name has its name
    as common name.
    """
    common = {key: value for key, value in given["defaults"].items() if value is not None}
    if given["vault"]:
        common.pop("organization", None)  # what a role adds to the subject is the issuer's business
    items = []
    for listed in given["certificates"]:
        own = {key: value for key, value in listed.items() if value is not None}
        if "renew_before_percentage" in own:  # wins over the days of the defaults, not over its own
            own.setdefault("renew_before", None)
        if "hours" in own:
            own = {"days": None, "renew_before": None} | own
        elif "days" in own:
            own["hours"] = None
        place = directory / "clients" / str(own["name"]) if given["usage"] == "client" else directory
        item = common | own | {"usage": given["usage"], "directory": str(place)}
        if own.get("subject"):
            item = {key: value for key, value in item.items() if key in own or key != "organization"}
        else:
            item.setdefault("common_name", own["name"])
        if own["name"] in given["rekey"]:
            item["rekey"] = True
        items.append(item)
    present = {item["name"] for item in items if item.get("state", "present") == "present"}
    if unknown := sorted(set(given["rekey"]) - present):
        raise MtlsError(
            f"A new certificate is requested for {', '.join(unknown)}, but certificates has "
            f"{', '.join(sorted(present)) or 'nobody'}. Correct the names, or add them to the list."
        )
    return items


def _provided(given: Parameters) -> t.Any:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import external_ca  # noqa: PLC0415  (most runs do without)

    if given["state"] not in {spec.PRESENT, spec.REVOKED}:
        raise MtlsError(
            "The CA is provided, so it is not rotated here. Provide the next one when its owner has made it."
        )
    parts = given["provided"]
    provider = parts.get("provider") or spec.PROVIDED
    if not parts["ca"] and provider == spec.PROVIDED:
        raise MtlsError("provided.ca is missing. Provide the CA certificates.")
    certificate_spec.refuse_names([str(item["name"]) for item in given["certificates"]])
    authority_key = _source("provided.ca_key", parts["ca_key"])
    authority_key = authority_key or _source("provided.ca_key_content", parts["ca_key_content"])
    pairs = [] if authority_key else [_pair(item) for item in given["certificates"]]
    if not authority_key and (given["revoke"] or given["rekey"]):
        raise MtlsError(
            "Nobody can be revoked or given a new certificate here: the CA's key is not provided. Ask the CA's owner, "
            "or set provided.ca_key."
        )
    return external_ca.Provided(
        usage=given["usage"],
        directory=Path(given["directory"]),
        authorities=external_ca.Source("provided.ca", str(parts["ca"] or system_roots.path())),
        authority_key=authority_key,
        passphrase=given["ca_key_passphrase"] or None,
        pairs=tuple(pairs),
        hostnames=tuple(given["hostnames"]),
        include_root=given["include_root"],
        provider=provider,
    )


def _source(option: str, value: t.Any) -> Source | None:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import external_ca  # noqa: PLC0415  (most runs do without)

    return external_ca.Source(option, str(value)) if value else None


def _pair(item: Parameters) -> Pair:
    """A finished certificate and key; where the CA's key is not provided, everybody needs them."""
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import external_ca  # noqa: PLC0415  (most runs do without)

    name = str(item["name"])
    sources = {part: _source(_option(item, part), item.get(part)) for part in _FINISHED}
    certificate, key = sources["certificate"], sources["key"] or sources["key_content"]
    if certificate is None or (key is None and not item.get("key_is_elsewhere")):
        missing = _option(item, "certificate" if certificate is None else "key")
        raise MtlsError(
            f"Certificate {name} cannot be issued here, because the CA's key is not provided, and {missing} "
            f"is missing. Provide both the certificate and its key, or the CA's key as provided.ca_key, or take {name} "
            "off the list."
        )
    if item.get("p12") or item.get("state") == "absent":
        what, out = ("a PKCS#12 file is not made", "p12") if item.get("p12") else ("its files are not removed", "it")
        raise MtlsError(f"Certificate {name} is provided, so {what} here. Leave {out} out of the list.")
    return external_ca.Pair(name, certificate, key, item.get("key_passphrase") or None, sources["chain"])


def _authorities(
    given: Parameters, constraints: x509.NameConstraints | None, now: datetime.datetime
) -> tuple[spec.AuthoritySpec, ...]:
    if given["ca"] is None:
        raise MtlsError("ca is missing. Describe the CA, at least its subject.")
    key = _key_spec(given["ca"])
    found = [("root CA", "ca", given["ca"]), ("intermediate CA", "intermediate", given["intermediate"])]
    return tuple(
        spec.AuthoritySpec(
            title=f"{given['usage']} {title}",
            basename=option,
            subject=_subject(option, authority, now),
            key=key,
            days=authority["days"],
            constraints=constraints,
        )
        for title, option, authority in found
        if authority is not None
    )


def _subject(option: str, authority: Parameters, now: datetime.datetime) -> x509.Name:
    if authority["days"] < 1:
        raise MtlsError(f"{option}.days is {authority['days']}, but a CA lives 1 day or more.")
    certificate_spec.refuse_endless(f"{option}.days", authority["days"], now)
    try:
        return subject_names.parse_subject(authority["subject"])
    except MtlsError as exc:
        raise MtlsError(f"{option}.subject is not possible: {exc}") from exc


def _key_spec(root: Parameters) -> keys.KeySpec:
    return keys.specified(root["key_type"], size=root["key_size"], curve=root["curve"])


def _constraints(
    given: Parameters, certificates: t.Sequence[certificate_spec.CertificateSpec]
) -> x509.NameConstraints | None:
    """The name constraints of CAs that are created: by default those of the server's own names, none for clients."""
    is_limited = given["name_constraints"]
    if not (given["usage"] == "server" if is_limited is None else is_limited):
        return None
    from ansible_collections.kyma.mtls.plugins.module_utils._pki import name_constraints  # noqa: PLC0415  (most runs do without)

    return name_constraints.permitting(
        name_constraints.parse_subtrees(given["permitted_names"]),
        [name for certificate in certificates for name in certificate.sans],
    )
