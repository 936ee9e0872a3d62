# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CA of an external issuer that signs certificate requests: asked for on every run, and stored once it is checked.

When the issuer has another root CA, or another issuer takes over, clients get none of its certificates before the
gateway trusts it: the run that sees the new root only adds it to the trust bundle, and the next one issues.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, before_any_change
from ansible_collections.kyma.mtls.plugins.module_utils._files import content_if_any
from ansible_collections.kyma.mtls.plugins.module_utils._pki import external_ca
from ansible_collections.kyma.mtls.plugins.module_utils._pki.external_files import ExternalCa, File
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import same_authority
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

if t.TYPE_CHECKING:
    import datetime
    from pathlib import Path

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.request_issuer import RequestSigner
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import AuthoritySpec

    Certificates = tuple[x509.Certificate, ...]

# The CA that issues comes first, the root last.
_FILES = ("intermediate.crt", "intermediate-chain.pem", "ca.crt")
# What a CA whose key was here leaves; it is kept under replaced.
_KEYS = ("ca.key", "intermediate.key")


@dataclasses.dataclass(frozen=True)
class OutsideCa:
    """The CA as files and specs. With ``is_held_back``, its root is new, and nothing is issued in this run."""

    external: ExternalCa
    specs: tuple[AuthoritySpec, ...]
    is_held_back: bool = False


def find(
    usage: str,
    directory: Path,
    signer: RequestSigner,
    *,
    provider: str,
    provided: external_ca.Source | None,
    now: datetime.datetime,
) -> OutsideCa:
    """Ask the issuer for its CA, and check it. ``provided`` are the roots to which it must lead, if there are any.

    When there is no answer, the CA that is stored serves. Raises MtlsError when there is none.
    """
    stored = _stored(directory)
    notes: list[str] = []
    name = f"the CA certificates of {signer.title}"
    source = external_ca.Source(name, "", is_answer=True)
    try:
        source = dataclasses.replace(source, text=signer.authorities().decode(errors="replace"))
        named = source.certificates()
    except MtlsError as exc:
        if not stored:
            with before_any_change():
                raise
        notes.append(f"{exc} The existing files stay in use.")
        named = stored
    roots = provided.certificates() if provided is not None else named
    policy = Policy(now=now.replace(microsecond=0), purpose=usage)

    def checked(chain: Certificates, anchors: Certificates) -> tuple[Certificates, tuple[AuthoritySpec, ...]]:
        candidates = tuple(dict.fromkeys((*chain, *anchors)))
        return external_ca.path_and_specs(usage, chain[0], candidates, anchors, policy, source)

    path, specs = _with_advice(lambda: checked(named, roots), is_root_given=provided is not None)
    if usage == "client" and stored and not _is_trusted(path[-1], stored[-1], directory):
        root = path[-1]
        path, specs = checked(stored, stored)
        notes.append(
            f"{signer.title} has a new root CA, {label(root)}. It was added to what the gateway trusts, and nothing "
            f"was issued: publish it, and the next run issues certificates of it. {label(path[-1])} stays trusted "
            f"until you take it out of {directory / 'ca-bundle.crt'}."
        )
        files = tuple(external_ca.authority_files(directory, path))
        bundle = (path[-1], root)
        external = ExternalCa(
            directory, files, root=path[-1], authorities=path, bundle=bundle, notes=tuple(notes), provider=provider
        )
        return OutsideCa(external, specs, is_held_back=True)
    files = tuple(
        dataclasses.replace(file, is_replaceable=True) for file in external_ca.authority_files(directory, path)
    )
    places = {file.path for file in files}
    others = [directory / name for name in (*_FILES, *_KEYS)]
    gone = (
        ()
        if not stored or same_authority(stored[0], path[0])
        else tuple(File(place, None, is_replaceable=True) for place in others if place not in places)
    )
    external = ExternalCa(
        directory, (*files, *gone), root=path[-1], authorities=path, notes=tuple(notes), provider=provider
    )
    return OutsideCa(external, specs)


def _with_advice(prove: t.Callable[[], t.Any], *, is_root_given: bool) -> t.Any:
    try:
        return prove()
    except MtlsError as exc:
        if is_root_given:
            raise
        raise MtlsError(
            f"{exc} If the issuer does not know its root CA, provide it as provided.ca.", **exc.details
        ) from exc


def _stored(directory: Path) -> Certificates:
    """Return the CA that is there and those above it."""
    found: list[x509.Certificate] = []
    for name in _FILES:
        data = content_if_any(directory / name, what="CA certificate")
        if data is not None:
            found += load.load_certificates(data, source=str(directory / name), is_whole=True).certificates
    return tuple(found)


def _is_trusted(root: x509.Certificate, stored: x509.Certificate, directory: Path) -> bool:
    if same_authority(root, stored):
        return True
    path = directory / "ca-bundle.crt"
    data = content_if_any(path, what="bundle of CAs")
    if data is None:
        return False
    trusted = load.load_certificates(data, source=str(path), is_whole=True).certificates
    return any(same_authority(root, ca) for ca in trusted)
