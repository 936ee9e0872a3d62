#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_chain
short_description: Build, validate and write the certificate chain of a server or a client
version_added: 0.1.0
description:
  - Finds the shortest valid chain from a certificate to one of your roots, over any number of candidates, and writes it
    to a file, leaf first.
  - All paths are tried (RFC 4158), so cross-signed, re-keyed, expired and revoked certificates among the candidates do
    no harm as long as there is one valid path. The result does not depend on the order of the input.
  - The chain is validated as in RFC 5280 section 6, including signatures, validity, path lengths, key usages, name
    constraints, policies and, if given, revocation lists. Weak signatures (SHA-1, MD5) and short keys (RSA below 2048
    bits, elliptic curves below 224 bits, DSA) are refused.
  - All input may be PEM (several certificates, with text and keys between them), DER or PKCS#7, in any order, with
    duplicates and unrelated certificates. Nothing is fetched from the network.
  - A chain that cannot be built leaves O(dest) as it is, and the message names the link that is missing.
extends_documentation_fragment:
  - ansible.builtin.files
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Only certificates are shown. Anything else that O(dest) holds, such as a key, is mentioned but not shown.
  idempotent:
    support: full
    details:
      - The file is compared byte for byte. As time passes, a later run may find another chain, because a certificate
        has expired since.
options:
  leaf:
    description:
      - File with the certificate that the chain begins with.
      - It may hold more certificates, which then count as candidates. The leaf is the one that the private key fits;
        without a key, the only one that issued none of the others.
      - Exactly one of O(leaf) and O(leaf_content) is required.
    type: path
  leaf_content:
    description: The content of O(leaf).
    type: str
  candidates:
    description:
      - Files and directories with certificates that may be needed as intermediates. Directories are read recursively;
        files in them that hold no certificate are skipped with a warning.
    type: list
    elements: path
    default: []
  candidates_content:
    description: One string with any number of further candidates.
    type: str
  roots:
    description:
      - Files and directories with the certificates that you trust. At least one of O(roots) and O(roots_content) is
        required.
    type: list
    elements: path
    default: []
  roots_content:
    description: One string with any number of further roots.
    type: str
  dest:
    description: File to write the chain to. Its directory must exist.
    type: path
  include_root:
    description: Whether the chain ends with the root. Verifiers have it already, so most servers leave it out.
    type: bool
    default: true
  backup:
    description: Whether to keep a copy of the former O(dest), with a timestamp in its name, when it changes.
    type: bool
    default: false
  private_key:
    description: File with the leaf's private key, to check that the two belong together. It is never written.
    type: path
  private_key_content:
    description: The content of O(private_key).
    type: str
  private_key_passphrase:
    description: The passphrase of the private key, if it is encrypted.
    type: str
  purpose:
    description:
      - What the leaf is for. V(server) and V(client) require the fitting key usage and extended key usage in the whole
        chain, V(any) requires none.
    type: str
    choices: [server, client, any]
    default: server
  hostnames:
    description:
      - Names that the leaf must be valid for. Each must match one of its subject alternative names by RFC 9525; the
        common name counts for nothing.
      - Host names, IP addresses, e-mail addresses and URIs are understood. A wildcard (V(*.mtls.local.kyma.dev)) must
        be among the names as it is. Letters outside ASCII are converted by IDNA 2008.
    type: list
    elements: str
    default: []
  valid_at:
    description:
      - The moment at which the chain must be valid, as RFC 3339 (V(2026-11-23T12:00:00Z)), as V(YYYYMMDDHHMMSSZ), or
        relative to now (V(+30d), V(-1w2d3h4m5s)).
      - The default is now.
    type: str
  min_remaining:
    description:
      - Days that must be left, at O(valid_at), until the first certificate of the chain, root included, expires.
    type: int
  min_remaining_action:
    description: What to do when fewer days than O(min_remaining) are left.
    type: str
    choices: [warn, fail]
    default: warn
  profile:
    description:
      - V(rfc5280) is RFC 5280 as validators must apply it. V(webpki) adds the rules of the CA/Browser Forum for public
        TLS certificates, for example a subject alternative name and an extended key usage in the leaf, named curves,
        positive serial numbers and key identifiers.
    type: str
    choices: [rfc5280, webpki]
    default: rfc5280
  crls:
    description:
      - Files and directories with certificate revocation lists, in PEM or DER.
      - A list that is issued by an authority of the chain must be valid and fresh; if it is not, the certificates of
        that authority are refused.
    type: list
    elements: path
    default: []
  crls_content:
    description: One string with any number of further certificate revocation lists in PEM.
    type: str
  require_crl:
    description: Whether every certificate below the root must be covered by one of the given revocation lists.
    type: bool
    default: false
  max_depth:
    description: How many intermediates the chain may have; those that are self-issued do not count.
    type: int
    default: 8
  allow_partial:
    description:
      - Whether a chain may end in a root that is not a self-issued certificate (what OpenSSL calls a partial chain).
        Without it, such certificates among the roots count as candidates.
    type: bool
    default: false
