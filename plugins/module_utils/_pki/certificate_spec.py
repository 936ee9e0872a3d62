# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One certificate as it should be: the module's options, checked and turned into X.509 terms."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import functools
import json
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._client_list import ORIGIN
from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import is_file_name
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, renewal, subject_names
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import describe

try:
    from cryptography import x509
    from cryptography.x509.oid import NameOID
except ImportError:
    pass  # the module's edge reports it

# RFC 5280 appendix A: ub-common-name.
COMMON_NAME_MAXIMUM = 64

# Where X.509's time ends: the last day that a GeneralizedTime can be written for.
_LAST_DAY = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Pkcs12:
    """A PKCS#12 file beside the PEM files; ``profile`` is ``modern`` or ``legacy``."""

    password: str = dataclasses.field(repr=False)
    friendly_name: str
    profile: str


@dataclasses.dataclass(frozen=True)
class CertificateSpec:
    """One certificate as it should be on disk. Without ``lifetime``, an external issuer decides on it."""

    name: str
    directory: Path
    basename: str
    is_present: bool
    usage: str
    subject: x509.Name
    sans: tuple[x509.GeneralName, ...]
    key: keys.KeySpec
    lifetime: datetime.timedelta | None
    renewal: renewal.RenewalRule
    p12: Pkcs12 | None
    is_rekey: bool = False
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def key_path(self) -> Path:
        return self.directory / f"{self.basename}.key"

    @functools.cached_property
    def certificate_path(self) -> Path:
        return self.directory / f"{self.basename}.crt"

    @functools.cached_property
    def chain_path(self) -> Path:
        return self.directory / f"{self.basename}-chain.pem"

    @functools.cached_property
    def p12_path(self) -> Path:
        return self.directory / f"{self.basename}.p12"


def parse(
    items: t.Sequence[t.Mapping[str, t.Any]], *, now: datetime.datetime, is_outside: bool = False
) -> tuple[CertificateSpec, ...]:
    """Turn the module's list into certificate specs; no two may share a name or their files.

    With ``is_outside``, an external issuer decides on lifetimes that are not given, and renewal is by their share.

    Raises MtlsError naming every certificate that cannot be made as asked.
    """
    parsed: list[CertificateSpec] = []
    problems: list[str] = []
    names: set[str] = set()
    files: dict[Path, str] = {}
    for item in items:
        name = str(item["name"])
        try:
            spec = _parse_item(item, now, is_outside=is_outside)
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


def refuse_unwritable(value: t.Any, where: str = "") -> None:
    """Refuse text that no file, certificate or JSON can hold, in whatever option it is. Raises MtlsError.

    The text itself is not shown, as it may be a passphrase.
    """
    # In one go, as a thousand clients have many values; JSON writes a NUL as an escape.
    text = json.dumps(value, ensure_ascii=False, default=str)
    if "\\u0000" in text or not _is_encodable(text):
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
    elif isinstance(value, str) and ("\0" in value or not _is_encodable(value)):
        raise MtlsError(
            f"{where} holds a character that cannot be written: a NUL, or half of a UTF-16 pair (a surrogate). "
            "Correct it. Nothing was changed."
        )


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_names(names: t.Sequence[str]) -> None:
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


def _parse_item(item: t.Mapping[str, t.Any], now: datetime.datetime, *, is_outside: bool) -> CertificateSpec:
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
        lifetime=_lifetime(item, now, is_outside=is_outside),
        renewal=renewal.rule(
            item.get("renew_before"),
            item.get("renew_before_percentage"),
            default=renewal.RenewalRule()
            if is_outside or item.get("hours")
            else renewal.RenewalRule(days=renewal.OWN_DAYS),
        ),
        p12=_pkcs12(item),
        is_rekey=bool(item.get("rekey")),
    )
    return _parse_present(spec, item) if spec.is_present else spec


def _parse_present(spec: CertificateSpec, item: t.Mapping[str, t.Any]) -> CertificateSpec:
    """Add what only matters for a certificate that is to be there: what cannot be made can still be removed."""
    sans = subject_names.parse_sans(item.get("sans") or ())
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


def _lifetime(item: t.Mapping[str, t.Any], now: datetime.datetime, *, is_outside: bool) -> datetime.timedelta | None:
    days, hours = item.get("days"), item.get("hours")
    if days is not None and hours is not None:
        raise MtlsError(f"it has both days ({days}) and hours ({hours}). Set one of the two.")
    for option, value in (("days", days), ("hours", hours)):
        if value is not None and value < 1:
            raise MtlsError(f"{option} is {value}, but must be 1 or more.")
    if hours is not None:
        refuse_endless("hours", hours, now, unit="hours")
        return datetime.timedelta(hours=hours)
    if days is None and is_outside:
        return None
    days = 365 if days is None else days
    refuse_endless("days", days, now)
    return datetime.timedelta(days=days)


def _key_spec(item: t.Mapping[str, t.Any], *, usage: str) -> keys.KeySpec:
    kind = item.get("key_type") or "RSA"
    if kind == "RSA":
        size = item.get("key_size") or keys.RSA_MINIMUM_BITS
        keys.require_size(size)
        return keys.KeySpec("RSA", size=size)
    if kind == "ECDSA":
        return keys.KeySpec("ECDSA", curve=item.get("curve") or "P-256")
    if usage == "client":
        raise MtlsError(
            "key_type Ed25519 is refused for usage client: Envoy, and so every Istio gateway, does not accept Ed25519 "
            "client certificates. Use ECDSA or RSA."
        )
    return keys.KeySpec("Ed25519")


def _pkcs12(item: t.Mapping[str, t.Any]) -> Pkcs12 | None:
    asked = item.get("p12")
    if not asked:
        return None
    if not asked["password"]:
        raise MtlsError("the password of its PKCS#12 file is empty. Set p12.password, or leave p12 out.")
    return Pkcs12(
        password=asked["password"],
        friendly_name=asked.get("friendly_name") or str(item["name"]),
        profile=asked.get("profile") or "modern",
    )


def _subject(
    item: t.Mapping[str, t.Any], *, usage: str, sans: tuple[x509.GeneralName, ...], notes: list[str]
) -> x509.Name:
    pairs = item.get("subject")
    if pairs:
        if item.get("common_name") or item.get("organization"):
            raise MtlsError("it has both subject and common_name or organization. Set one of the two.")
        ordered = [subject_names.pair(attribute) for attribute in pairs]
    else:
        # This order, CN then O, is what Envoy prints as O=...,CN=... (RFC 4514 starts from the end).
        named = (("CN", item.get("common_name")), ("O", item.get("organization")))
        ordered = [(key, str(value)) for key, value in named if value]
    attributes = []
    for key, value in ordered:
        oid = subject_names.attribute_oid(key)
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
        attributes.append(subject_names.attribute(oid, key, value))
    return x509.Name(attributes)


def refuse_endless(option: str, number: int, now: datetime.datetime, *, unit: str = "days") -> None:
    """Refuse a number of days or hours after which a date could not be written any more. Raises MtlsError."""
    if number > (most := (_LAST_DAY - now) // datetime.timedelta(**{unit: 1})):
        raise MtlsError(
            f"{option} is {number}, but dates in certificates end with the year 9999, in {most} {unit}. Set fewer."
        )
