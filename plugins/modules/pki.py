#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later


"""Create and renew the server PKI or the client PKI."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pki
short_description: Create and renew the server PKI or the client PKI in one call
version_added: 0.1.0
author: The kyma.mtls authors (@kyma-mtls)
description:
  - Creates a root CA, optionally an intermediate CA, and certificates. For the server it also writes the served chain,
    for clients the trust bundle of the gateway and the revocation lists. It can use a provided CA instead.
  - Plans everything before it writes anything. A refused input leaves the disk as it was, and the next run completes a
    run that was killed.
  - Creates a CA once and never replaces it. A CA that is damaged, lost or not the specified one is refused. A rotation
    replaces a CA by the next one, in the steps of O(state). A CA certificate that was renewed elsewhere with the same
    key replaces the earlier one, and nothing is issued again.
  - Corrects the modes of keys that others can read and of files that others can replace, with a warning. A run as root
    refuses files of other users.
  - Restores revocations from the revocation lists, with a warning, when the register of issued certificates was lost or
    restored from an older backup.
  - Certificates are issued as by M(kyma.mtls.certificate_batch), and the server's chain is built and validated as by
    M(kyma.mtls.certificate_chain).
attributes:
  check_mode:
    support: full
    details:
      - Predicts from an empty directory too, and writes no file.
  diff_mode:
    support: full
    details:
      - The difference is text and holds no key material.
  idempotent:
    support: full
    details:
      - Not with O(rekey), which requests new keys on every run.
options:
  usage:
    description: Which PKI this is. Certificates may be used for this purpose only.
    type: str
    choices: [server, client]
    required: true
  directory:
    description:
      - The directory of the files. It is created with the mode V(0700) when it is missing.
      - C(ca.key), C(ca.crt), C(intermediate.key) and C(intermediate.crt) are the CAs. C(server.key), C(server.crt)
        and C(server-chain.pem) are the server's. C(ca-bundle.crt) is what the gateway trusts, C(issued.jsonl) the
        register of issued certificates, C(ca.crl) the revocation lists, and C(clients/NAME/) holds a client's
        C(client.key), C(client.crt), C(client-chain.pem) and C(client.p12).
    type: path
    required: true
  state:
    description:
      - V(present) continues a rotation that is under way, and creates or renews what is missing or due.
      - V(prepared) creates the next CA, accepted beside the current one. V(switched) puts it into use.
        V(finished) retires the previous CA when that is due. Publish and verify each step before the next one.
      - V(revoked) revokes the certificates of O(revoke), and issues new ones to those in O(rekey).
    type: str
    choices: [present, prepared, switched, finished, revoked]
    default: present
  ca:
    description: The root CA. Required without O(provided), O(vault) and O(cert_manager).
    type: dict
    suboptions:
      subject:
        description: The subject, as a list of dictionaries with one pair each in the order of encoding.
        type: list
        elements: dict
        required: true
      days:
        description: The lifetime in days, used when the CA is created.
        type: int
        default: 3650
      key_type:
        description: The type of the CAs' keys.
        type: str
        choices: [RSA, ECDSA, Ed25519]
        default: RSA
      key_size:
        description: The number of bits of an RSA key.
        type: int
        default: 2048
      curve:
        description: The curve of an ECDSA key.
        type: str
        choices: [P-256, P-384]
        default: P-256
  intermediate:
    description: The intermediate CA that issues. Without it the root does.
    type: dict
    suboptions:
      subject:
        description: The subject, as a list of dictionaries with one pair each in the order of encoding.
        type: list
        elements: dict
        required: true
      days:
        description: The lifetime in days, cut to that of the root.
        type: int
        default: 1825
  ca_key_passphrase:
    description: The passphrase of the CAs' key files. Without it they are not encrypted.
    type: str
  ca_key:
    description:
      - Where the key of the root CA is, when it is not a file. It is an RSA or ECDSA key that exists there already.
      - A CA keeps the key that it was created with, and recognises it by the public key. A run that signs
        nothing opens no token and starts no command, and check mode never signs.
      - Every signature is verified with the public key before anything is written.
      - To change to another key, or from a file, rotate the CA.
  intermediate_key:
    description: Where the key of the intermediate CA is, when it is not a file. See O(ca_key).
  previous_ca_keys:
    description:
      - Where the keys of earlier CAs are, when they are not files, as O(ca_key). They sign while a CA is rotated, until
        the previous one is retired.
  name_constraints:
    description:
      - Whether new CAs may issue for O(permitted_names) and for the host names of O(certificates) only (RFC
        5280 section 4.2.1.10). An existing CA is kept as it is.
      - IP addresses are excluded, unless one is among the names of O(certificates). They are limited to networks only
        when O(permitted_names) has some, because Envoy and other programs made with BoringSSL then refuse all
        certificates with addresses.
      - The default is V(true) for O(usage=server) and V(false) for O(usage=client), because Envoy refuses a client
        whose common name could be a host name, such as C(robot), and which has no O(certificates[].sans), once a CA
        above it has name constraints.
    type: bool
  permitted_names:
    description:
      - Further names for which new CAs may issue, each as C(DNS:), C(IP:), C(URI:) or C(email:) and the
        value. A DNS name stands for all names below it too, an IP address may be a network, and of a URI it is the
        host.
    type: list
    elements: str
    default: []
  provided:
    description:
      - A provided CA, instead of O(ca) and O(intermediate). All of it is checked as a whole before anything is written,
        and then stored under the fixed names. It never replaces another CA.
    type: dict
    suboptions:
      ca:
        description:
          - The CA certificates, roots included, as the path of a file or as PEM.
          - For O(usage=client) without the key of one of them, the gateway is to trust all of them.
        type: str
      ca_key:
        description:
          - The key of the CA that issues, one of O(provided.ca). O(ca_key_passphrase) opens it, if it is encrypted,
            and encrypts the copy.
          - Without it nothing is issued or revoked, and O(certificates) must be provided too.
        type: path
      ca_key_content:
        description: The content of O(provided.ca_key).
        type: str
      provider:
        description:
          - Who issued O(certificates), such as V(acme). V(provided) means that the user provides them.
          - With any other value they were acquired from an external issuer. Then the register names the issuer,
            O(provided.ca) is by default the trust store of the system, and the issuer may change the root.
        type: str
        default: provided
  vault:
    description:
      - The PKI secrets engine of OpenBao or HashiCorp Vault as the issuer, instead of O(ca) and O(intermediate). Keys
        are generated here, and the issuer signs certificate requests.
      - Every certificate is validated before it is published. It must have the requested names, the key, and
        the extended key usage of O(usage) alone. The role of the issuer decides on the rest of the subject.
      - O(provided.ca) are the root CAs to which the issuer must lead. Without it, the CA that the issuer names is
        trusted.
      - When the issuer has another root CA, one run adds it to the trust bundle of the clients, and the next one
        issues.
    type: dict
    suboptions:
      url:
        description: The URL of the server.
        type: str
        required: true
      role:
        description: The role by which it signs.
        type: str
        required: true
      mount:
        description: Where the secrets engine is mounted.
        type: str
        default: pki
      issuer:
        description: The name of an issuer of the mount. Without it, the role's issuer signs, mostly the default one.
        type: str
      namespace:
        description: The namespace.
        type: str
      ca_file:
        description: CA certificates to verify the server's certificate by. The default is the system's store.
        type: path
      timeout:
        description: The seconds to wait for an answer.
        type: int
        default: 30
      auth:
        description: How to log in. A login ends with the run.
        type: dict
        required: true
        suboptions:
          method:
            description:
              - V(token) needs O(vault.auth.token). V(approle) needs O(vault.auth.role_id) and O(vault.auth.secret_id).
                V(cert) needs O(vault.auth.certificate) and O(vault.auth.key).
            type: str
            choices: [token, approle, cert]
            default: token
          mount:
            description: Where the method is mounted. The default is its name.
            type: str
          token:
            description: A token whose policy allows to update C(MOUNT/sign/ROLE), and C(MOUNT/revoke) to revoke.
            type: str
          role_id:
            description: The id of the AppRole.
            type: str
          secret_id:
            description: The secret of the AppRole.
            type: str
          role:
            description: The role of the certificate login.
            type: str
          certificate:
            description: The certificate, with its chain, to log in with.
            type: path
          key:
            description: Its key.
            type: path
  cert_manager:
    description:
      - An issuer of cert-manager in a cluster as the issuer of clients, instead of O(ca) and O(intermediate). Keys are
        generated here, and it signs certificate requests by CertificateRequests, which are deleted when they are read.
      - O(provided.ca) is its CA, the one that issues first, then those above it.
      - Every certificate is validated before it is published, as with O(vault). Nothing can be revoked.
    type: dict
    suboptions:
      kubeconfig:
        description: Kubeconfig on the target host. Without it, what kubectl would use.
        type: path
      context:
        description: Context in the kubeconfig. Without it, its current one.
        type: str
      namespace:
        description: Namespace of the CertificateRequests, and of an Issuer.
        type: str
        default: istio-system
      name:
        description: Name of the issuer.
        type: str
        required: true
      kind:
        description: Kind of the issuer.
        type: str
        default: ClusterIssuer
      group:
        description: API group of the issuer.
        type: str
        default: cert-manager.io
      timeout:
        description: Seconds to wait for a certificate.
        type: int
        default: 120
  crl_url:
    description:
      - Where CAs whose key is elsewhere publish their revocation lists, in DER or PEM. They are fetched on every run,
        checked, and published in C(ca.crl). There must be one for every CA that the gateway trusts.
      - A list that cannot be fetched or used does not replace the current one. The run warns, and fails when less than
        a sixth of the current one's lifetime is left.
      - The lists of O(vault) are fetched without it. They are published from the first revocation on.
    type: list
    elements: str
    default: []
  defaults:
    description: Defaults for O(certificates).
    type: dict
    default: {}
    suboptions:
      organization:
        description: The organization, for those without a whole subject.
        type: str
      key_type:
        description: The type of the key. The default is V(RSA). V(Ed25519) is for servers only.
        type: str
        choices: [RSA, ECDSA, Ed25519]
      key_size:
        description: The number of bits of an RSA key. The default is V(2048).
        type: int
      curve:
        description: The curve of an ECDSA key. The default is V(P-256).
        type: str
        choices: [P-256, P-384]
      days:
        description:
          - The lifetime in days. The default is V(365), and with O(vault) and O(cert_manager) what the issuer decides.
            Nothing outlives its CA.
        type: int
      hours:
        description: The lifetime in hours, instead of days.
        type: int
      renew_before:
        description:
          - Renew when less than this many days are left. The default is V(30). It is unset for lifetimes in hours, and
            with O(vault) and O(cert_manager).
        type: int
      renew_before_percentage:
        description:
          - Renew when less than this percentage of the lifetime is left, unless O(defaults.renew_before) is set. The
            default is V(33).
        type: int
  certificates:
    description: Certificates to issue. Exactly one for O(usage=server).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name used in results, messages and the register, and of a client's directory.
        type: str
        required: true
      common_name:
        description: The common name. The default is O(certificates[].name).
        type: str
      organization:
        description: The organization.
        type: str
      subject:
        description:
          - The whole subject, as a list of dictionaries with one pair each in the order of encoding, instead of the
            two.
        type: list
        elements: dict
      sans:
        description: Subject alternative names, each as C(DNS:), C(IP:), C(URI:) or C(email:) and the value.
        type: list
        elements: str
      key_type:
        description: The type of the key.
        type: str
        choices: [RSA, ECDSA, Ed25519]
      key_size:
        description: The number of bits of an RSA key.
        type: int
      curve:
        description: The curve of an ECDSA key.
        type: str
        choices: [P-256, P-384]
      days:
        description: The lifetime in days.
        type: int
      hours:
        description: The lifetime in hours, instead of days.
        type: int
      renew_before:
        description: Renew when less than this many days are left.
        type: int
      renew_before_percentage:
        description:
          - Renew when less than this share of the lifetime is left, unless O(certificates[].renew_before) is set.
        type: int
      p12:
        description: Write a PKCS#12 file too, for browsers and operating systems.
        type: dict
        suboptions:
          password:
            description: The password of the file. It must not be empty.
            type: str
            required: true
          friendly_name:
            description: The name that programs show. The default is O(certificates[].name).
            type: str
          profile:
            description: V(modern) is AES-256 with SHA-256, V(legacy) is 3DES with SHA-1 for old systems.
            type: str
            choices: [modern, legacy]
            default: modern
      state:
        description: With V(absent) its files are removed. This does not revoke the certificate.
        type: str
        choices: [present, absent]
      certificate:
        description:
          - The finished certificate, as the path of a file or as PEM, where O(provided) has no key that could issue
            it.
        type: str
      chain:
        description: Certificates of intermediate CAs that belong to it, as the path of a file or as PEM, in any order.
        type: str
      key:
        description: The file of its key.
        type: path
      key_content:
        description: The content of O(certificates[].key).
        type: str
      key_passphrase:
        description: The passphrase of that key. The copy of the key has none.
        type: str
      key_is_elsewhere:
        description:
          - The key stays where it was made, such as in a Secret of a cluster. Certificate and chain are checked and
            stored without it.
        type: bool
        default: false
  certificates_file:
    description:
      - A file on the target host with more clients than those of O(certificates), read by the module itself, for long
        lists. For O(usage=client) only.
      - YAML or JSON, with a list of dictionaries as in O(certificates), or CSV, whose first line names the columns. In
        CSV, C(sans) are separated by spaces, and C(subject), C(p12), C(key_content) and C(key_passphrase) cannot be
        given.
      - The extension of its name decides on the format, C(.yml), C(.yaml), C(.json) or C(.csv). Errors are reported
        with their line numbers.
    type: path
    version_added: 0.2.0
  rekey:
    description:
      - Names of certificates that get a new key and certificate on this run. The only way to a new certificate for a
        revoked client.
    type: list
    elements: str
    default: []
  revoke:
    description: Clients of which O(state=revoked) revokes all certificates, by name.
    type: list
    elements: str
    default: []
  hostnames:
    description: The host names for which the server's chain must be valid.
    type: list
    elements: str
    default: []
  include_root:
    description: Whether the server's chain ends with the root.
    type: bool
    default: true
  grace_days:
    description:
      - Keep the previous CA for this many days after the new one was put into use.
      - With V(0) the server's previous CA is retired at once, and the previous client CA as soon as no client has a
        certificate of it.
    type: int
    default: 0
  crl_days:
    description: Days until the next update of a new revocation list.
    type: int
    default: 90
  crl_refresh_before:
    description: Renew a revocation list when less than this many days are left until its next update.
    type: int
    default: 30
  concurrency:
    description:
      - How many keys are generated at the same time. The default is the number of cores.
      - With an external issuer, how many of its requests are under way at the same time. The default is 8.
      - Thousands of existing certificates are compared on all cores, whatever this is.
    type: int
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
  - kyma.mtls._attributes.action_in_process
  - kyma.mtls._signer.pki
requirements:
  - cryptography >= 44.0
  - idna >= 3.4, for names with letters outside ASCII only
seealso:
  - module: kyma.mtls.certificate_batch
  - module: kyma.mtls.certificate_chain
"""

