# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""For which names our CAs may issue at all (RFC 5280 section 4.2.1.10).

A kind of name for which the constraints name no subtree is not limited by them. So a CA for host names excludes all IP
addresses, and the other way round (CA/Browser Forum Baseline Requirements 7.1.5).

BoringSSL, which Envoy and gRPC are made with, cannot compare addresses: it refuses every certificate with one, once a
CA above it permits or excludes any. So a CA for a server that has addresses limits them only when that is asked for.
It also refuses a certificate whose common name could be a host name and which has no subject alternative name.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.subject_names import parse_sans
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import is_dns_name

try:
    from cryptography import x509
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.certificate_spec import CertificateSpec

# As BoringSSL's x509v3_looks_like_dns_name has it.
_HOST_LIKE = re.compile(r"(\*\.)?[A-Za-z0-9_:.-]+")
_ALL_ADDRESSES = ("0.0.0.0/0", "::/0")


def parse_subtrees(texts: t.Iterable[str]) -> tuple[x509.GeneralName, ...]:
    """Turn ``DNS:``, ``IP:``, ``URI:`` and ``email:`` strings into subtrees; an IP may be a network.

    The subtree of a URI is a host, or a domain with a dot in front. Raises MtlsError naming what is not possible.
    """
    found: list[x509.GeneralName] = []
    for text in texts:
        kind, _colon, value = text.partition(":")
        if kind.strip().lower() == "ip" and value:
            found.append(_address_subtree(text, value.strip()))
        elif kind.strip().lower() == "uri" and value:
            found.append(_domain_subtree(x509.UniformResourceIdentifier, text, value.strip()))
        elif kind.strip().lower() == "email" and "@" not in value and value:
            found.append(_domain_subtree(x509.RFC822Name, text, value.strip()))
        else:
            found += (_subtree(name) for name in parse_sans([text]))
    return tuple(found)


def _domain_subtree(
    kind: type[x509.UniformResourceIdentifier | x509.RFC822Name], text: str, value: str
) -> x509.GeneralName:
    if not value.isascii() or not is_dns_name(value.removeprefix(".")):
        raise MtlsError(f"the permitted name {text!r} is not a host, or a domain with a dot in front.")
    return kind(value)


def _address_subtree(text: str, value: str) -> x509.IPAddress:
    if "%" in value:
        raise MtlsError(f"the permitted name {text!r} has a zone, which a certificate cannot hold. Leave it out.")
    try:
        return x509.IPAddress(ipaddress.ip_network(value))
    except ValueError as exc:
        raise MtlsError(f"the permitted name {text!r} is not an IP address or network.") from exc


def _subtree(name: x509.GeneralName) -> x509.GeneralName:
    """Give the smallest subtree that holds ``name``; that of a wildcard is the domain behind it."""
    if isinstance(name, x509.DNSName):
        return x509.DNSName(name.value.removeprefix("*.").lower())
    if isinstance(name, x509.IPAddress):
        return x509.IPAddress(ipaddress.ip_network(name.value))
    return name


def permitting(subtrees: t.Iterable[x509.GeneralName], names: t.Sequence[x509.GeneralName]) -> x509.NameConstraints:
    """Make the constraints that permit ``subtrees`` and the host names and addresses among ``names``, and no others."""
    given = list(subtrees)
    limits_addresses = any(isinstance(subtree, x509.IPAddress) for subtree in given)
    kinds: tuple[type[x509.GeneralName], ...] = (x509.DNSName, x509.IPAddress) if limits_addresses else (x509.DNSName,)
    names_or_networks = list(dict.fromkeys([*given, *(_subtree(name) for name in names if isinstance(name, kinds))]))
    permitted = [
        subtree
        for subtree in names_or_networks
        if not any(_covers(other, subtree) for other in names_or_networks if other != subtree)
    ]
    excluded: list[x509.GeneralName] = []
    if not any(isinstance(name, x509.IPAddress) for name in (*permitted, *names)):
        excluded += (x509.IPAddress(ipaddress.ip_network(subtree)) for subtree in _ALL_ADDRESSES)
    if not any(isinstance(subtree, x509.DNSName) for subtree in permitted):
        excluded.append(x509.DNSName(""))
    return x509.NameConstraints(permitted_subtrees=permitted or None, excluded_subtrees=excluded or None)


def _covers(base: x509.GeneralName, other: x509.GeneralName) -> bool:
    if isinstance(base, x509.DNSName) and isinstance(other, x509.DNSName):
        return other.value.endswith(f".{base.value}")
    if isinstance(base, x509.IPAddress) and isinstance(other, x509.IPAddress):
        wide, narrow = t.cast("tuple[ipaddress.IPv4Network, ipaddress.IPv4Network]", (base.value, other.value))
        return wide.version == narrow.version and narrow.subnet_of(wide)
    return False


def problems(spec: CertificateSpec, constraints: x509.NameConstraints, *, title: str) -> list[str]:
    """Say which names of a certificate ``constraints`` do not permit, and what to do; ``title`` names the CA."""
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.constraints import forbids  # noqa: PLC0415  (rare)

    names: list[x509.GeneralName] = [*spec.sans]
    if list(spec.subject):
        names.append(x509.DirectoryName(spec.subject))
    reasons = [reason for reason in (forbids(constraints, name) for name in names) if reason is not None]
    found = [
        f"Certificate {spec.name}: {title} may not issue it, as its name constraints {reason}. Leave that name out, "
        f"or change to a CA that is made for it: add the name to permitted_names, rotate the CA, and use the name when "
        "the rotation is over."
        for reason in reasons
    ]
    if spec.usage == "client" and not spec.sans and (name := _host_like_common_name(spec.subject)):
        found.append(
            f"Certificate {spec.name}: {title} has name constraints, and then Envoy, and so every Istio gateway, "
            f"refuses a client whose common name could be a host name ({name!r}) and that has no sans. Give it one, "
            f"for example URI:spiffe://example.com/{spec.name}, or a common name with a space."
        )
    return found


def _host_like_common_name(subject: x509.Name) -> str:
    names = [str(attribute.value) for attribute in subject if attribute.oid == x509.NameOID.COMMON_NAME]
    return next((name for name in names if _HOST_LIKE.fullmatch(name)), "")


def text(constraints: x509.NameConstraints) -> str:
    """Say in words what a CA is limited to."""
    from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import san_text  # noqa: PLC0415  (rare)

    permitted = ", ".join(san_text(subtree) for subtree in constraints.permitted_subtrees or ())
    return f"for {permitted} only" if permitted else "for no host names and addresses"
