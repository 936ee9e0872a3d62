# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates, keys and CAs that are provided: checked as a whole before anything is touched.

What is provided gets the fixed names of the files in the directory, so that whoever reads them there need not know
where they came from. The files that result are compared and written by :mod:`external_files`.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, KEY_MODE, expand, read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, trust_bundle
from ansible_collections.kyma.mtls.plugins.module_utils._pki.external_files import ExternalCa, File
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PROVIDED, AuthoritySpec
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain, describe, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import rules
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert, as_cert
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

Certificates: t.TypeAlias = "tuple[x509.Certificate, ...]"


@dataclasses.dataclass(frozen=True)
class Source:
    """PEM as the caller gave it, a path or the content itself; ``name`` is the option.

    What an issuer answers is never a path: ``is_answer``.
    """

    name: str
    text: str = dataclasses.field(repr=False)
    is_answer: bool = False

    @property
    def _is_content(self) -> bool:
        return self.is_answer or self.name.endswith("_content") or "-----begin" in self.text.lower()

    @property
    def label(self) -> str:
        """What the source is called in messages: never its content."""
        return f"the content of {self.name}" if self._is_content else f"{self.text} ({self.name})"

    def read(self) -> bytes:
        """Return what is there; raises MtlsError when it is not."""
        if self._is_content:
            return self.text.encode()
        return read_bytes(expand(self.text), what=f"file of {self.name}")

    def certificates(self) -> Certificates:
        """Return the certificates; raises MtlsError when there is none, or one is damaged."""
        return load.load_certificates(self.read(), source=self.label, is_whole=True).certificates


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its key, with what belongs to its chain."""

    name: str
    certificate: Source
    key: Source | None  # None: it stays where it was made, as in a Secret of a cluster
    passphrase: str | None = dataclasses.field(repr=False)
    chain: Source | None


@dataclasses.dataclass(frozen=True)
class Provided:
    """What a PKI is provided with: CAs, and either the key of the one that issues or finished certificates.

    ``provider`` is who issued them.
    """

    usage: str
    directory: Path
    authorities: Source
    authority_key: Source | None
    passphrase: str | None = dataclasses.field(repr=False)
    pairs: tuple[Pair, ...]
    hostnames: tuple[str, ...]
    include_root: bool
    provider: str = PROVIDED

    @property
    def is_client(self) -> bool:
        return self.usage == "client"


def check(given: Provided, *, now: datetime.datetime) -> tuple[ExternalCa, tuple[AuthoritySpec, ...]]:
    """Check everything that is provided; return the files that it makes, and the CAs where certificates are issued.

    Raises MtlsError naming what is wrong, where, and what to do. Nothing has been touched then.
    """
    authorities, notes = trust_bundle.ordered(given.authorities.certificates(), now)
    policy = Policy(now=now.replace(microsecond=0), purpose=given.usage)
    if given.authority_key is not None:
        external, specs = _issuing(given, given.authority_key, trust_bundle.one_each(authorities, now), policy)
        return dataclasses.replace(external, notes=tuple(notes), provider=given.provider), specs
    roots = tuple(authority for authority in authorities if _is_self_issued(authority))
    if not roots:
        raise MtlsError(
            f"There is no root among the certificates in {given.authorities.label}: none of them is self-issued. Add "
            "the root CA in which the chains end."
        )
    if given.is_client:
        external = _trusting(given, authorities, roots, policy)
    else:
        external = _serving(given, authorities, trust_bundle.one_each(roots, now), policy)
    return dataclasses.replace(external, notes=(*notes, *external.notes), provider=given.provider), ()


def _issuing(
    given: Provided, key_source: Source, authorities: Certificates, policy: Policy
) -> tuple[ExternalCa, tuple[AuthoritySpec, ...]]:
    """A CA with its key: a root, or one below a root that is provided too."""
    key = _load_key(key_source, given.passphrase)
    fitting = [authority for authority in authorities if load.key_matches(authority, key)]
    if not fitting:
        raise MtlsError(
            f"The key in {key_source.label} belongs to none of the certificates in {given.authorities.label}: "
            f"{', '.join(map(describe.label, authorities))}. Provide the CA's certificate and its own key."
        )
    path, specs = path_and_specs(given.usage, fitting[0], authorities, authorities, policy, given.authorities)
    secret = load.as_secret(given.passphrase)
    key_file = File(
        given.directory / f"{specs[-1].basename}.key",
        keys.to_pem(key, passphrase=secret),
        KEY_MODE,
        key=key,
        passphrase=given.passphrase,
    )
    files = (key_file, *authority_files(given.directory, path))
    return ExternalCa(given.directory, files, root=path[-1], authorities=path), specs


def path_and_specs(
    usage: str,
    issuer: x509.Certificate,
    candidates: Certificates,
    roots: Certificates,
    policy: Policy,
    source: Source,
) -> tuple[Certificates, tuple[AuthoritySpec, ...]]:
    """Return a CA that issues with those above it, and the specs of root and intermediate CA. Raises MtlsError."""
    _refuse_no_authority(issuer, source)
    path = _path(issuer, candidates, roots, policy, source)
    _refuse_path_length(path, source)
    specs = [_authority(usage, "ca", path[-1])]
    if len(path) > 1:
        specs.append(_authority(usage, "intermediate", issuer))
    return path, tuple(specs)


def authority_files(directory: Path, path: Certificates) -> list[File]:
    """Return the files of a CA that issues and of those above it."""
    basename = "ca" if len(path) == 1 else "intermediate"
    files = [_authority_file(directory, f"{basename}.crt", path[0])]
    if len(path) > 2:
        files.append(_authority_file(directory, "intermediate-chain.pem", *path[1:-1]))
    if len(path) > 1:
        files.append(_authority_file(directory, "ca.crt", path[-1]))
    return files


def _serving(given: Provided, authorities: Certificates, roots: Certificates, policy: Policy) -> ExternalCa:
    """A server's certificate from a CA whose key is elsewhere."""
    if len(given.pairs) != 1:
        raise MtlsError(
            "The server's certificate and key are missing. Provide them, or the key of the CA that is to issue them."
        )
    policy = dataclasses.replace(policy, hostnames=given.hostnames)
    answer, files = _pair_files(given, given.pairs[0], given.directory, "server", authorities, roots, policy)
    root = _authority_file(given.directory, "ca.crt", answer.path[-1])
    # An external issuer decides itself below which root it issues.
    root = dataclasses.replace(root, is_replaceable=given.provider != PROVIDED)
    return ExternalCa(
        given.directory,
        (root, *files),
        root=answer.path[-1],
        authorities=answer.path[1:],
        notes=answer.warnings,
        leaves=((given.pairs[0].name, answer.path[0]),),
    )