EXAMPLES = r"""
- name: Issue a server certificate by a CA that may issue for its domain only
  kyma.mtls.pki:
    usage: server
    directory: ~/own/server
    ca:
      subject:
        - O: Example
        - CN: Example Server Root
    certificates:
      - name: server
        common_name: "*.apps.example.com"
        organization: Example
        sans:
          - DNS:*.apps.example.com
    hostnames:
      - www.apps.example.com

- name: Issue certificates to two clients by an intermediate CA
  kyma.mtls.pki:
    usage: client
    directory: ~/own/client
    ca:
      subject:
        - O: Example
        - CN: Example Client Root
    intermediate:
      subject:
        - O: Example
        - CN: Example Client Issuing CA
    defaults:
      organization: Example
      key_type: ECDSA
    certificates:
      - name: curl
        common_name: Example Curl
      - name: robot
        sans:
          - URI:spiffe://example.com/robot
        days: 30
        renew_before: 10

- name: Revoke one of them
  kyma.mtls.pki:
    usage: client
    directory: ~/own/client
    ca:
      subject:
        - O: Example
        - CN: Example Client Root
    intermediate:
      subject:
        - O: Example
        - CN: Example Client Issuing CA
    state: revoked
    revoke: [robot]

- name: Issue with a CA key in a hardware security module
  kyma.mtls.pki:
    usage: client
    directory: ~/hsm/client
    ca:
      subject:
        - O: Example
        - CN: Example HSM Root
      key_type: ECDSA
    ca_key:
      pkcs11:
        module: /usr/lib/softhsm/libsofthsm2.so
        token: kyma
        label: client-ca
        pin: "{{ vault_token_pin }}"
    defaults:
      organization: Example
    certificates:
      - name: curl

- name: Issue certificates for one day by OpenBao
  kyma.mtls.pki:
    usage: client
    directory: ~/fleet/client
    vault:
      url: https://bao.example.com:8200
      mount: pki
      role: client
      ca_file: ~/fleet/bao-ca.crt
      auth:
        method: approle
        role_id: "{{ bao_role_id }}"
        secret_id: "{{ bao_secret_id }}"
    defaults:
      key_type: ECDSA
      hours: 24
    certificates:
      - name: curl
      - name: robot
        sans:
          - URI:spiffe://example.com/robot

- name: Trust the clients of a corporate CA
  kyma.mtls.pki:
    usage: client
    directory: ~/corporate/client
    provided:
      ca: ~/pki/client/ca.crt
"""

