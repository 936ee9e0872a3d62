# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a module's parameters to VerifyOptions: everything is read and checked before the first connection."""

from __future__ import annotations

import contextlib
import re
import typing as t
import urllib.parse
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import content_if_any, read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._signer import options as signers
from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import (
    UnavailableError,
    of_certificate,
    of_known_certificate,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify import without_url
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks import expiry, grants, revocation
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.catalogue import BY_ID, OF_WORKLOADS
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.identity_log import IdentityLog
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import ListedClient, VerifyOptions
from ansible_collections.kyma.mtls.plugins.module_utils._verify.handshake.observation import VerifyTarget
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import (
    identity_from_files,
    identity_from_pkcs12,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.issuing import IssuingCa
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.probe_kit import KitRequest
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.sample import draw
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import fingerprint_sha256, label, pem_of
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import (
    as_secret,
    key_matches,
    load_certificates,
    load_private_key,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.names import a_labels

if t.TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import Signer
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.grants import WorkloadUnderTest
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.probe_kit import Kit

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^:\[\]]+)):(?P<port>\d{1,5})")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_METHOD = re.compile(r"[A-Z]{3,16}")


def read_options(params: t.Mapping[str, t.Any], kit: Kit | None = None) -> VerifyOptions:
    """Return the options in ``params`` (the module's), with the test identities of ``kit`` if there is one.

    Raises MtlsError naming what is wrong; it then carries the ``path`` of a file that does not exist.
    """
    checks = select_checks(params["checks"], params["skip"])
    crls = revocation.read_crls(params["crl"])
    authority, notes = _authority_if_there(params)
    number = _sample_size(params["clients_sample"])
    listed = params["clients"] or ()
    chosen, sample = draw([entry for entry in listed if entry["expect"] == "accepted"], number, kind="listed")
    refused = [entry for entry in listed if entry["expect"] != "accepted"]
    client, clients, revoked = revocation.set_apart(
        crls, _client(params), [_listed(entry) for entry in (*chosen, *refused)], authority
    )
    folders, revoked_sample = draw(revocation.folders_of(params["revoked_dir"]), number, kind="revoked")
    workloads = _workloads(params, client, clients)
    if not workloads:
        checks -= OF_WORKLOADS - {*(params["checks"] or ()), *(params["require_checks"] or ())}
    if not params["url"] and not workloads:
        raise MtlsError("There is no url, and no workload to verify in workloads. Give one of them.")
    options = VerifyOptions(
        target=read_target(params["url"] or f"https://{workloads[0].host}/", params["connect_to"]),
        client=client,
        ca_pem=_ca_pem(params["ca"], params["ca_content"]),
        authority=authority,
        notes=notes,
        server_cas=_certificates(params["ca"], what="CA certificate"),
        server_ca_key=_server_ca_key(params),
        kit=kit,
        expected_client_cas=_certificates(params["client_ca_cert"], what="client CA certificate"),
        revoked=revocation.distinct(
            (*_revoked(params), *revoked, *revocation.read_revoked(params["revoked_dir"], folders), *_of_kit(kit))
        ),
        crls=crls,
        clients=clients,
        samples=(sample, revoked_sample),
        method=_method(params["method"]),
        expect_status=frozenset(params["expect_status"]),
        expect=params["expect"] or {},
        identity_headers=_identity_headers(params["identity_headers"] or {}),
        identity_path=params["identity_path"],
        identity_source=params["identity_source"],
        identity_answer_prefix=params["identity_answer_prefix"] or "",
        identity_log_file=IdentityLog(params["identity_log_file"]) if params["identity_log_file"] else None,
        client_name=params["client_name"] or "",
        workloads=workloads,
        minimum_tls=params["minimum_tls"],
        checks=checks,
        require_checks=_required(params["require_checks"], checks),
        timeout=_positive(params["timeout"], "timeout"),
        wait_for=_positive(params["wait_for"], "wait_for", zero=True),
        concurrency=int(_positive(params["concurrency"], "concurrency")),
        replicas=tuple(dict.fromkeys(_address(replica, "replicas has") for replica in params["replicas"] or ())),
        replica_count=int(_positive(params["replica_count"], "replica_count")),
        replica_confidence=_confidence(params["replica_confidence"]),
        expiry_warning=_threshold(params, "expiry_warning"),
        expiry_failure=_threshold(params, "expiry_failure"),
    )
    return options if params["url"] else without_url.with_place(options)