requirements:
  - cryptography >= 44.0
  - idna >= 3.4, for names with letters outside ASCII only
seealso:
  - module: community.crypto.certificate_complete_chain
author:
  - The kyma.mtls authors (@kyma-mtls)
"""

EXAMPLES = r"""
- name: Write the gateway's chain, valid for its host and matching its key
  kyma.mtls.certificate_chain:
    leaf: /etc/pki/gateway/server.crt
    private_key: /etc/pki/gateway/server.key
    candidates: [/etc/pki/gateway/intermediates]
    roots: [/etc/pki/gateway/ca.crt]
    hostnames: [httpbin.mtls.local.kyma.dev]
    min_remaining: 30
    dest: /etc/pki/gateway/server-chain.pem
    mode: "0644"

- name: Check that a client's certificate is valid and not revoked
  kyma.mtls.certificate_chain:
    leaf: /etc/pki/client/client.crt
    purpose: client
    roots: [/etc/pki/client/ca.crt]
    crls: [/etc/pki/client/ca.crl]
    require_crl: true
  register: client_chain

- name: Write the chain of a public server without its root
  kyma.mtls.certificate_chain:
    leaf: /etc/pki/public/server.crt
    candidates: [/etc/pki/public/intermediates.p7b]
    roots: [/etc/ssl/certs]
    profile: webpki
    include_root: false
    dest: /etc/pki/public/fullchain.pem
"""

RETURN = r"""
chain:
  description: The chain, leaf first, as PEM; exactly what O(dest) holds. It ends with the root if O(include_root=true).
  returned: success
  type: list
  elements: str
  sample: ["-----BEGIN CERTIFICATE-----\nMIID...\n-----END CERTIFICATE-----\n"]
complete_chain:
  description: The concatenation of RV(chain).
  returned: success
  type: str
  sample: "-----BEGIN CERTIFICATE-----\nMIID...\n-----END CERTIFICATE-----\n"
certificates:
  description: Facts on every certificate from the leaf to the root, the root always included.
  returned: success
  type: list
  elements: dict
  contains:
    subject:
      description: The subject as RFC 4514 writes it.
      type: str
      sample: "CN=*.mtls.local.kyma.dev,O=ML Server Org"
    issuer:
      description: The issuer as RFC 4514 writes it.
      type: str
      sample: CN=ML Server Root CA,O=ML Server Org
    sans:
      description: The subject alternative names, with their kind in front.
      type: list
      elements: str
      sample: ["DNS:*.mtls.local.kyma.dev", "IP:127.0.0.1"]
    serial_number:
      description: The serial number in lower-case hexadecimal digits.
      type: str
      sample: 04dc6d8f7e1fb3a0
    fingerprint_sha256:
      description: The SHA-256 of the certificate, in hexadecimal digits.
      type: str
      sample: 5f1c0e3a7b0d4c4e9f9f2b8f6d3a1c5e7b9d0f2a4c6e8b0d1f3a5c7e9b1d3f5a
    spki_sha256:
      description: The SHA-256 of the public key (SubjectPublicKeyInfo), in hexadecimal digits.
      type: str
      sample: a5f3d1b9e7c5a3f1d0b8e6c4a2f0d9b7e5c1a3d6f8b2f9f9e4c4d0b7a3e0c1f5
    not_before:
      description: The first moment of validity, as RFC 3339.
      type: str
      sample: "2026-11-23T12:00:00Z"
    not_after:
      description: The last moment of validity, as RFC 3339.
      type: str
      sample: "2027-11-23T12:00:00Z"
    days_left:
      description: Whole days from O(valid_at) to RV(certificates[].not_after).
      type: int
      sample: 364
    key:
      description: The public key's C(type) and, where the type has them, its C(size) in bits and its C(curve).
      type: dict
      sample: {type: RSA, size: 2048}
    signature:
      description: The signature's C(algorithm), its C(oid) and its C(hash).
      type: dict
      sample: {algorithm: sha256WithRSAEncryption, oid: 1.2.840.113549.1.1.11, hash: sha256}
root:
  description: The root, as PEM, also when it is not in RV(chain).
  returned: success
  type: str
  sample: "-----BEGIN CERTIFICATE-----\nMIID...\n-----END CERTIFICATE-----\n"
expires:
  description: When the first certificate of the chain, root included, expires, as RFC 3339.
  returned: success
  type: str
  sample: "2027-11-23T12:00:00Z"
rejected:
  description: Candidates that were considered and are not in the chain, and why not; at most 1000.
  returned: success, and when no chain was found
  type: list
  elements: dict
  contains:
    subject:
      description: The candidate's subject.
      type: str
    issuer:
      description: The candidate's issuer.
      type: str
    fingerprint_sha256:
      description: The SHA-256 of the candidate.
      type: str
    reason:
      description: Why it was not used.
      type: str
      sample: "it expired at 2026-01-01T00:00:00Z (now is 2026-11-23T12:00:00Z)"
