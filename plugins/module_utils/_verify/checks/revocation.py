# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who of the given clients is revoked: they must be refused, and the others must still get in."""

from __future__ import annotations

import datetime
import os
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import content_if_any
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.case import Case, Outcome
from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import ListedClient
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import identity_from_files
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.issuing import IssuingCa
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.throw_away import ThrowAwayIdentities
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label, name_text, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_issued_by
from ansible_collections.kyma.mtls.plugins.module_utils._x509.load import load_crls

if t.TYPE_CHECKING:
    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._verify.checks.inspection import VerifyOptions
    from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.identity import Identity

_CERTIFICATES = ("client-chain.pem", "client.crt")
_SUFFIXES = frozenset({".pem", ".crt", ".cer", ".key", ".p12", ".pfx"})
Crls: t.TypeAlias = "t.Sequence[x509.CertificateRevocationList]"


def read_crls(path: str | None) -> tuple[x509.CertificateRevocationList, ...]:
    """Return the lists in ``path``; a file that does not exist means that nobody has been revoked yet."""
    if not path:
        return ()
    data = content_if_any(path, what="revocation list")
    return () if data is None else load_crls(data, source=path).crls


def set_apart(
    crls: Crls, client: Identity, clients: t.Sequence[ListedClient], authority: IssuingCa | None
) -> tuple[Identity, tuple[ListedClient, ...], tuple[ListedClient, ...]]:
    """Return the good client, the other clients and the revoked ones.

    When the good client is revoked, another one takes its place: the first of ``clients`` that must be accepted, or a
    throw-away one of ``authority``. Raises MtlsError when there is none.
    """
    revoked = [
        ListedClient(f"revoked client {client.name}", "refused", client.identity)
        for client in clients
        if client.identity is not None and is_revoked(crls, client.identity)
    ]
    others = [client for client in clients if client.identity is None or not is_revoked(crls, client.identity)]
    if not is_revoked(crls, client):
        return client, tuple(others), tuple(revoked)
    revoked.insert(0, ListedClient("revoked client", "refused", client))
    good = next((other for other in others if other.identity is not None and other.expect == "accepted"), None)
    if good is not None and good.identity is not None:
        others.remove(good)
        return good.identity, tuple(others), tuple(revoked)
    if authority is None:
        raise MtlsError(
            f"The good client's certificate {label(client.certificate)} is revoked, and there is no other client to "
            "prove that anybody still gets in. Give client_cert and client_key of one that is not revoked."
        )
    now = datetime.datetime.now(tz=datetime.UTC)
    return ThrowAwayIdentities(client, authority, now=now).twin("throw-away client"), tuple(others), tuple(revoked)


def is_revoked(crls: Crls, identity: Identity) -> bool:
    """Tell whether a list of the certificate's issuer has its serial number."""
    certificate = identity.certificate
    return any(
        crl.issuer == certificate.issuer
        and crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
        for crl in crls
    )


def is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether ``authority`` has issued ``certificate``, or is it."""
    return certificate == authority or is_issued_by(certificate, authority)


def folders_of(directory: str | None) -> list[Path]:
    """Return the folders of the revoked clients below ``directory``.

    A directory that does not exist means that nobody has been revoked yet.
    """
    if not directory:
        return []
    root = Path(directory)
    files = [path for path in _files_below(root) if path.suffix in _SUFFIXES]
    return sorted({path.parent for path in files if path.parent != root or path.name in _CERTIFICATES})


def read_revoked(directory: str | None, folders: t.Iterable[Path]) -> tuple[ListedClient, ...]:
    """Return the clients in ``folders`` of ``directory``: in each a key and, as client-chain.pem or client.crt, its
    certificate. A folder with another file of a client, and without such a certificate, is a client that cannot be
    tried.
    """
    return tuple(_read_revoked(folder, folder.relative_to(directory or "")) for folder in folders)


def _files_below(root: Path) -> t.Iterator[Path]:
    """Yield every file. Raises MtlsError for what cannot be looked into: a revoked client may be there."""

    def refuse(exc: OSError) -> None:
        if not isinstance(exc, (FileNotFoundError, NotADirectoryError)):
            raise MtlsError(
                f"revoked_dir: {exc.filename} cannot be read: {exc.strerror}. Let this user read it, so that every "
                "revoked client is tried."
            ) from exc

    seen: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()  # a link that leads back
            continue
        seen.add(real)
        yield from (Path(folder, name) for name in names)


def _read_revoked(folder: Path, name: Path) -> ListedClient:
    certificate = next((folder / ending for ending in _CERTIFICATES if (folder / ending).exists()), None)
    if certificate is None:
        problem = f"{folder} has no {' and no '.join(_CERTIFICATES)}. Put the revoked certificate there."
        return ListedClient(f"revoked client {name}", "refused", None, problem=problem)
    try:
        identity = identity_from_files(str(name), certificate=str(certificate), key=str(folder / "client.key"))
    except MtlsError as exc:
        return ListedClient(f"revoked client {name}", "refused", None, problem=str(exc))
    return ListedClient(f"revoked client {name}", "refused", identity)


def distinct(clients: t.Iterable[ListedClient]) -> tuple[ListedClient, ...]:
    """Return ``clients``, each certificate once."""
    found = {
        client.identity.certificate if client.identity else client.name: client for client in reversed(list(clients))
    }
    return tuple(reversed(found.values()))


def check_untried(options: VerifyOptions) -> list[Case]:
    """MV-29: a list that nobody was tried of proves nothing about the server."""
    listed = sum(len(crl) for crl in options.crls)
    issuers = {crl.issuer for crl in options.crls if len(crl)}
    if options.revoked or not listed or (options.authority and options.authority.certificate.subject in issuers):
        return []
    text = f"none of the {listed} revoked was there to be tried: give revoked_dir, revoked_cert or client_ca_key"
    return [Case("MV-29", "revoked clients", Outcome.SKIPPED, text)]


def check_freshness(crls: Crls, *, now: datetime.datetime) -> list[Case]:
    """MV-29: a list that lapses locks everybody out of Envoy; so it is missed in its last quarter already.

    That a list is fresh here is no proof that the server has it.
    """
    return [_check_list(crl, now=now) for crl in crls]


def _check_list(crl: x509.CertificateRevocationList, *, now: datetime.datetime) -> Case:
    name = f"revocation list of {name_text(crl.issuer)}"
    begins, ends = crl.last_update_utc, crl.next_update_utc
    if ends is None:
        return Case("MV-29", name, Outcome.WARNING, "it does not say when its next update is due")
    evidence = {"last_update": time_text(begins), "next_update": time_text(ends), "revoked": len(crl)}
    if ends <= now:
        text = f"stale: its next update was due on {time_text(ends)}, and Envoy refuses every client until there is one"
        return Case("MV-29", name, Outcome.FAILED, text, evidence)
    if ends - now < (ends - begins) / 4:
        text = f"its next update is due on {time_text(ends)}; without it Envoy refuses every client"
        return Case("MV-29", name, Outcome.WARNING, text, evidence)
    text = f"{len(crl)} revoked, next update by {time_text(ends)}"
    return Case("MV-29", name, Outcome.PASSED, text, evidence, is_proof=False)
