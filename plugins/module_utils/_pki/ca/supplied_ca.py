# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CAs, certificates and keys that are provided or come from an external issuer: checked as a whole, then written.

What is provided gets the fixed names of the files in the directory, so that whoever reads them there need not know
where they came from.

An external issuer that signs certificate requests is asked for its CA on every run. When it has another root CA, or
another issuer takes over, clients get none of its certificates before the gateway trusts it: the run that sees the new
root only adds it to the trust bundle, and the next one issues.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import CERTIFICATE_MODE, KEY_MODE
from ansible_collections.kyma.mtls.plugins.module_utils._pki import keys, profile
from ansible_collections.kyma.mtls.plugins.module_utils._pki.ca import trust_bundle
from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import entry_of
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import (
    AuthoritySpec,
    File,
    Pair,
    Provided,
    Source,
    SuppliedCa,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import NONE, OVERLAP
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain, load
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import label, time_text
from ansible_collections.kyma.mtls.plugins.module_utils._x509.issuance import is_ca, is_self_issued, same_authority
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path import rules
from ansible_collections.kyma.mtls.plugins.module_utils._x509.path.certificate import Cert
from ansible_collections.kyma.mtls.plugins.module_utils._x509.policy import Policy

if t.TYPE_CHECKING:
    import datetime

    from cryptography import x509

    from ansible_collections.kyma.mtls.plugins.module_utils._pki.register import Register
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import PkiSpec, RequestSigner
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.state import PkiState

Certificates: t.TypeAlias = "tuple[x509.Certificate, ...]"

# The CA that issues comes first, the root last.
_FILES = ("intermediate.crt", "intermediate-chain.pem", "ca.crt")
# What a CA whose key was here leaves; it is kept under replaced.
_KEYS = ("ca.key", "intermediate.key")
# Files of a CA of our own, and of its rotation.
_OWN = ("ca.key", "intermediate.key", "next/ca.crt", "previous/ca.crt")


def resolve(spec: PkiSpec, state: PkiState, *, now: datetime.datetime) -> PkiSpec:
    """Read and check the CA that is not created here, and everything that is provided with it; add it to the spec.

    Raises MtlsError naming what is wrong, where, and what to do. Nothing has been touched then.
    """
    if spec.signer is not None:
        return _at_issuer(spec, spec.signer, state, now)
    return _provided(spec, spec.provided, now) if spec.provided is not None else spec


def _provided(spec: PkiSpec, provided: Provided, now: datetime.datetime) -> PkiSpec:
    source = t.cast("Source", provided.authorities)
    authorities, notes = trust_bundle.ordered(source.certificates(), now)
    policy = Policy(now=now.replace(microsecond=0), purpose=spec.usage)
    specs: tuple[AuthoritySpec, ...] = ()
    if provided.authority_key is not None:
        candidates = trust_bundle.one_each(authorities, now)
        supplied_ca, specs = _issuing(spec, source, provided.authority_key, candidates, policy)
    else:
        roots = tuple(ca for ca in authorities if is_self_issued(ca))
        if not roots:
            raise MtlsError(
                f"There is no root among the certificates in {source.label}: none of them is self-issued. Add "
                "the root CA in which the chains end."
            )
        if spec.is_client:
            supplied_ca = _trusting(spec, provided, source, authorities, roots, policy)
        else:
            supplied_ca = _serving(spec, provided, source, authorities, trust_bundle.one_each(roots, now), policy)
    supplied_ca = dataclasses.replace(supplied_ca, notes=(*notes, *supplied_ca.notes))
    return dataclasses.replace(spec, supplied_ca=supplied_ca, authorities=specs)


def _issuing(
    spec: PkiSpec, source: Source, key_source: Source, authorities: Certificates, policy: Policy
) -> tuple[SuppliedCa, tuple[AuthoritySpec, ...]]:
    """A CA with its key: a root, or one below a root that is provided too."""
    key = _load_key(key_source, spec.passphrase)
    fitting = [ca for ca in authorities if load.key_matches(ca, key)]
    if not fitting:
        raise MtlsError(
            f"The key in {key_source.label} belongs to none of the certificates in {source.label}: "
            f"{', '.join(map(label, authorities))}. Provide the CA's certificate and its own key."
        )
    path, specs = _path_and_specs(spec.usage, fitting[0], authorities, authorities, policy, source)
    key_file = File(
        f"{specs[-1].basename}.key",
        keys.to_pem(key, passphrase=load.as_secret(spec.passphrase)),
        KEY_MODE,
        key=key,
        passphrase=spec.passphrase,
    )
    files = (key_file, *_authority_files(path))
    return SuppliedCa(files, root=path[-1], authorities=path), specs


def _path_and_specs(
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


def _authority_files(path: Certificates) -> list[File]:
    """Return the files of a CA that issues and of those above it."""
    basename = "ca" if len(path) == 1 else "intermediate"
    files = [_authority_file(f"{basename}.crt", path[0])]
    if len(path) > 2:
        files.append(_authority_file("intermediate-chain.pem", *path[1:-1]))
    if len(path) > 1:
        files.append(_authority_file("ca.crt", path[-1]))
    return files


def _serving(
    spec: PkiSpec, provided: Provided, source: Source, authorities: Certificates, roots: Certificates, policy: Policy
) -> SuppliedCa:
    """A server's certificate from a CA whose key is elsewhere."""
    if len(provided.pairs) != 1:
        raise MtlsError(
            "The server's certificate and key are missing. Provide them, or the key of the CA that is to issue them."
        )
    policy = dataclasses.replace(policy, hostnames=spec.hostnames)
    pair = provided.pairs[0]
    answer, files = _pair_files(spec, pair, source, "", authorities, roots, policy)
    root = _authority_file("ca.crt", answer.path[-1])
    # An external issuer decides itself below which root it issues.
    root = dataclasses.replace(root, is_replaceable=spec.is_external)
    return SuppliedCa(
        (root, *files),
        root=answer.path[-1],
        authorities=answer.path[1:],
        notes=tuple(_warnings(pair.name, answer)),
        leaves=((pair.name, answer.path[0]),),
    )


def _trusting(
    spec: PkiSpec, provided: Provided, source: Source, authorities: Certificates, roots: Certificates, policy: Policy
) -> SuppliedCa:
    """CAs that the gateway is to trust, and clients' certificates that they have issued elsewhere."""
    for ca in authorities:
        _refuse_no_authority(ca, source)
        _path(ca, authorities, roots, policy, source)
    root = _authority_file("ca.crt", roots[0])
    files = [dataclasses.replace(root, alternatives=tuple((root_ca,) for root_ca in roots))]
    notes: list[str] = []
    leaves: list[tuple[str, x509.Certificate]] = []
    for pair in provided.pairs:
        answer, own = _pair_files(spec, pair, source, f"clients/{pair.name}/", authorities, roots, policy)
        notes += _warnings(pair.name, answer)
        leaves.append((pair.name, answer.path[0]))
        files += own
    return SuppliedCa(
        tuple(files),
        root=roots[0],
        authorities=authorities,
        bundle=authorities,
        notes=tuple(notes),
        leaves=tuple(leaves),
    )


def _pair_files(
    spec: PkiSpec,
    pair: Pair,
    source: Source,
    place: str,
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
                include_root=spec.include_root and not spec.is_client,
                policy=policy,
            )
        )
    except MtlsError as exc:
        where = f"Its key is in {pair.key.label}, its root must" if pair.key is not None else "Its root must"
        raise MtlsError(
            f"Certificate {pair.name} in {pair.certificate.label}: {exc} {where} be in {source.label}.",
            **exc.details,
        ) from exc
    if spec.is_client and key is not None and keys.spec_of(key).type == "Ed25519":
        raise MtlsError(
            f"Certificate {pair.name} in {pair.certificate.label} has an Ed25519 key, which Envoy, and so every Istio "
            "gateway, does not accept of a client. Provide one with an ECDSA or RSA key."
        )
    return answer, [
        File(f"{place}{spec.usage}.key", keys.to_pem(key) if key is not None else None, KEY_MODE, is_replaceable=True),
        File(f"{place}{spec.usage}.crt", trust_bundle.pem(answer.path[:1]), CERTIFICATE_MODE, is_replaceable=True),
        File(f"{place}{spec.usage}-chain.pem", "".join(answer.pem).encode(), CERTIFICATE_MODE, is_replaceable=True),
    ]


def _warnings(name: str, answer: chain.ResolvedChain) -> list[str]:
    first_to_end = min(answer.path[1:] or answer.path, key=lambda ca: ca.not_valid_after_utc)
    return [*answer.warnings, *profile.outliving_note({name: answer.path[0]}, first_to_end)]


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
            f"The CA {label(certificate)} in {source.label} cannot be used: {problem}. Provide another one."
        )
    try:
        answer = chain.resolve(
            chain.ChainRequest(
                leaf_input=(certificate,),
                candidates=candidates,
                roots=tuple(root for root in roots if is_self_issued(root)),
                policy=policy,
            )
        )
    except MtlsError as exc:
        raise MtlsError(
            f"The CA {label(certificate)} in {source.label} cannot be used: {exc}",
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
    if not is_ca(certificate):
        raise MtlsError(
            f"The certificate {label(certificate)} in {source.label} is not that of a CA (basicConstraints "
            "CA:TRUE). Provide CA certificates there."
        )


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


def _authority_file(name: str, *certificates: x509.Certificate) -> File:
    return File(name, trust_bundle.pem(certificates), authorities=certificates)


def _at_issuer(spec: PkiSpec, signer: RequestSigner, state: PkiState, now: datetime.datetime) -> PkiSpec:
    """Ask the issuer for its CA, and check it. What is provided are the roots to which it must lead.

    When there is no answer, the CA that is stored serves. Raises MtlsError when there is none.
    """
    provided = spec.provided.authorities if spec.provided is not None else None
    stored = _stored(state)
    notes: list[str] = []
    given = provided.certificates() if provided is not None else ()
    source = Source(f"the CA certificates of {signer.title}", "", is_answer=True)
    try:
        named = given
        if (answer := signer.authorities()) is not None:
            source = dataclasses.replace(source, text=answer.decode(errors="replace"))
            named = source.certificates()
    except MtlsError as exc:
        if not stored:
            raise
        notes.append(f"{exc} The existing files stay in use.")
        named = stored
    policy = Policy(now=now.replace(microsecond=0), purpose=spec.usage)

    def checked(chain: Certificates, anchors: Certificates) -> tuple[Certificates, tuple[AuthoritySpec, ...]]:
        candidates = tuple(dict.fromkeys((*chain, *anchors)))
        return _path_and_specs(spec.usage, chain[0], candidates, anchors, policy, source)

    try:
        path, specs = checked(named, given or named)
    except MtlsError as exc:
        if given and given is not named:
            raise
        raise MtlsError(
            f"{exc} If the issuer does not know its root CA, provide it as provided.ca.", **exc.details
        ) from exc
    if spec.is_client and stored and not _is_trusted(path[-1], stored[-1], state):
        root = path[-1]
        path, specs = checked(stored, stored)
        notes.append(
            f"{signer.title} has a new root CA, {label(root)}. It was added to what the gateway trusts, and nothing "
            f"was issued: publish it, and the next run issues certificates of it. {label(path[-1])} stays trusted "
            f"until you take it out of {state.trust_bundle}."
        )
        files = tuple(_authority_files(path))
        supplied_ca = SuppliedCa(files, root=path[-1], authorities=path, bundle=(path[-1], root), notes=tuple(notes))
        return dataclasses.replace(spec, supplied_ca=supplied_ca, authorities=specs, is_held_back=True)
    files = tuple(dataclasses.replace(file, is_replaceable=True) for file in _authority_files(path))
    if stored and not same_authority(stored[0], path[0]):
        names = {file.name for file in files}
        files += tuple(File(name, None, is_replaceable=True) for name in (*_FILES, *_KEYS) if name not in names)
    supplied_ca = SuppliedCa(files, root=path[-1], authorities=path, notes=tuple(notes))
    return dataclasses.replace(spec, supplied_ca=supplied_ca, authorities=specs)


def _stored(state: PkiState) -> Certificates:
    """Return the CA that is there and those above it."""
    paths = [state.directory / name for name in _FILES]
    return tuple(ca for path in paths if state.exists(path) for ca in state.certificates(path))


def _is_trusted(root: x509.Certificate, stored: x509.Certificate, state: PkiState) -> bool:
    if same_authority(root, stored):
        return True
    path = state.trust_bundle
    trusted = state.certificates(path, what="bundle of CAs") if state.exists(path) else ()
    return any(same_authority(root, ca) for ca in trusted)


@dataclasses.dataclass(frozen=True)
class RecordCertificates:
    """Add certificates to the register, before they are published."""

    register: Register
    entries: tuple[dict[str, t.Any], ...]

    def apply(self) -> None:
        self.register.write(self.entries)


def plan_supplied_files(
    spec: PkiSpec, supplied_ca: SuppliedCa, state: PkiState, register: Register, *, now: datetime.datetime
) -> None:
    """Plan the files that are missing or replaced. Raises MtlsError for what would take the place of something else.

    What a certificate or key replaces is kept under ``replaced``.
    """
    is_overlap = spec.is_external and state.phase == OVERLAP
    if state.phase != NONE and not is_overlap:
        raise MtlsError(
            f"A rotation of the CA in {state.directory} is under way, so nothing can be provided there. End the "
            "rotation first."
        )
    _refuse_another_authority(spec, supplied_ca, state)
    if spec.is_external:
        _plan_record(spec, supplied_ca, state, register, now)
    for provided in supplied_ca.files:
        present = state.read(state.directory / provided.name)
        file = provided if present is None else _renewed(state, provided, present, now)
        is_same = file.data is None if present is None else _is_same(state, file, present)
        if not is_same:
            _plan_file(spec, state, file, present)
    if supplied_ca.bundle:
        _plan_bundle(spec, supplied_ca, state, now)


def _plan_record(
    spec: PkiSpec, supplied_ca: SuppliedCa, state: PkiState, register: Register, now: datetime.datetime
) -> None:
    found = [
        entry_of(
            "recorded",
            name,
            leaf,
            usage=spec.usage,
            moment=now,
            reasons=["it was acquired"],
            provider=spec.provider,
        )
        for name, leaf in supplied_ca.leaves
        if not register.knows(leaf.serial_number)
    ]
    if not (found or register.count or any(certificate.is_present for certificate in spec.certificates)):
        # Without any line, nobody could tell the issuer's CA from one of ours.
        trusted = {"event": "trusted", "time": time_text(now), "name": "ca", "provider": spec.provider}
        state.operations.append(RecordCertificates(register, (trusted,)))
        state.actions.append(f"Record that the CA is that of {spec.provider}.")
    if found or register.is_torn:
        state.operations.append(RecordCertificates(register, tuple(found)))
        state.actions += [f"Record the certificate of {entry['name']}, issued by {spec.provider}." for entry in found]


def _plan_file(spec: PkiSpec, state: PkiState, file: File, present: bytes | None) -> None:
    path = state.directory / file.name
    if present is not None:
        if not file.is_replaceable:
            raise MtlsError(
                f"{path} already exists and differs from what is provided. It was not overwritten, and nothing was "
                "changed. Move it away to have it replaced, or provide what is there."
            )
        import hashlib  # noqa: PLC0415  (rare)

        # In a directory named after its content, so that nothing is ever lost.
        kept = state.directory / "replaced" / hashlib.sha256(present).hexdigest()[:16] / path.name
        state.write(kept, present, mode=KEY_MODE)
    if file.data is None:
        state.actions.append(f"Move {path} to {state.directory / 'replaced'}: the key in use is elsewhere.")
        state.remove(path)
        return
    source = f"issued by {spec.provider}" if spec.is_external else "provided"
    state.actions.append(f"{'Write' if present is None else 'Replace'} {path} from what is {source}.")
    state.write(path, file.data, mode=file.mode)


def _plan_bundle(spec: PkiSpec, supplied_ca: SuppliedCa, state: PkiState, now: datetime.datetime) -> None:
    """CAs are added to those that the gateway trusts, and only expired ones of a CA that was renewed go."""
    path = state.trust_bundle
    present = state.certificates(path) if state.exists(path) else ()
    trusted, notes = trust_bundle.ordered((*present, *supplied_ca.bundle), now)
    state.notes += notes
    if present != trusted:
        file = File(path.name, trust_bundle.pem(trusted), is_replaceable=True)
        _plan_file(spec, state, file, state.read(path))


def _renewed(state: PkiState, file: File, present: bytes, now: datetime.datetime) -> File:
    """Let the better certificate of the same CA be the right one, whether it is provided or there already."""
    if not file.authorities:
        return file
    try:
        found = load.load_certificates(present, source=str(state.directory / file.name)).certificates
    except MtlsError:
        return file
    for option in (file.authorities, *file.alternatives):
        if len(option) == len(found) and all(map(same_authority, found, option)):
            better = [trust_bundle.best(pair, now) for pair in zip(found, option, strict=True)]
            # A bundle of one's own making may have comments or another order of lines: the certificates count.
            data = present if tuple(better) == found else trust_bundle.pem(better)
            return dataclasses.replace(file, data=data, is_replaceable=True)
    return file


def _refuse_another_authority(spec: PkiSpec, supplied_ca: SuppliedCa, state: PkiState) -> None:
    """Refuse a directory with a CA of its own, unless it is the one that is provided."""
    path = state.directory / "ca.crt"
    if state.exists(path):
        present = state.certificate(path)
        if any(same_authority(present, ca) for ca in (supplied_ca.root, *supplied_ca.bundle)):
            return
        if spec.is_external and not _own_left(spec, supplied_ca, state):
            return
        raise MtlsError(
            f"{state.directory} has a CA already, {label(present)} in {path}, and provided is "
            f"{label(supplied_ca.root)}. A CA is never replaced automatically; nothing was changed. Move "
            f"{state.directory} away to start over with what is provided, or provide the CA that is there."
        )
    if foreign := _own_left(spec, supplied_ca, state):
        raise MtlsError(
            f"{state.directory} has a CA of its own already: {', '.join(foreign)}. A CA is never replaced "
            f"automatically; nothing was changed. Move {state.directory} away to start over with what is provided."
        )


def _own_left(spec: PkiSpec, supplied_ca: SuppliedCa, state: PkiState) -> list[str]:
    """Name the files of a CA of our own that are there and have no place in what is external."""
    planned = {file.name for file in supplied_ca.files}
    # A previous CA may be there when an external issuer has taken over.
    names = _OWN[:-1] if spec.is_external else _OWN
    return [name for name in names if name not in planned and state.exists(state.directory / name)]


def _is_same(state: PkiState, file: File, present: bytes) -> bool:
    if present == file.data:
        return True
    return file.key is not None and _is_same_key(state, file, file.key, present)


def _is_same_key(state: PkiState, file: File, key: keys.LeafKey, present: bytes) -> bool:
    """Whether the key of a CA that is there is ``key``, whatever protects it. Raises MtlsError if nobody can tell."""
    path, secret = state.directory / file.name, load.as_secret(file.passphrase)
    try:
        found = load.load_private_key(present, source=str(path), passphrase=secret)
    except load.WrongPassphraseError as exc:
        reason = "is not the one that is given" if secret else "is not given"
        raise MtlsError(
            f"{path} already exists and is encrypted, and its passphrase {reason}, so it is unknown whether it is "
            f"what is provided. {_of_which_certificate(state, file, key)} Give the passphrase of the stored key as "
            "ca_key_passphrase, and the provided key with the same one or with none. It was not overwritten, and "
            "nothing was changed."
        ) from exc
    except MtlsError:
        return False
    return load.public_bytes_of(found.public_key()) == load.public_bytes_of(key.public_key())


def _of_which_certificate(state: PkiState, file: File, key: keys.LeafKey) -> str:
    path = (state.directory / file.name).with_suffix(".crt")
    if not state.exists(path):
        return f"There is no certificate {path} that could tell."
    present = state.certificate(path)
    if load.key_matches(present, key):
        return f"The certificate {path} beside it is that of the provided key: probably only the passphrase differs."
    return f"The certificate {path} beside it is not that of the provided key."