RETURN = r"""
actions:
  description: The actions on CAs, chains, bundles and lists, one sentence each; predicted in check mode.
  returned: success
  type: list
  elements: str
  sample:
    - "Create the server root CA in /home/me/own/server: subject [{\"CN\": \"Example Server Root\"}],
      key RSA 2048, 3650 days."
changes:
  description: Name, action and reasons of the certificates that needed something.
  returned: success
  type: list
  elements: dict
  sample:
    - name: curl
      action: issue
      reasons: [there is no certificate yet]
phase:
  description: Phase of the rotation after the run. V(none), V(prepared), V(switching) or V(overlap).
  returned: success
  type: str
  sample: none
is_finished:
  description: Whether the previous CA is no longer accepted.
  returned: with O(state=finished), and when a rotation was under way
  type: bool
  sample: true
until:
  description: When the previous CA is retired, or null when no time decides.
  returned: with RV(is_finished)
  type: str
  sample: "2027-11-23T12:00:00Z"
left_behind:
  description: The clients that still have a certificate of the previous CA.
  returned: with RV(is_finished)
  type: list
  elements: str
  sample: [robot]
revoked:
  description: The certificates that this run revoked, with C(name), C(serial_number) and C(subject).
  returned: success
  type: list
  elements: dict
  sample:
    - name: robot
      serial_number: 3d5c0a2b7e9f14c6a8b0d2e4f60718293a4b5c6d
      subject: CN=robot,O=Example
lists:
  description: The revocation lists, with their C(issuer) and the C(reasons) why one was renewed.
  returned: success
  type: list
  elements: dict
  sample:
    - issuer: CN=Example Client Issuing CA,O=Example
      reasons: [its next update is due on 2026-12-01]
kept:
  description: The directories in which key and certificate of those in O(revoke) are, or will be, kept, by name.
  returned: success
  type: dict
  sample: {robot: /home/me/own/client/revoked/robot}
"""