def _threshold(params: t.Mapping[str, t.Any], name: str) -> expiry.Threshold:
    return expiry.threshold(params[f"{name}_days"], params[f"{name}_percentage"], name=name)


def _workloads(
    params: t.Mapping[str, t.Any], client: Identity, clients: t.Sequence[ListedClient]
) -> tuple[WorkloadUnderTest, ...]:
    listed = {client.name: client.identity.certificate for client in clients if client.identity is not None}
    own = {params["client_name"]: client.certificate} if params["client_name"] else {}
    defaults = {
        **params,
        "identity_headers": _identity_headers(params["identity_headers"] or {}),
        "identity_answer_prefix": params["identity_answer_prefix"] or "",
    }
    return grants.read_workloads(params["workloads"] or (), certificates={**own, **listed}, defaults=defaults)


def read_kit_request(params: t.Mapping[str, t.Any], known: t.Collection[str] = ()) -> KitRequest:
    """Return what a probe kit is to hold, from the module's parameters. Raises MtlsError naming what is wrong.

    ``known`` are fingerprints of CAs that have signed the kit that is there: no token is opened to find that out again.
    """
    if params["days"] < 1:
        raise MtlsError(f"days is {params['days']}, but a probe kit lives for at least 1 day.")
    server_cas = _certificates(params["ca"], what="CA certificate")
    return KitRequest(
        client=_client({**params, "client_p12": None}),
        authority=t.cast("IssuingCa", _authority(params, known)),
        client_cas=_certificates(params["client_ca_cert"], what="client CA certificate"),
        server_cas=server_cas,
        server_authority=_server_authority(params, server_cas, known),
        revoked=tuple(
            identity_from_files(f"revoked client {number}", certificate=client["cert"], key=client["key"])
            for number, client in enumerate(params["revoked"], 1)
        ),
        days=params["days"],
    )