def _trusting(given: Provided, authorities: Certificates, roots: Certificates, policy: Policy) -> ExternalCa:
    """CAs that the gateway is to trust, and clients' certificates that they have issued elsewhere."""
    for authority in authorities:
        _refuse_no_authority(authority, given.authorities)
        _path(authority, authorities, roots, policy, given.authorities)
    root = _authority_file(given.directory, "ca.crt", roots[0])
    files = [dataclasses.replace(root, alternatives=tuple((root_ca,) for root_ca in roots))]
    notes: list[str] = []
    leaves: list[tuple[str, x509.Certificate]] = []
    for pair in given.pairs:
        place = given.directory / "clients" / pair.name
        answer, own = _pair_files(given, pair, place, "client", authorities, roots, policy)
        notes += answer.warnings
        leaves.append((pair.name, answer.path[0]))
        files += own
    return ExternalCa(
        given.directory,
        tuple(files),
        root=roots[0],
        authorities=authorities,
        bundle=authorities,
        notes=tuple(notes),
        leaves=tuple(leaves),
    )


def _pair_files(
    given: Provided,
    pair: Pair,
    place: Path,
    basename: str,
    authorities: Certificates,
    roots: Certificates,
    policy: Policy,
) -> tuple[chain.ResolvedChain, list[File]]:
    key = _load_key(pair.key, pair.passphrase) if pair.key is not None else None
    further = pair.chain.certificates() if pair.chain is not None else ()
    leaf_input = pair.certificate.certificates()
    try:
        answer = chain.resolve(
            chain.ChainRequest(
                leaf_input=leaf_input,
                candidates=(*further, *authorities),
                roots=roots,
                private_key=key,
                include_root=given.include_root and not given.is_client,
                policy=policy,
            )
        )
    except MtlsError as exc:
        where = f"Its key is in {pair.key.label}, its root must" if pair.key is not None else "Its root must"
        raise MtlsError(
            f"Certificate {pair.name} in {pair.certificate.label}: {exc} {where} be in {given.authorities.label}.",
            **exc.details,
        ) from exc
    if given.is_client and key is not None and keys.spec_of(key).type == "Ed25519":
        raise MtlsError(
            f"Certificate {pair.name} in {pair.certificate.label} has an Ed25519 key, which Envoy, and so every Istio "
            "gateway, does not accept of a client. Provide one with an ECDSA or RSA key."
        )
    key_path = place / f"{basename}.key"
    return answer, [
        File(key_path, keys.to_pem(key) if key is not None else None, KEY_MODE, is_replaceable=True),
        File(place / f"{basename}.crt", _pem(answer.path[0]), CERTIFICATE_MODE, is_replaceable=True),
        File(place / f"{basename}-chain.pem", "".join(answer.pem).encode(), CERTIFICATE_MODE, is_replaceable=True),
    ]