import datetime
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._module import (
    Module,
    clean_failure,
    require_cryptography,
    require_kubernetes,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki import parameters, reconcile
from ansible_collections.kyma.mtls.plugins.module_utils._signer import options as signers

_STR = {"type": "str"}
_PATH = {"type": "path"}
_KEY_OPTIONS: dict[str, t.Any] = {
    "key_type": {"type": "str", "choices": ["RSA", "ECDSA", "Ed25519"], "no_log": False},
    "key_size": {"type": "int", "no_log": False},
    "curve": {"type": "str", "choices": ["P-256", "P-384"]},
}
_SUBJECT = {"type": "list", "elements": "dict"}
_SIGNER: dict[str, t.Any] = {"type": "dict", "options": signers.OPTIONS, "no_log": False}
_LEAF: dict[str, t.Any] = _KEY_OPTIONS | {
    "organization": _STR,
    "days": {"type": "int"},
    "hours": {"type": "int"},
    "renew_before": {"type": "int"},
    "renew_before_percentage": {"type": "int"},
}
_VAULT_LOGIN: dict[str, t.Any] = {
    "method": {"type": "str", "choices": ["token", "approle", "cert"], "default": "token"},
    "mount": _STR,
    "token": {"type": "str", "no_log": True},
    "role_id": _STR,
    "secret_id": {"type": "str", "no_log": True},
    "role": _STR,
    "certificate": _PATH,
    "key": _PATH | {"no_log": False},
}


def argument_spec() -> dict[str, t.Any]:
    """Give the module's options."""
    return {
        "usage": {"type": "str", "choices": ["server", "client"], "required": True},
        "directory": {"type": "path", "required": True},
        "state": {
            "type": "str",
            "choices": ["present", "prepared", "switched", "finished", "revoked"],
            "default": "present",
        },
        "ca": {
            "type": "dict",
            "options": {
                "subject": _SUBJECT | {"required": True},
                "days": {"type": "int", "default": 3650},
                "key_type": _KEY_OPTIONS["key_type"] | {"default": "RSA"},
                "key_size": _KEY_OPTIONS["key_size"] | {"default": 2048},
                "curve": _KEY_OPTIONS["curve"] | {"default": "P-256"},
            },
        },
        "intermediate": {
            "type": "dict",
            "options": {"subject": _SUBJECT | {"required": True}, "days": {"type": "int", "default": 1825}},
        },
        "ca_key_passphrase": {"type": "str", "no_log": True},
        "ca_key": _SIGNER,
        "intermediate_key": _SIGNER,
        "previous_ca_keys": _SIGNER | {"type": "list", "elements": "dict", "default": []},
        "name_constraints": {"type": "bool"},
        "permitted_names": {"type": "list", "elements": "str", "default": []},
        "provided": {
            "type": "dict",
            "options": {
                "ca": _STR,
                "ca_key": _PATH | {"no_log": False},
                "ca_key_content": {"type": "str", "no_log": True},
                "provider": {"type": "str", "default": "provided"},
            },
        },
        "vault": {
            "type": "dict",
            "options": {
                "url": {"type": "str", "required": True},
                "role": {"type": "str", "required": True},
                "mount": {"type": "str", "default": "pki"},
                "issuer": _STR,
                "namespace": _STR,
                "ca_file": _PATH,
                "timeout": {"type": "int", "default": 30},
                "auth": {"type": "dict", "required": True, "options": _VAULT_LOGIN},
            },
        },
        "cert_manager": {
            "type": "dict",
            "options": {
                "kubeconfig": _PATH,
                "context": _STR,
                "namespace": {"type": "str", "default": "istio-system"},
                "name": {"type": "str", "required": True},
                "kind": {"type": "str", "default": "ClusterIssuer"},
                "group": {"type": "str", "default": "cert-manager.io"},
                "timeout": {"type": "int", "default": 120},
            },
        },
        "crl_url": {"type": "list", "elements": "str", "default": []},
        "defaults": {"type": "dict", "options": _LEAF, "default": {}},
        "certificates": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": _LEAF
            | {
                "name": {"type": "str", "required": True},
                "common_name": _STR,
                "subject": _SUBJECT,
                "sans": {"type": "list", "elements": "str"},
                "p12": {
                    "type": "dict",
                    "options": {
                        "password": {"type": "str", "required": True, "no_log": True},
                        "friendly_name": _STR,
                        "profile": {"type": "str", "choices": ["modern", "legacy"], "default": "modern"},
                    },
                },
                "state": {"type": "str", "choices": ["present", "absent"]},
                "certificate": _STR,
                "chain": _STR,
                "key": _PATH | {"no_log": False},
                "key_content": {"type": "str", "no_log": True},
                "key_passphrase": {"type": "str", "no_log": True},
                "key_is_elsewhere": {"type": "bool", "default": False, "no_log": False},
            },
        },
        "certificates_file": _PATH,
        "rekey": {"type": "list", "elements": "str", "default": [], "no_log": False},
        "revoke": {"type": "list", "elements": "str", "default": []},
        "hostnames": {"type": "list", "elements": "str", "default": []},
        "include_root": {"type": "bool", "default": True},
        "grace_days": {"type": "int", "default": 0},
        "crl_days": {"type": "int", "default": 90},
        "crl_refresh_before": {"type": "int", "default": 30},
        "concurrency": {"type": "int"},
    }