def read_target(url: str, connect_to: str | None) -> VerifyTarget:
    """Return the endpoint that ``url`` and ``connect_to`` mean."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError as exc:
        raise MtlsError(f"The url {url!r} cannot be read: {exc}.") from exc
    if parts.scheme != "https" or not host:
        raise MtlsError(f"The url {url!r} is not an https:// address with a host; only those can be verified.")
    if parts.username is not None:
        raise MtlsError("The url contains a user name; the client's certificate is the only identity here. Remove it.")
    try:
        name = a_labels(host)
    except ValueError as exc:
        raise MtlsError(f"The host of the url cannot be used: {exc}.") from exc
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    if connect_to is None:
        return VerifyTarget.of(name, port, path)
    return VerifyTarget.of(name, port, path, address=_address(connect_to, "connect_to is"))


def _address(text: str, what: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(text)
    if not found or not 0 < int(found["port"]) < 65536:
        raise MtlsError(f"{what} {text!r}, but must be host:port, for example 127.0.0.1:8443.")
    try:
        # Python's own rules for names are those of IDNA 2003: another host, or an error amid the connection.
        host = found["six"] or a_labels(found["host"])
    except ValueError as exc:
        raise MtlsError(f"{what} {text!r}, which has a host that cannot be used: {exc}.") from exc
    return host, int(found["port"])


def _sample_size(number: int) -> int:
    if number < 0:
        raise MtlsError(f"clients_sample is {number}, but must be 0 for all clients, or the number of those to try.")
    return number


def _confidence(value: float) -> float:
    if not 0 < value < 1:
        raise MtlsError(f"replica_confidence is {value}, but must be more than 0 and less than 1, for example 0.99.")
    return float(value)


def select_checks(checks: t.Sequence[str] | None, skip: t.Sequence[str] | None) -> frozenset[str]:
    """Return the ids to run. Raises MtlsError for an id that does not exist."""
    unknown = sorted({*(checks or ()), *(skip or ())} - set(BY_ID))
    if unknown:
        raise MtlsError(f"There is no check {', '.join(unknown)}. There are: {', '.join(BY_ID)}.")
    selected = frozenset(checks or BY_ID) - frozenset(skip or ())
    if not selected:
        raise MtlsError("No check is left: checks and skip exclude each other.")
    return selected


def _required(required: t.Sequence[str] | None, checks: frozenset[str]) -> frozenset[str]:
    named = frozenset(required or ())
    unknown = sorted(named - set(BY_ID))
    if unknown:
        raise MtlsError(
            f"require_checks names {', '.join(unknown)}, which does not exist. There are: {', '.join(BY_ID)}."
        )
    excluded = sorted(named - checks)
    if excluded:
        raise MtlsError(
            f"require_checks requires {', '.join(excluded)}, which checks or skip exclude. Correct one of them."
        )
    return named


def _client(params: t.Mapping[str, t.Any]) -> Identity:
    name = "good client"
    if params["client_p12"]:
        return identity_from_pkcs12(name, path=params["client_p12"], password=params["client_p12_password"])
    if not params["client_cert"]:
        raise MtlsError("A client certificate is needed to verify anything: give client_cert and client_key.")
    identity = identity_from_files(
        name,
        certificate=params["client_cert"],
        key=params["client_key"] or params["client_cert"],
        passphrase=params["client_key_passphrase"],
    )
    _check_pair(identity)
    return identity


def _check_pair(identity: Identity) -> None:
    if not key_matches(identity.certificate, identity.load_key()):
        raise MtlsError(
            f"The key of the {identity.name} does not belong to its certificate {label(identity.certificate)}. "
            "Give the key that the certificate was issued for."
        )


def _revoked(params: t.Mapping[str, t.Any]) -> tuple[ListedClient, ...]:
    if not params["revoked_cert"]:
        return ()
    identity = identity_from_files("revoked", certificate=params["revoked_cert"], key=params["revoked_key"])
    return (ListedClient("revoked", "refused", identity),)


def _of_kit(kit: Kit | None) -> tuple[ListedClient, ...]:
    return tuple(ListedClient(client.name, "refused", client) for client in kit.revoked) if kit else ()


def _listed(entry: t.Mapping[str, t.Any]) -> ListedClient:
    name = entry["name"]
    try:
        identity = identity_from_files(
            name, certificate=entry["cert"], key=entry["key"] or entry["cert"], passphrase=entry["key_passphrase"]
        )
    except MtlsError as exc:
        return ListedClient(name, entry["expect"], None, problem=str(exc))
    return ListedClient(name, entry["expect"], identity)


def _authority_if_there(params: t.Mapping[str, t.Any]) -> tuple[IssuingCa | None, tuple[str, ...]]:
    """Return the client CA, and what to say when its token is not there: that is no reason to verify nothing."""
    try:
        return _authority(params), ()
    except UnavailableError as exc:
        return None, (f"{exc} The checks that need test identities of the client CA are skipped.",)


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        return True  # who reads it says why it cannot be


def _signer(params: t.Mapping[str, t.Any], which: str) -> Signer | None:
    """Return what has the key of a CA, when it is not in the file."""
    path = params[f"{which}_key"]
    return None if path and _is_there(path) else signers.parse(f"{which}_signer", params[f"{which}_signer"])


def _signing_ca(
    signer: Signer, certificates: t.Sequence[x509.Certificate], known: t.Collection[str], *, option: str
) -> IssuingCa:
    """Return the CA whose key ``signer`` has."""
    settled = next((certificate for certificate in certificates if fingerprint_sha256(certificate) in known), None)
    if settled is not None:
        return IssuingCa.of(settled, of_known_certificate(signer, settled))
    found = of_certificate(signer, certificates)
    if found is None:
        names = "; ".join(map(label, certificates)) or "none given"
        raise MtlsError(f"{signer.label} belongs to none of the certificates in {option} ({names}).")
    return IssuingCa.of(*found)


def _authority(params: t.Mapping[str, t.Any], known: t.Collection[str] = ()) -> IssuingCa | None:
    if (signer := _signer(params, "client_ca")) is not None:
        certificates = _certificates(params["client_ca_cert"], what="client CA certificate")
        return _signing_ca(signer, certificates, known, option="client_ca_cert")
    if not params["client_ca_key"]:
        return None
    passphrase = params["client_ca_key_passphrase"]
    source = params["client_ca_key"]
    key = load_private_key(read_bytes(source, what="client CA key"), passphrase=as_secret(passphrase), source=source)
    certificates = _certificates(params["client_ca_cert"], what="client CA certificate")
    matching = [certificate for certificate in certificates if key_matches(certificate, key)]
    if not matching:
        raise MtlsError(
            f"The client CA key {source} belongs to none of the certificates in client_ca_cert "
            f"({'; '.join(label(certificate) for certificate in certificates) or 'none given'})."
        )
    return IssuingCa.of(matching[0], key)


def _server_authority(
    params: t.Mapping[str, t.Any], certificates: t.Sequence[x509.Certificate], known: t.Collection[str]
) -> IssuingCa | None:
    if (signer := _signer(params, "server_ca")) is not None:
        return _signing_ca(signer, certificates, known, option="ca")
    key = _server_ca_key(params)
    if key is None:
        return None
    issuer = next((certificate for certificate in certificates if key_matches(certificate, key)), None)
    if issuer is None:
        raise MtlsError(f"server_ca_key {params['server_ca_key']} belongs to none of the certificates in ca.")
    return IssuingCa.of(issuer, key)


def _server_ca_key(params: t.Mapping[str, t.Any]) -> PrivateKeyTypes | None:
    """Return the key of the server's CA. It may well be kept elsewhere: a file that does not exist counts as none."""
    if (signer := _signer(params, "server_ca")) is not None:
        with contextlib.suppress(UnavailableError):
            found = of_certificate(signer, _certificates(params["ca"], what="CA certificate"))
            return found[1] if found is not None else None
    source, passphrase = params["server_ca_key"], params["server_ca_key_passphrase"]
    data = content_if_any(source, what="key of the server's CA") if source else None
    return None if data is None else load_private_key(data, passphrase=as_secret(passphrase), source=source)