def _path(
    certificate: x509.Certificate,
    candidates: Certificates,
    roots: Certificates,
    policy: Policy,
    source: Source,
) -> Certificates:
    """The certificates from a CA to its root; raises MtlsError when there is no valid way."""
    problem = rules.authority_problem(Cert(certificate), policy, anchor=certificate in roots)
    if problem is not None:
        raise MtlsError(
            f"The CA {describe.label(certificate)} in {source.label} cannot be used: {problem}. Provide another one."
        )
    try:
        answer = chain.resolve(
            chain.ChainRequest(
                leaf_input=(certificate,),
                candidates=candidates,
                roots=tuple(root for root in roots if _is_self_issued(root)),
                policy=policy,
            )
        )
    except MtlsError as exc:
        raise MtlsError(
            f"The CA {describe.label(certificate)} in {source.label} cannot be used: {exc}",
            **exc.details,
        ) from exc
    return answer.path


def _refuse_path_length(path: Certificates, source: Source) -> None:
    """Refuse a CA that is not allowed to issue where it stands (RFC 5280 section 6.1.4 (m)).

    The way from it to its root was found as if it were the certificate of a server or client, which no path length
    counts; as the one that issues, it is an intermediate CA itself.
    """
    views = [Cert(certificate) for certificate in path]
    for number, above in enumerate(views):
        below = sum(not view.self_issued for view in views[:number])
        if above.path_length is not None and above.path_length < below:
            raise MtlsError(
                f"The CA {views[0].label} in {source.label} cannot issue certificates that anybody accepts: the path "
                f"length constraint of {above.label} allows {above.path_length} intermediates below it, and here are "
                f"{below}. Provide a CA that may issue, or have this one made below another."
            )


def _refuse_no_authority(certificate: x509.Certificate, source: Source) -> None:
    view = as_cert(certificate)
    if isinstance(view, str) or not view.is_ca:
        raise MtlsError(
            f"The certificate {describe.label(certificate)} in {source.label} is not that of a CA (basicConstraints "
            "CA:TRUE). Provide CA certificates there."
        )


def _is_self_issued(certificate: x509.Certificate) -> bool:
    view = as_cert(certificate)
    return not isinstance(view, str) and view.self_issued


def _load_key(source: Source, passphrase: str | None) -> keys.LeafKey:
    key = load.load_private_key(source.read(), source=source.label, passphrase=load.as_secret(passphrase))
    return t.cast("keys.LeafKey", key)


def _authority(usage: str, basename: str, certificate: x509.Certificate) -> AuthoritySpec:
    title = f"provided {usage} {'root' if basename == 'ca' else 'intermediate'} CA"
    return AuthoritySpec(
        title=title,
        basename=basename,
        subject=certificate.subject,
        key=keys.spec_of(certificate.public_key()),
        days=0,
    )


def _authority_file(directory: Path, name: str, *certificates: x509.Certificate) -> File:
    return File(directory / name, _pem(*certificates), authorities=certificates)


def _pem(*certificates: x509.Certificate) -> bytes:
    return "".join(map(describe.pem_of, certificates)).encode()