def _requests(module: AnsibleModule) -> t.Any:
    """Return what signs in a cluster, None when it is nobody there."""
    given = module.params["cert_manager"]
    if not given:
        return None
    require_kubernetes(module)
    from ansible_collections.kyma.mtls.plugins.module_utils._kubernetes import (  # noqa: PLC0415  (most runs do without)
        certificate_requests,
    )

    return certificate_requests.CertificateRequests(
        connection={key: given[key] for key in ("kubeconfig", "context")},
        namespace=given["namespace"],
        issuer={key: given[key] for key in ("name", "kind", "group")},
        timeout_seconds=given["timeout"],
    )


def main(make_module: t.Callable[..., AnsibleModule] = Module) -> None:
    """Run the module."""
    module = make_module(argument_spec=argument_spec(), supports_check_mode=True)
    require_cryptography(module)
    module.no_log_values.update(parameters.exposed_keys(module.params))
    with clean_failure(module):
        now = datetime.datetime.now(datetime.UTC)
        given = parameters.with_clients_of_file(module.params)
        module.no_log_values.update(parameters.secrets_in(given))
        spec = parameters.to_spec(given, now=now, requests=_requests(module))
        result = reconcile.reconcile(spec, check_mode=module.check_mode, now=now)
        for note in result.pop("notes"):
            module.warn(note)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