def _certificates(paths: t.Sequence[str] | None, *, what: str) -> tuple[x509.Certificate, ...]:
    found: list[x509.Certificate] = []
    for path in paths or ():
        found += load_certificates(read_bytes(path, what=what), source=path).certificates
    return tuple(found)


def _ca_pem(paths: t.Sequence[str] | None, content: str | None) -> str | None:
    certificates = list(_certificates(paths, what="CA certificate"))
    if content:
        certificates += load_certificates(content.encode("utf-8", "surrogatepass"), source="ca_content").certificates
    return "".join(pem_of(certificate) for certificate in certificates) or None


def _identity_headers(headers: t.Mapping[str, t.Any]) -> dict[str, str]:
    for name in headers:
        if not _HEADER_NAME.fullmatch(str(name)):
            raise MtlsError(f"identity_headers has {name!r}, which is not the name of an HTTP header.")
    return {str(name): str(value) for name, value in headers.items()}


def _method(method: str) -> str:
    if not _METHOD.fullmatch(method):
        raise MtlsError(f"The method {method!r} is not an HTTP method in capital letters.")
    return method


_LARGEST = 10_000_000


def _positive(value: float, name: str, *, zero: bool = False) -> float:
    if not 0 <= value <= _LARGEST or (value == 0 and not zero):  # not: NaN is no number to compare with
        least = "0 or more" if zero else "more than 0"
        raise MtlsError(f"{name} is {value}, but must be {least} and at most {_LARGEST}.")
    return float(value)
