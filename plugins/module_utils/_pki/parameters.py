# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the options of a module call to what a PKI and its certificates should be.

Of files, only a list of clients is read here.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._client_list import ORIGIN, read_client_list, secrets_of
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, before_any_change
from ansible_collections.kyma.mtls.plugins.module_utils._files import is_encodable, is_file_name
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import (
    OWN_DAYS,
    PRESENT,
    PROVIDED,
    REVOKED,
    SELF_SIGNED,
    AuthoritySpec,
    CertificateSpec,
    Pair,
    PkiSpec,
    Provided,
    RenewalRule,
    Source,
    renewal_rule,
)
from ansible_collections.kyma.mtls.plugins.module_utils._signer import options as signers
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe, system_roots
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import host_matches, is_reference_name

try:
    from cryptography import x509
    from cryptography.x509.oid import NameOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.request_issuer import ClusterRequests
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CrlSource, RequestSigner

Parameters: t.TypeAlias = t.Mapping[str, t.Any]

# RFC 5280 appendix A: ub-common-name.
COMMON_NAME_MAXIMUM = 64

# Where X.509's time ends: the last day that a GeneralizedTime can be written for.
_LAST_DAY = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)
_PRIVATE_KEY = "PRIVATE KEY-----"
_FINISHED = ("certificate", "key", "key_content", "chain")


