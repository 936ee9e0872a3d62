# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Probe kits: the test identities of a verification, prepared for a host that must not have a CA's key.

A kit is a directory with a good client's identity, the client CA's test identities (expired, for another purpose,
through an intermediate ...), revoked clients, and the CA certificates to check the server and its hints. What needs no
CA key (other CAs, impostors) is still made on the spot. ``kit.json`` is written last, so a kit is whole or not there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import (
    CERTIFICATE_MODE,
    KEY_MODE,
    content_if_any,
    ensure_directory,
    write_atomic,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import (
    Identity,
    identity_from_files,
    key_to_pem,
)
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.issuing import IssuingCa
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import (
    OVERSIZE_BYTES,
    SERVER_CA_CLIENT,
    THROUGH_INTERMEDIATE,
    ThrowAwayIdentities,
)
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import (
    fingerprint_sha256,
    pem_of,
    serial_text,
    time_text,
)

try:
    from cryptography.hazmat.primitives.asymmetric import rsa
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from cryptography import x509

INDEX = "kit.json"
SERVER_CA = "server-ca.pem"
CLIENT_CA = "client-ca.pem"
#: Raised when the identities in a kit change, so that older kits are made again.
VERSION = 1
GOOD = "good client"


@dataclass(frozen=True)
class KitRequest:
    """What a kit is to hold. ``days`` is its life; it is made again in the last third of it."""

    client: Identity
    authority: IssuingCa
    client_cas: tuple[x509.Certificate, ...]
    server_cas: tuple[x509.Certificate, ...] = ()
    server_authority: IssuingCa | None = None
    revoked: tuple[Identity, ...] = ()
    days: int = 14


@dataclass(frozen=True)
class Kit:
    """A kit as read: everything that a verification without a CA's key needs."""

    client: Identity
    prepared: t.Mapping[str, Identity]
    revoked: tuple[Identity, ...]
    server_ca_client: Identity | None
    client_cas: Path
    server_cas: Path | None
    not_after: datetime.datetime

    def throw_away(self, *, now: datetime.datetime) -> ThrowAwayIdentities:
        """Return what makes or has every test identity."""
        return _KitIdentities(self.client, self.prepared, now=now)

    def complete(self, params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """Return the parameters of a verification with what the kit has and ``params`` do not say."""
        server_cas = [str(self.server_cas)] if self.server_cas else None
        return {
            **params,
            "client_cert": self.client.certificate_file,
            "client_key": self.client.key_file,
            "client_ca_cert": params["client_ca_cert"] or [str(self.client_cas)],
            "ca": params["ca"] if params["ca"] or params["ca_content"] else server_cas,
        }


class _KitIdentities(ThrowAwayIdentities):
    """Test identities of which those of the client CA were made before."""

    def __init__(self, model: Identity, prepared: t.Mapping[str, Identity], *, now: datetime.datetime) -> None:
        super().__init__(model, None, now=now)
        self._prepared = prepared

    @property
    def has_authority(self) -> bool:
        return True

    def _of_client_ca(self, name: str, make: t.Callable[[], Identity]) -> Identity:
        del make
        try:
            return self._prepared[name]
        except KeyError as exc:
            raise MtlsError(f"The probe kit has no identity {name!r}. Create the kit again.") from exc


def read_kit(directory: Path, *, now: datetime.datetime | None = None) -> Kit:
    """Return the kit in ``directory``. Raises MtlsError when it is missing, damaged or out of date."""
    index = _index(directory)
    if index is None:
        raise MtlsError(
            f"There is no probe kit in {directory}: {INDEX} is missing. Create one with kyma.mtls.probe_kit."
        )
    again = f"Create the probe kit in {directory} again with kyma.mtls.probe_kit, where the client CA's key is."
    if index.get("version") != VERSION:
        raise MtlsError(f"The probe kit in {directory} was made by another version of the collection. {again}")
    not_after = _moment(index["not_after"])
    if not_after <= (now or datetime.datetime.now(tz=datetime.UTC)):
        raise MtlsError(f"The probe kit in {directory} has expired on {index['not_after']}. {again}")
    identities = [_read_identity(directory, entry) for entry in index["identities"]]
    return Kit(
        client=next(identity for identity in identities if identity.name == GOOD),
        prepared={
            identity.name: identity
            for identity, entry in zip(identities, index["identities"], strict=True)
            if entry["prepared"]
        },
        revoked=tuple(
            identity for identity, entry in zip(identities, index["identities"], strict=True) if entry["revoked"]
        ),
        server_ca_client=next((identity for identity in identities if identity.name == SERVER_CA_CLIENT), None),
        client_cas=directory / CLIENT_CA,
        server_cas=directory / SERVER_CA if (directory / SERVER_CA).exists() else None,
        not_after=not_after,
    )


def issuers(directory: Path) -> list[str]:
    """Return the fingerprints of the CAs that have signed the kit in ``directory``."""
    request = (_index(directory) or {}).get("request") or {}
    return [request[name] for name in ("issuer", "server_issuer") if request.get(name)]


def reason_to_create(directory: Path, request: KitRequest, *, now: datetime.datetime) -> str:
    """Return why the kit in ``directory`` must be created again; "" when it serves ``request`` as it is."""
    index = _index(directory)
    if index is None:
        return "there is none"
    if index.get("version") != VERSION:
        return "it was made by another version of the collection"
    if index["request"] != _facts(request):
        return "the client, the CAs, the revoked clients or its lifetime have changed"
    try:
        kit = read_kit(directory, now=now)
        for identity in (kit.client, *kit.prepared.values(), *kit.revoked):
            identity.load_key()
    except (MtlsError, StopIteration, KeyError) as exc:
        return f"it is not usable: {exc}"
    if now >= _renew_after(index):
        return f"it expires on {index['not_after']}"
    return ""


def create_kit(directory: Path, request: KitRequest, *, now: datetime.datetime) -> None:
    """Write the kit of ``request``. A reader sees the kit that was there, or the new one."""
    throw_away = ThrowAwayIdentities(request.client, request.authority, now=now, days=request.days)
    if isinstance(request.client.certificate.public_key(), rsa.RSAPublicKey):
        throw_away.prefer_rsa()
    prepared = _client_ca_identities(throw_away)
    ensure_directory(directory)
    identities = directory / "identities"
    ensure_directory(identities)
    kept = {GOOD: dataclasses.replace(request.client, name=GOOD)}
    kept |= {identity.name: identity for identity in prepared}
    if request.server_authority:
        of_server_ca = ThrowAwayIdentities(request.client, request.server_authority, now=now, days=request.days)
        kept[SERVER_CA_CLIENT] = of_server_ca.twin(SERVER_CA_CLIENT)
    kept |= {f"revoked client {number}": identity for number, identity in enumerate(request.revoked, 1)}
    entries = []
    for number, (name, identity) in enumerate(kept.items()):
        # Names of a kit that is there stay in use until its index is replaced.
        stem = f"{fingerprint_sha256(identity.certificate)[:16]}-{number}"
        write_atomic(identities / f"{stem}.key", _key_pem(identity), mode=KEY_MODE)
        write_atomic(identities / f"{stem}.crt", "".join(map(pem_of, identity.chain)).encode(), mode=CERTIFICATE_MODE)
        entries.append(
            {
                "name": name,
                "files": stem,
                "weak": identity.weak,
                "prepared": identity in prepared,
                "revoked": identity in request.revoked,
                "serial_number": serial_text(identity.certificate.serial_number),
            }
        )
    write_atomic(directory / CLIENT_CA, "".join(map(pem_of, request.client_cas)).encode(), mode=CERTIFICATE_MODE)
    if request.server_cas:
        write_atomic(directory / SERVER_CA, "".join(map(pem_of, request.server_cas)).encode(), mode=CERTIFICATE_MODE)
    else:
        (directory / SERVER_CA).unlink(missing_ok=True)
    ends = min(now + datetime.timedelta(days=request.days), request.client.certificate.not_valid_after_utc)
    index = {
        "version": VERSION,
        "not_before": time_text(now),
        "not_after": time_text(ends),
        "request": _facts(request),
        "identities": entries,
    }
    write_atomic(directory / INDEX, (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode(), mode=KEY_MODE)
    in_use = {f"{entry['files']}{suffix}" for entry in entries for suffix in (".key", ".crt")}
    for path in identities.iterdir():
        if path.name not in in_use:
            path.unlink(missing_ok=True)


def remove_kit(directory: Path, *, check: bool) -> bool:
    """Remove the kit in ``directory`` and nothing else; return whether there was one."""
    identities = directory / "identities"
    found = [path for path in (directory / INDEX, directory / CLIENT_CA, directory / SERVER_CA) if path.exists()]
    found += [path for path in identities.glob("*") if path.suffix in {".crt", ".key"}] if identities.is_dir() else []
    if found and not check:
        for path in found:
            path.unlink(missing_ok=True)
        for emptied in (identities, directory):
            with contextlib.suppress(OSError):
                emptied.rmdir()
    return bool(found)


def describe_kit(directory: Path) -> dict[str, t.Any]:
    """Return ``not_after``, ``renew_after`` and the serial numbers in the kit; empty without a kit."""
    index = _index(directory)
    if index is None or index["version"] != VERSION:
        return {}
    return {
        "not_after": index["not_after"],
        "renew_after": time_text(_renew_after(index)),
        "serial_numbers": sorted(entry["serial_number"] for entry in index["identities"]),
    }


def _client_ca_identities(throw_away: ThrowAwayIdentities) -> list[Identity]:
    """Every identity that takes the client CA's key, as a verification asks for them."""
    return [
        throw_away.twin(),
        throw_away.with_uri(),
        throw_away.without_uri(),
        throw_away.without_subject(),
        throw_away.expired(),
        throw_away.not_yet_valid(),
        throw_away.server_only(),
        throw_away.any_usage(),
        throw_away.weak_key(),
        *_sha1_signature(throw_away),
        throw_away.oversized(OVERSIZE_BYTES),
        throw_away.by_intermediate(THROUGH_INTERMEDIATE, presented=True),
        throw_away.by_intermediate(THROUGH_INTERMEDIATE, presented=False),
        throw_away.beyond_path_length(),
        throw_away.outside_name_constraint(),
    ]


def _sha1_signature(throw_away: ThrowAwayIdentities) -> list[Identity]:
    """Not every key signs with SHA-1: one in a token, behind a command or in a FIPS library may not."""
    with contextlib.suppress(MtlsError):
        return [throw_away.sha1_signature()]
    return []


def _facts(request: KitRequest) -> dict[str, t.Any]:
    """Return what decides whether a kit still serves, JSON-able."""
    return {
        "client": fingerprint_sha256(request.client.certificate),
        "issuer": fingerprint_sha256(request.authority.certificate),
        "client_cas": [fingerprint_sha256(ca) for ca in request.client_cas],
        "server_cas": [fingerprint_sha256(ca) for ca in request.server_cas],
        "server_issuer": fingerprint_sha256(request.server_authority.certificate) if request.server_authority else None,
        "revoked": [fingerprint_sha256(identity.certificate) for identity in request.revoked],
        "days": request.days,
    }


def _index(directory: Path) -> dict[str, t.Any] | None:
    data = content_if_any(directory / INDEX)
    if data is None:
        return None
    try:
        index = json.loads(data)
        complete = {"version", "not_before", "not_after", "request", "identities"} <= set(index)
    except (ValueError, TypeError):
        complete = False
    if not complete:
        return {"version": None}
    return t.cast("dict[str, t.Any]", index)


def _read_identity(directory: Path, entry: t.Mapping[str, t.Any]) -> Identity:
    stem = directory / "identities" / entry["files"]
    identity = identity_from_files(entry["name"], certificate=f"{stem}.crt", key=f"{stem}.key")
    return dataclasses.replace(identity, weak=entry["weak"])


def _key_pem(identity: Identity) -> bytes:
    return identity.key_pem or key_to_pem(identity.load_key())


def _renew_after(index: t.Mapping[str, t.Any]) -> datetime.datetime:
    """A kit is made again in the last third of its life, as short-lived certificates are."""
    begins, ends = _moment(index["not_before"]), _moment(index["not_after"])
    return begins + (ends - begins) * 2 / 3


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)