stopped_by_limit:
  description: Which of the search's limits stopped it before every path was tried; V(none) if all were tried.
  returned: when no chain was found
  type: str
  sample: none
warnings:
  description: Oddities of the input or the chain that are no reason to refuse it.
  returned: when there are any
  type: list
  elements: str
  sample: ["1 file(s) in /etc/pki/gateway/intermediates hold nothing usable as candidates and are skipped: a.txt"]
dest:
  description: The file that the chain is in.
  returned: success and O(dest) is given
  type: str
  sample: /etc/pki/gateway/server-chain.pem
backup_file:
  description: The copy of the former O(dest).
  returned: changed and O(backup=true) and there was a file
  type: str
  sample: /etc/pki/gateway/server-chain.pem.4711.2026-11-23@12:00:00~
"""

import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._destination import place_certificates
from ansible_collections.kyma.mtls.plugins.module_utils._files import read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._x509 import chain, load, policy, sources, times


def argument_spec() -> dict[str, t.Any]:
    paths = {"type": "list", "elements": "path", "default": []}
    return {
        "leaf": {"type": "path"},
        "leaf_content": {"type": "str"},
        "candidates": paths,
        "candidates_content": {"type": "str"},
        "roots": paths,
        "roots_content": {"type": "str"},
        "dest": {"type": "path"},
        "include_root": {"type": "bool", "default": True},
        "backup": {"type": "bool", "default": False},
        "private_key": {"type": "path", "no_log": False},
        "private_key_content": {"type": "str", "no_log": True},
        "private_key_passphrase": {"type": "str", "no_log": True},
        "purpose": {"type": "str", "choices": ["server", "client", "any"], "default": "server"},
        "hostnames": {"type": "list", "elements": "str", "default": []},
        "valid_at": {"type": "str"},
        "min_remaining": {"type": "int"},
        "min_remaining_action": {"type": "str", "choices": ["warn", "fail"], "default": "warn"},
        "profile": {"type": "str", "choices": ["rfc5280", "webpki"], "default": "rfc5280"},
        "crls": paths,
        "crls_content": {"type": "str"},
        "require_crl": {"type": "bool", "default": False},
        "max_depth": {"type": "int", "default": 8},
        "allow_partial": {"type": "bool", "default": False},
    }


def read_request(given: dict[str, t.Any]) -> tuple[chain.ChainRequest, list[str]]:
    """Return the request that the module's parameters make, and what was passed over while reading it."""
    leaves = sources.gather_certificates([given["leaf"]] if given["leaf"] else [], given["leaf_content"], what="leaf")
    candidates = sources.gather_certificates(given["candidates"], given["candidates_content"], what="candidates")
    roots = sources.gather_certificates(given["roots"], given["roots_content"], what="roots")
    crls = sources.gather_crls(given["crls"], given["crls_content"], what="CRLs")
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    request = chain.ChainRequest(
        leaf_input=leaves.items,
        candidates=candidates.items,
        roots=roots.items,
        private_key=read_private_key(given),
        include_root=given["include_root"],
        min_remaining=given["min_remaining"],
        min_remaining_fails=given["min_remaining_action"] == "fail",
        policy=policy.Policy(
            now=times.parse_moment(given["valid_at"], now=now) if given["valid_at"] else now,
            purpose=given["purpose"],
            profile=given["profile"],
            hostnames=tuple(given["hostnames"]),
            max_depth=given["max_depth"],
            crls=crls.items,
            require_crl=given["require_crl"],
            allow_partial=given["allow_partial"],
        ),
    )
    return request, [*leaves.warnings, *candidates.warnings, *roots.warnings, *crls.warnings]


def read_private_key(given: dict[str, t.Any]) -> t.Any:
    source, data = "private_key_content", (given["private_key_content"] or "").encode("utf-8", "surrogatepass")
    if given["private_key"]:
        source = given["private_key"]
        data = read_bytes(source, what="private key")
    if not data:
        return None
    return load.load_private_key(data, passphrase=load.as_secret(given["private_key_passphrase"]), source=source)


def main() -> None:
    module = Module(
        argument_spec=argument_spec(),
        mutually_exclusive=[("leaf", "leaf_content"), ("private_key", "private_key_content")],
        required_one_of=[("leaf", "leaf_content")],
        add_file_common_args=True,
        supports_check_mode=True,
    )
    require_cryptography(module)
    with clean_failure(module):
        request, remarks = read_request(module.params)
        answer = chain.resolve(request)
        result = {"changed": False, **answer.as_result()}
        if module.params["dest"]:
            result.update(place_certificates(module, "".join(answer.pem)))
        for text in (*remarks, *answer.warnings):
            module.warn(text)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