@before_any_change()
def to_spec(given: Parameters, *, now: datetime.datetime, requests: ClusterRequests | None = None) -> PkiSpec:
    """Turn the module's parameters into a spec. Raises MtlsError naming what is not possible.

    ``requests`` is what signs in a cluster.
    """
    refuse_unwritable(given)
    _refuse_exposed_keys(given)
    _refuse_numbers(given, now)
    _refuse_hosts(given)
    ca_keys = _ca_keys(given)
    items = _items(given)
    certificates: tuple[CertificateSpec, ...] = ()
    authorities: tuple[AuthoritySpec, ...] = ()
    provider, provided, signer = SELF_SIGNED, None, None
    if given["vault"] or requests is not None:
        provider = "vault" if requests is None else "cert_manager"
        signer, provided = _request_signer(given, requests)
        certificates = parse_certificates(items, now=now, is_external=True)
    elif given["provided"] is not None:
        provider, provided = _provided(given)
        if provided.authority_key is not None:
            certificates = parse_certificates(items, now=now)
    else:
        if unprovided := [item["name"] for item in given["certificates"] if any(item.get(part) for part in _FINISHED)]:
            raise MtlsError(
                f"A finished certificate or key is given for {', '.join(unprovided)}, but the CA is not provided. "
                "Set provided, or leave them out."
            )
        certificates = parse_certificates(items, now=now)
        authorities = _authorities(given, _constraints(given, certificates), now)
    if given["usage"] == "server":
        _refuse_uncovered(given["hostnames"], certificates)
    return PkiSpec(
        usage=given["usage"],
        directory=Path(given["directory"]),
        state=given["state"],
        certificates=certificates,
        authorities=authorities,
        passphrase=given["ca_key_passphrase"] or None,
        ca_keys=ca_keys,
        provider=provider,
        provided=provided,
        hostnames=tuple(given["hostnames"]),
        include_root=given["include_root"],
        grace_days=given["grace_days"],
        crl_days=given["crl_days"],
        crl_refresh_before=given["crl_refresh_before"],
        revoke=tuple(dict.fromkeys(given["revoke"])),
        rekey=tuple(given["rekey"]),
        signer=signer,
        crl_sources=_crl_sources(given, signer),
        publishes_crls=bool(given["crl_url"]),
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


def exposed_keys(given: Parameters) -> list[str]:
    """Return the values with a private key in an option that is not for one, and so is not kept out of output."""
    return [value for _option, value in _exposed(given)]


def refuse_unwritable(value: t.Any, where: str = "") -> None:
    """Refuse text that no file, certificate or JSON can hold, in whatever option it is. Raises MtlsError.

    The text itself is not shown, as it may be a passphrase.
    """
    # In one go, as a thousand clients have many values; JSON writes a NUL as an escape.
    text = json.dumps(value, ensure_ascii=False, default=str)
    if "\\u0000" in text or not is_encodable(text):
        _refuse_unwritable(value, where)


def _refuse_unwritable(value: t.Any, where: str) -> None:
    if isinstance(value, t.Mapping):
        for key, item in value.items():
            _refuse_unwritable(str(key), f"a name in {where or 'the options'}")
            _refuse_unwritable(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            name = item.get("name") if isinstance(item, t.Mapping) else None
            _refuse_unwritable(item, f"{where}[{name if isinstance(name, str) and name.isprintable() else number}]")
    elif isinstance(value, str) and ("\0" in value or not is_encodable(value)):
        raise MtlsError(
            f"{where} holds a character that cannot be written: a NUL, or half of a UTF-16 pair (a surrogate). "
            "Correct it. Nothing was changed."
        )


def refuse_concurrency(concurrency: int | None) -> None:
    """Refuse a number of threads that there cannot be. Raises MtlsError."""
    if concurrency is not None and concurrency < 1:
        raise MtlsError(f"concurrency is {concurrency}, but must be 1 or more.")


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
    refuse_concurrency(given["concurrency"])
    for option in ("grace_days", "crl_days"):
        _refuse_endless(option, given[option], now)
    if given["grace_days"] < 0:
        raise MtlsError(f"grace_days is {given['grace_days']}, but must be 0 or more.")
    if len((given["ca_key_passphrase"] or "").encode()) > keys.PASSPHRASE_MAXIMUM_BYTES:
        raise MtlsError(
            f"ca_key_passphrase is longer than {keys.PASSPHRASE_MAXIMUM_BYTES} bytes, which OpenSSL does not support. "
            "Set a shorter one."
        )


def _refuse_endless(option: str, number: int, now: datetime.datetime, *, unit: str = "days") -> None:
    """Refuse a number of days or hours after which a date could not be written any more. Raises MtlsError."""
    if number > (most := (_LAST_DAY - now) // datetime.timedelta(**{unit: 1})):
        raise MtlsError(
            f"{option} is {number}, but dates in certificates end with the year 9999, in {most} {unit}. Set fewer."
        )


def _refuse_hosts(given: Parameters) -> None:
    for host in given["hostnames"]:
        if not is_reference_name(host):
            raise MtlsError(
                f"hostnames has {host!r}, which is not a host name, IP address, URI or mailbox. Labels of a host name "
                "are letters, digits and hyphens, without underscores. Correct it."
            )


def _refuse_uncovered(hostnames: t.Iterable[str], certificates: t.Iterable[CertificateSpec]) -> None:
    for certificate in certificates:
        for host in hostnames:
            if certificate.is_present and not host_matches(certificate.sans, host):
                raise MtlsError(
                    f"Certificate {certificate.name} would not be valid for {host!r}: its sans do not cover that name. "
                    "Add it to the sans, or take it from the hostnames."
                )


def _ca_keys(given: Parameters) -> keys.CaKeys:
    """Give the CA keys that are not files. Raises MtlsError for what cannot be; no token is opened."""
    options = ("ca_key", "intermediate_key")
    listed = given["previous_ca_keys"] or []
    if not listed and not any(given[option] for option in options):
        return keys.CaKeys()
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
    return keys.CaKeys(ca, intermediate, tuple(signer for signer in previous if signer is not None))


def _items(given: Parameters) -> list[dict[str, t.Any]]:
    """Give every certificate with the defaults: the server's files are in the directory, a client's below it.

    An organization only holds for those without a whole subject. Who has neither subject nor common name has its name
    as common name.
    """
    directory = Path(given["directory"])
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


def _request_signer(given: Parameters, requests: ClusterRequests | None) -> tuple[RequestSigner, Provided | None]:
    """Return the external issuer that signs certificate requests, and the CA that is provided. Raises MtlsError."""
    if given["state"] not in {PRESENT, REVOKED}:
        raise MtlsError(
            "The CA is at the issuer, so it is not rotated here: when the issuer has another root CA, the next runs go "
            "over to it."
        )
    parts = given["provided"] or {}
    if parts.get("ca_key") or parts.get("ca_key_content"):
        raise MtlsError("provided has the key of a CA, and there is an external issuer too. Set one of the two.")
    source = _source("provided.ca", parts.get("ca"))
    provided = Provided(source) if source is not None else None
    if requests is None:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import vault  # noqa: PLC0415  (most runs do without)

        return vault.VaultClient(vault.to_pki(given["vault"])), provided
    if provided is None:
        raise MtlsError(
            "provided.ca is missing: the CA of the issuer, the one that issues first, then those above it. "
            "cert-manager names it only beside a certificate."
        )
    if given["revoke"]:
        raise MtlsError(
            f"{requests.title} does not revoke certificates. Use short lifetimes, or have the CA's owner revoke "
            "them and give its list as crl_url."
        )
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers import request_issuer  # noqa: PLC0415  (most runs do without)

    return request_issuer.ClusterSigner(requests), provided


def _crl_sources(given: Parameters, signer: RequestSigner | None) -> tuple[CrlSource, ...]:
    urls, is_client = tuple(given["crl_url"] or ()), given["usage"] == "client"
    if urls and not is_client:
        raise MtlsError("crl_url is for clients: no client asks a list whether the server is revoked. Leave it out.")
    if urls and signer is None and given["provided"] is None:
        raise MtlsError(
            "crl_url is for CAs whose key is elsewhere, but this CA is created here and signs its own revocation list. "
            "Leave it out."
        )
    # OpenBao and Vault have the lists of their CAs.
    sources = [t.cast("CrlSource", signer)] if given["vault"] and is_client else []
    if urls:
        from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import external_crl  # noqa: PLC0415  (most runs do without)

        sources.insert(0, external_crl.UrlSource(urls, str((given["vault"] or {}).get("ca_file") or "")))
    return tuple(sources)


def _provided(given: Parameters) -> tuple[str, Provided]:
    """Return who provides, and what. Raises MtlsError."""
    if given["state"] not in {PRESENT, REVOKED}:
        raise MtlsError(
            "The CA is provided, so it is not rotated here. Provide the next one when its owner has made it."
        )
    parts = given["provided"]
    provider = parts.get("provider") or PROVIDED
    if not parts["ca"] and provider == PROVIDED:
        raise MtlsError("provided.ca is missing. Provide the CA certificates.")
    _refuse_names([str(item["name"]) for item in given["certificates"]])
    authorities = Source("provided.ca", str(parts["ca"] or system_roots.path()))
    key = _source("provided.ca_key", parts["ca_key"]) or _source("provided.ca_key_content", parts["ca_key_content"])
    if key is not None and provider != PROVIDED:
        raise MtlsError(
            f"provided has the key of a CA, but the external issuer {provider} as its provider. Leave one of the two "
            "out."
        )
    if key is not None:
        return provider, Provided(authorities, key)
    pairs = tuple(map(_pair, given["certificates"]))
    if given["revoke"] or given["rekey"]:
        raise MtlsError(
            "Certificates cannot be revoked or issued anew here: the CA's key is not provided. Ask the CA's owner, or "
            "set provided.ca_key."
        )
    return provider, Provided(authorities, pairs=pairs)


def _source(option: str, value: t.Any) -> Source | None:
    return Source(option, str(value)) if value else None


def _pair(item: Parameters) -> Pair:
    """A finished certificate and key; where the CA's key is not provided, everybody needs them."""
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
    return Pair(name, certificate, key, item.get("key_passphrase") or None, sources["chain"])


def _authorities(
    given: Parameters, constraints: x509.NameConstraints | None, now: datetime.datetime
) -> tuple[AuthoritySpec, ...]:
    if given["ca"] is None:
        raise MtlsError("ca is missing. Describe the CA, at least its subject.")
    root = given["ca"]
    key = keys.specified(root["key_type"], size=root["key_size"], curve=root["curve"])
    found = [("root CA", "ca", root), ("intermediate CA", "intermediate", given["intermediate"])]
    return tuple(
        AuthoritySpec(
            title=f"{given['usage']} {title}",
            basename=option,
            subject=_ca_subject(option, authority, now),
            key=key,
            days=authority["days"],
            constraints=constraints,
        )
        for title, option, authority in found
        if authority is not None
    )


def _ca_subject(option: str, authority: Parameters, now: datetime.datetime) -> x509.Name:
    if authority["days"] < 1:
        raise MtlsError(f"{option}.days is {authority['days']}, but a CA lives 1 day or more.")
    _refuse_endless(f"{option}.days", authority["days"], now)
    try:
        return profile.parse_subject(authority["subject"])
    except MtlsError as exc:
        raise MtlsError(f"{option}.subject is not possible: {exc}") from exc


def _constraints(given: Parameters, certificates: t.Sequence[CertificateSpec]) -> x509.NameConstraints | None:
    """The name constraints of CAs that are created: by default those of the server's own names, none for clients."""
    is_limited = given["name_constraints"]
    if not (given["usage"] == "server" if is_limited is None else is_limited):
        return None
    return profile.permitting(
        profile.parse_permitted(given["permitted_names"]),
        [name for certificate in certificates for name in certificate.sans],
    )


def parse_certificates(
    items: t.Sequence[t.Mapping[str, t.Any]], *, now: datetime.datetime, is_external: bool = False
) -> tuple[CertificateSpec, ...]:
    """Turn the module's list into certificate specs; no two may share a name or their files.

    With ``is_external``, an external issuer decides on lifetimes that are not given, and renewal is by their share.

    Raises MtlsError naming every certificate that cannot be issued as specified.
    """
    parsed: list[CertificateSpec] = []
    problems: list[str] = []
    names: set[str] = set()
    files: dict[Path, str] = {}
    for item in items:
        name = str(item["name"])
        try:
            spec = _parse_item(item, now, is_external=is_external)
        except MtlsError as exc:
            problems.append(f"Certificate {_where(item)}: {exc}")
            continue
        if name in names:
            problems.append(_twice(_where(item)))
        other = files.setdefault(spec.key_path, name)
        if other != name:
            problems.append(
                f"Certificate {name}: {spec.key_path} belongs to certificate {other} already. "
                "Give one of them another directory or basename."
            )
        names.add(name)
        parsed.append(spec)
    if problems:
        raise MtlsError(" ".join(problems), problems=problems)
    return tuple(parsed)


def _where(item: t.Mapping[str, t.Any]) -> str:
    """The certificate's name, with its line when it comes from a file."""
    return f"{item['name']} ({item[ORIGIN]})" if item.get(ORIGIN) else str(item["name"])


def _refuse_names(names: t.Sequence[str]) -> None:
    """Refuse names that cannot be those of directories, and a name that two certificates share.

    For certificates that are not made here, and so are not parsed. Raises MtlsError that names each of them.
    """
    problems: list[str] = [_twice(name) for name, times in collections.Counter(names).items() if times > 1]
    for name in names:
        try:
            _refuse_no_file_name("name", name)
        except MtlsError as exc:
            problems.append(f"Certificate {name}: {exc}")
    if problems:
        raise MtlsError(" ".join(problems), problems=problems)


def _refuse_no_file_name(word: str, value: str) -> None:
    if not is_file_name(value):
        raise MtlsError(f"the {word} {value!r} cannot be a file name. Use one without / and without a leading dot.")


def _twice(name: str) -> str:
    return f"Certificate {name}: the list has this name twice. Give each certificate its own name."


def _parse_item(item: t.Mapping[str, t.Any], now: datetime.datetime, *, is_external: bool) -> CertificateSpec:
    usage: str = item.get("usage") or "client"
    basename: str = item.get("basename") or usage
    for word, value in (("name", str(item["name"])), ("basename", basename)):
        _refuse_no_file_name(word, value)
    spec = CertificateSpec(
        name=str(item["name"]),
        directory=Path(item["directory"]),
        basename=basename,
        is_present=(item.get("state") or "present") == "present",
        usage=usage,
        subject=x509.Name([]),
        sans=(),
        key=keys.KeySpec("RSA"),
        lifetime=_lifetime(item, now, is_external=is_external),
        renewal=renewal_rule(
            item.get("renew_before"),
            item.get("renew_before_percentage"),
            default=RenewalRule() if is_external or item.get("hours") else RenewalRule(days=OWN_DAYS),
        ),
        p12=_pkcs12(item),
        is_rekey=bool(item.get("rekey")),
    )
    return _parse_present(spec, item) if spec.is_present else spec


def _parse_present(spec: CertificateSpec, item: t.Mapping[str, t.Any]) -> CertificateSpec:
    """Add what only matters for a certificate that is to be there: what cannot be made can still be removed."""
    sans = profile.parse_sans(item.get("sans") or ())
    notes: list[str] = []
    subject = _subject(item, usage=spec.usage, sans=sans, notes=notes)
    if spec.usage == "server" and not sans:
        raise MtlsError(
            "a server certificate needs sans, because clients look for the host name there and not in the common "
            "name (RFC 9525). Add for example DNS:www.example.com."
        )
    if not sans and not list(subject):
        raise MtlsError("it has neither a subject nor sans. Set common_name, subject or sans.")
    if spec.lifetime is not None and datetime.timedelta(days=spec.renewal.days or 0) >= spec.lifetime:
        raise MtlsError(
            f"it lives {describe.duration_text(spec.lifetime)} and is renewed {spec.renewal} before its end, but "
            "renew_before must be less than its lifetime, or every run would renew it."
        )
    key = _key_spec(item, usage=spec.usage)
    return dataclasses.replace(spec, subject=subject, sans=sans, key=key, notes=tuple(notes))


def _lifetime(item: t.Mapping[str, t.Any], now: datetime.datetime, *, is_external: bool) -> datetime.timedelta | None:
    days, hours = item.get("days"), item.get("hours")
    if days is not None and hours is not None:
        raise MtlsError(f"it has both days ({days}) and hours ({hours}). Set one of the two.")
    for option, value in (("days", days), ("hours", hours)):
        if value is not None and value < 1:
            raise MtlsError(f"{option} is {value}, but must be 1 or more.")
    if hours is not None:
        _refuse_endless("hours", hours, now, unit="hours")
        return datetime.timedelta(hours=hours)
    if days is None and is_external:
        return None
    if days is None:
        return profile.DEFAULT_LIFETIME
    _refuse_endless("days", days, now)
    return datetime.timedelta(days=days)


def _key_spec(item: t.Mapping[str, t.Any], *, usage: str) -> keys.KeySpec:
    kind = item.get("key_type") or "RSA"
    if kind == "Ed25519" and usage == "client":
        raise MtlsError(
            "key_type Ed25519 is refused for usage client: Envoy, and so every Istio gateway, does not accept Ed25519 "
            "client certificates. Use ECDSA or RSA."
        )
    return keys.specified(kind, size=item.get("key_size") or keys.RSA_MINIMUM_BITS, curve=item.get("curve") or "P-256")


def _pkcs12(item: t.Mapping[str, t.Any]) -> keys.Pkcs12 | None:
    p12 = item.get("p12")
    if not p12:
        return None
    if not p12["password"]:
        raise MtlsError("the password of its PKCS#12 file is empty. Set p12.password, or leave p12 out.")
    return keys.Pkcs12(
        password=p12["password"],
        friendly_name=p12.get("friendly_name") or str(item["name"]),
        profile=p12.get("profile") or "modern",
    )


def _subject(
    item: t.Mapping[str, t.Any], *, usage: str, sans: tuple[x509.GeneralName, ...], notes: list[str]
) -> x509.Name:
    pairs = item.get("subject")
    if pairs:
        if item.get("common_name") or item.get("organization"):
            raise MtlsError("it has both subject and common_name or organization. Set one of the two.")
        ordered = [profile.pair(attribute) for attribute in pairs]
    else:
        # This order, CN then O, is what Envoy prints as O=...,CN=... (RFC 4514 starts from the end).
        named = (("CN", item.get("common_name")), ("O", item.get("organization")))
        ordered = [(key, str(value)) for key, value in named if value]
    attributes = []
    for key, value in ordered:
        oid = profile.attribute_oid(key)
        if oid == NameOID.COMMON_NAME and len(value) > COMMON_NAME_MAXIMUM:
            if usage != "server" or not sans:
                raise MtlsError(
                    f"the common name has {len(value)} characters, but X.509 allows {COMMON_NAME_MAXIMUM}. Shorten it."
                )
            notes.append(
                f"The common name of certificate {item['name']} is left out: it has {len(value)} characters, X.509 "
                f"allows {COMMON_NAME_MAXIMUM}, and clients read the host name from the subject alternative names."
            )
            continue
        attributes.append(profile.attribute(oid, key, value))
    return x509.Name(attributes)
