#!/usr/bin/python
# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mtls_verify
short_description: Prove by real handshakes that an endpoint lets the right TLS clients in and keeps the wrong ones out
version_added: 0.1.0
description:
  - Connects to a mutual-TLS endpoint as a good client and as clients that must not get in (without a certificate,
    of another CA, of an impostor with the CA's name, expired, for another purpose, revoked, with someone else's key),
    and checks what the server does. No cluster and no server-side access is needed.
  - A refusal counts only on the TLS alert that the server sent, or on a documented HTTP-level refusal,
    and only between two successes of the good client. A server that crashes, resets, hangs or cannot be reached
    is an outage, never a pass. A check that could not run is skipped with its reason, never passed.
  - What was not tried proves nothing. Without a good client, or without any refusal to try, the verdict is V(failed).
  - Bad clients are tried in every way in which the good one is served - in TLS 1.2 and 1.3; with ALPN C(h2),
    C(http/1.1) and none; without SNI and with another SNI.
  - Requests are made in HTTP/1.1, and in HTTP/2 where a server speaks nothing else.
  - Also checks the server's certificate and chain, TLS versions, cipher suites and groups, client CA hints,
    session resumption, the identity headers that the workload sees, forged identity headers, SNI and Host mismatches
    and plain HTTP.
  - Generates the bad clients itself, which resemble the good one. Their keys are kept in memory only
    (on systems without memfd, in an encrypted temporary file for the moment of loading).
extends_documentation_fragment:
  - kyma.mtls._attributes
  - kyma.mtls._attributes.actiongroup_mtls
  - kyma.mtls._attributes.action_in_process
  - kyma.mtls._signer.test_identities
attributes:
  check_mode:
    support: full
    details:
      - In check mode the handshakes take place when the certificates and the listener exist, and no report is written.
        Otherwise the module is skipped and says why.
  diff_mode:
    support: N/A
    details:
      - The module changes nothing. It never reports its own reports as a change.
  idempotent:
    support: full
requirements:
  - cryptography >= 44.0
  - idna >= 3.4, for names with letters outside ASCII only
  - jmespath, for expressions in O(expect) and O(identity_path) that are more than dotted names
author:
  - The kyma.mtls authors (@kyma-mtls)
options:
  url:
    description:
      - The address to verify, with the path to request. Its host is used for SNI, for the C(Host) header and to check
        the server's certificate; a final dot is used in the C(Host) header only, as curl does.
      - A host with letters outside ASCII is converted by IDNA 2008 (UTS 46, non-transitional), as browsers and curl do.
      - Without it, the first path in O(workloads) that every client may use without a token, else the first that one of
        them may use, which is then the good client.
    type: str
  connect_to:
    description:
      - Connect to this C(host:port) instead of the address of O(url), as C(curl --connect-to) does.
        No DNS is needed then.
    type: str
  ca:
    description:
      - Files with the CA certificates that the server's certificate must lead to (PEM, DER or PKCS#7).
      - Without O(ca) and O(ca_content), the system's trust store decides.
    type: list
    elements: path
  ca_content:
    description: CA certificates in PEM, beside or instead of O(ca).
    type: str
  client_cert:
    description:
      - The good client's certificate, with its intermediate certificates if it has any (PEM or DER).
      - One of this, O(client_p12) and O(probe_kit) is required.
    type: path
  client_key:
    description: The good client's private key. Default is the file O(client_cert).
    type: path
  client_key_passphrase:
    description: The passphrase of O(client_key).
    type: str
  client_p12:
    description: The good client's certificate and key in one PKCS#12 file.
    type: path
  client_p12_password:
    description: The password of O(client_p12).
    type: str
  probe_kit:
    description:
      - The directory of a probe kit, made by M(kyma.mtls.probe_kit), for a host that must not have the client CA's key.
        It takes the place of O(client_cert) and O(client_ca_key), and of O(ca) and O(client_ca_cert) where these are
        not given.
      - Every check is made as with the client CA's key.
    type: path
    version_added: 0.2.0
  client_ca_cert:
    description:
      - The CA certificates whose clients the server is expected to trust, all of them.
        The CA names that the server asks for must be exactly these.
  client_ca_key:
    description:
      - The private key of one of O(client_ca_cert). Clients that are expired, not yet valid or for another purpose are
        made with it. Without it, the checks that need them are skipped.
    type: path
  client_ca_signer:
    description:
      - Where the key of one of O(client_ca_cert) is, when it is not a file. It signs the test identities.
      - It is not used when O(client_ca_key) names a file that is there.
      - When the token is not there, the checks that need these identities are skipped, with a warning.
  server_ca_key:
    description:
      - The private key of the CA of the server's certificate (a CA of O(ca), or one that the server presents).
        With it, MV-22 tries a client of that CA. Without it, that check cannot be decided on some servers.
      - A file that does not exist counts as not given.
    type: path
  server_ca_signer:
    description:
      - Where the key of the CA of the server's certificate is, when it is not a file. It is not used when
        O(server_ca_key) names a file that is there.
  revoked_cert:
    description: A revoked client's certificate. Without it, the revocation check is skipped.
    type: path
  revoked_key:
    description: The private key of O(revoked_cert).
    type: path
  revoked_dir:
    description:
      - A directory with revoked clients. Every directory below it with a C(client.key) and a C(client-chain.pem) or
        C(client.crt) is one; all of them must be refused. One that is incomplete, or cannot be read, fails.
      - A missing directory means that no client has been revoked yet.
    type: path
  crl:
    description:
      - The revocation lists that the server has. A missing file means that no client has been revoked yet.
      - Clients in it must be refused as revoked. When the good client is in it, the first of O(clients) that is not
        takes its place, or a throw-away client of O(client_ca_key).
      - With O(client_ca_key), a throw-away client with the serial number that was revoked last must be refused, too.
      - A list that is due for its next update soon gets a warning, an overdue one fails.
    type: path
  clients:
    description: Further identities to try.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name in the report.
        type: str
        required: true
      cert:
        description: The certificate, with its intermediate certificates if it has any.
        type: path
        required: true
      key:
        description: The private key. Default is the file O(clients[].cert).
        type: path
      key_passphrase:
        description: The passphrase of O(clients[].key).
        type: str
      expect:
        description:
          - What the server must do with this client. A client that must be V(refused) may be refused by an alert
            or by HTTP 400, 401 or 403 (by nginx also 495 or 496). A refusal because it has expired proves nothing, and
            fails.
        type: str
        choices: [accepted, refused]
        default: accepted
  clients_file:
    description:
      - A file with more clients that must be accepted, as O(kyma.mtls.pki#module:certificates_file) has them. Those of
        O(clients_directory) belong to it.
      - Without O(client_cert), O(client_p12) and O(probe_kit), its first client is the good one.
    type: path
    version_added: 0.2.0
  clients_directory:
    description:
      - The directory with one for each client of O(clients_file), by its name, with C(client-chain.pem) and
        C(client.key) in it.
    type: path
    version_added: 0.2.0
  clients_sample:
    description:
      - How many of the listed clients that must be accepted are tried, and how many of those in O(revoked_dir), when
        there are more. They are chosen at random on each run, and the report says how many they are.
      - With V(0), all of them are tried.
    type: int
    default: 0
    version_added: 0.2.0
  method:
    description: The HTTP method of the request.
    type: str
    default: GET
  expect_status:
    description:
      - The HTTP status codes that show that the good client got in. None of them is ever a refusal.
      - When empty, whatever the workload first answers to the good client, but no error of a server, and no refusal
        that may be the server's.
    type: list
    elements: int
    default: [200]
  expect:
    description:
      - What the good client's JSON answer must contain. Keys are JMESPath expressions, values are the expected values,
        or regular expressions that must match the whole value.
      - An answer that contains it is no refusal, whatever its status says.
    type: dict
  identity_headers:
    description:
      - The headers by which the workload learns who the client is, each with the Envoy format string of its value.
        They must carry the presented certificate's identity, and nothing that a client sends may survive in them.
      - The operators C(%DOWNSTREAM_PEER_SUBJECT%), C(%DOWNSTREAM_PEER_ISSUER%), C(%DOWNSTREAM_PEER_URI_SAN%),
        C(%DOWNSTREAM_PEER_DNS_SAN%), C(%DOWNSTREAM_PEER_IP_SAN%), C(%DOWNSTREAM_PEER_EMAIL_SAN%),
        C(%DOWNSTREAM_PEER_SERIAL%), C(%DOWNSTREAM_PEER_FINGERPRINT_256%), C(%DOWNSTREAM_PEER_FINGERPRINT_1%) and
        C(%DOWNSTREAM_PEER_CERT%) are compared; any other operator matches anything.
        Spaces around a value do not matter.
    type: dict
  identity_path:
    description:
      - A JMESPath expression that says where the JSON answer reports the request's headers
        (an object, its values strings or lists of one string).
    type: str
    default: headers
  identity_source:
    description:
      - What the workload reads the client's identity from. V(headers) means O(identity_headers) alone, V(xfcc) also
        C(X-Forwarded-Client-Cert), whose first element must then be the presented certificate, and no other element may
        have one.
    type: str
    choices: [headers, xfcc]
    default: headers
    version_added: 0.2.0
  identity_answer_prefix:
    description:
      - For a workload that does not answer in JSON. A header of its answer whose name begins with this reports the
        request's header of the rest of that name. With V(X-Seen-), C(X-Seen-X-Id) reports C(X-Id).
    type: str
    version_added: 0.2.0
  identity_log_file:
    description:
      - Envoy's access log on the platform V(local). For workloads with C(identity_log), the line of a request of this
        module shows which headers went to the workload.
    type: path
    version_added: 0.2.0
  client_name:
    description: The good client's name in C(allow) of O(workloads).
    type: str
    version_added: 0.2.0
  workloads:
    description:
      - Workloads behind the gateway, as the role P(kyma.mtls.httpbin#role) has them in C(httpbin_workloads).
      - Each is tried under each of its C(hosts), at each of its C(paths), by the good client and by O(clients). Their
        certificates are compared with C(allow) here, whatever the gateway's configuration is.
      - With O(client_ca_key) they are also tried by throw-away clients that only almost have a name in C(allow).
      - C(upstream) and C(direct_addresses) are tried without the gateway (MV-43).
      - A workload's C(identity_headers), C(identity_path), C(identity_source) and C(identity_answer_prefix) take the
        place of the options of these names. With C(identity_log), O(identity_log_file) shows what it reads. What else
        the role knows is ignored.
    type: list
    elements: dict
    version_added: 0.2.0
  send_methods:
    description:
      - Methods that may be sent to O(workloads). Of C(GET), C(HEAD) and C(OPTIONS), the first that a path has is sent.
        Any other method may change something at the workload. Each that you name here is sent to the paths that have
        it, also by clients that may pass.
      - For methods that are not sent, C(allow) is not proven, and the report names them.
    type: list
    elements: str
    choices: [GET, HEAD, OPTIONS, POST, PUT, DELETE, PATCH]
    default: [GET, HEAD, OPTIONS]
    version_added: 0.2.0
  minimum_tls:
    description: The lowest TLS version that the server may accept.
    type: str
    choices: ['1.2', '1.3']
    default: '1.2'
  checks:
    description: Checks to run, by id, for example V(MV-24). The default is all of them.
    type: list
    elements: str
  skip:
    description: Checks to leave out, by id.
    type: list
    elements: str
  require_checks:
    description:
      - Checks, by id, that fail when they could not be tried. Others are then skipped, and named with the verdict.
    type: list
    elements: str
  timeout:
    description:
      - The longest that one connection may take in all, in seconds.
        After the first connection that takes longer, no new one is made, and the verdict is an outage.
    type: float
    default: 10
  wait_for:
    description: Seconds to wait until the good client succeeds, before the checks start.
    type: float
    default: 0
  concurrency:
    description: How many connections are open at the same time.
    type: int
    default: 8
  replicas:
    description:
      - The addresses of the gateway's replicas, as C(host:port). Each is verified on its own, beside the common
        address, because a connection to the common address meets one of them by chance.
      - One that does not answer is an outage, unless O(replica_count) says that the common address leads to it, too.
    type: list
    elements: str
  replica_count:
    description:
      - How many replicas take turns behind the common address. When O(replicas) does not reach all of them,
        the decisive checks (the good client, those that must be refused, forged headers, who may pass at each workload)
        are repeated over fresh connections until a fault of one replica is found with O(replica_confidence). The result
        states the confidence.
      - Repeating does not help with a load balancer that chooses by the client's address.
    type: int
    default: 1
  replica_confidence:
    description: The probability with which a fault of one of O(replica_count) replicas must be found.
    type: float
    default: 0.99
  expiry_warning_days:
    description:
      - A certificate that expires within this many days gets a warning.
      - When it is not set, O(expiry_warning_percentage) decides.
    type: int
  expiry_warning_percentage:
    description:
      - A certificate gets a warning when less than this percentage of its lifetime is left, but not more than 30 days
        before its end.
    type: int
    default: 25
    version_added: 0.2.0
  expiry_failure_days:
    description:
      - A certificate that expires within this many days fails, for example in a nightly run. That includes the CAs.
      - When it is not set, O(expiry_failure_percentage) decides.
    type: int
  expiry_failure_percentage:
    description:
      - A certificate fails when less than this percentage of its lifetime is left, but not more than 30 days before its
        end. That includes the CAs.
      - With V(0) only what has expired fails.
    type: int
    default: 0
    version_added: 0.2.0
  report_dir:
    description: Write C(verify.json), C(verify.junit.xml) and C(verify.html) into this directory.
    type: path
  metrics_path:
    description:
      - Write the result as metrics into this file, in Prometheus' text format, for the textfile collector of
        node_exporter. The name must end in C(.prom), and the directory must exist.
      - The file is replaced in one step and readable by all users. Metrics are written for every verdict,
        so a verification that stopped running shows as an old C(kyma_mtls_last_run_timestamp_seconds).
    type: path
    version_added: 0.2.0
  fail_on:
    description:
      - When the module fails. V(failed) means at a failed check, V(warning) also at a warning. An outage fails with
        both of them.
      - V(never) leaves the decision to the caller, by RV(verdict).
    type: str
    choices: [failed, warning, never]
    default: failed
notes:
  - The checks, what each requires and where that comes from, and the rules of the verdict are in the README of
    the role P(kyma.mtls.verify#role).
seealso:
  - module: ansible.builtin.uri
    description: Makes a request with a client certificate, but cannot tell a refusal from an outage.
"""

EXAMPLES = r"""
- name: Verify the gateway
  kyma.mtls.mtls_verify:
    url: https://httpbin.mtls.local.kyma.dev/headers
    connect_to: 127.0.0.1:8443
    ca: ~/.kyma-mtls/pki/server/ca.crt
    client_cert: ~/.kyma-mtls/pki/client/clients/curl/client.crt
    client_key: ~/.kyma-mtls/pki/client/clients/curl/client.key
    client_ca_cert: ~/.kyma-mtls/pki/client/ca.crt
    client_ca_key: ~/.kyma-mtls/pki/client/ca.key
    identity_headers:
      X-CLIENT-SSL-CN: '%DOWNSTREAM_PEER_SUBJECT%'
      X-CLIENT-SSL-ISSUER: '%DOWNSTREAM_PEER_ISSUER%'
      X-CLIENT-SSL-SAN: 'URI=%DOWNSTREAM_PEER_URI_SAN%'
    report_dir: ~/.kyma-mtls/report

- name: Verify that an endpoint accepts a client with a certificate and refuses one without
  kyma.mtls.mtls_verify:
    url: https://httpbin.mtls.local.kyma.dev/headers
    connect_to: 127.0.0.1:8443
    ca: ~/.kyma-mtls/pki/server/ca.crt
    client_cert: ~/.kyma-mtls/pki/client/clients/curl/client.crt
    client_key: ~/.kyma-mtls/pki/client/clients/curl/client.key
    checks: [MV-23, MV-24]
    expect:
      headers.Host: httpbin\.mtls\..*
"""

RETURN = r"""
verdict:
  description:
    - V(passed) - every check that could be tried passed or warned.
    - V(failed) - at least one check failed, or nothing is proven, because the good client, every refusal or every check
      could not be tried.
    - V(outage) - the good client could not use the server, or lost it amid the checks, so nothing is proven.
  type: str
  returned: when the endpoint was tried
  choices: [passed, failed, outage]
  sample: passed
not_tried:
  description: The checks that could not be tried.
  type: list
  elements: dict
  returned: when the endpoint was tried
  contains:
    id: {description: The id., type: str, sample: MV-27}
    reason: {description: Why., type: str, sample: no client is listed with expect=refused}
checks:
  description: The checks in the order of their ids.
  type: list
  elements: dict
  returned: when the endpoint was tried
  contains:
    id: {description: The id., type: str, sample: MV-24}
    title: {description: What is checked., type: str, sample: No certificate}
    outcome: {description: 'V(passed), V(failed), V(warning), V(skipped) or V(outage).', type: str, sample: passed}
    expected: {description: What is required., type: str}
    observed: {description: What was seen., type: str, sample: refused with alert 116 (certificate_required) in TLSv1.3}
    source: {description: Where the requirement comes from., type: str, sample: NIST SP 800-52r2 section 3.5}
    evidence:
      description: The facts of the deciding connection.
      type: dict
      sample: {tls_version: TLSv1.3, alert_code: 116, alert_name: certificate_required, duration_ms: 5.1}
    cases:
      description:
        - What was tried, each with its own RV(checks[].cases[].name), outcome, observed and evidence.
        - Of more than 50 that passed, the first 50. The reports in O(report_dir) have all.
      type: list
      elements: dict
      contains:
        name: {description: What was tried., type: str}
server:
  description: What the server presented and accepts.
  type: dict
  returned: when the endpoint was tried
  contains:
    chain: {description: The presented certificates., type: list, elements: dict}
    sans: {description: The names in the server's certificate., type: list, elements: str}
    not_after: {description: When it expires., type: str}
    days_left: {description: Whole days until then., type: int}
    alpn: {description: The application protocol that was agreed on., type: str}
    tls_versions: {description: The TLS versions of at least 1.2 that it speaks., type: list, elements: str}
    suites: {description: The cipher suites that it accepts in each version., type: dict}
    variants:
      description:
        - What the good client gets for unusual requests, which no check counts.
        - They are HTTP/1.0, a C(Host) header with a port, a path with brackets, and an upgrade to WebSocket. A cluster
          and the platform V(local) differ in the second.
      type: dict
      sample: {"HTTP/1.0": "HTTP 200", "Host with a port": "HTTP 403"}
    trusted: {description: Whether the chain leads to a given CA and names the host., type: bool}
sample:
  description:
    - How many clients there were and how many of them were tried, of the C(listed) and of the C(revoked) ones, and a
      C(summary). Empty where all were tried.
  returned: when the endpoint was tried
  type: dict
  sample:
    listed: {there: 10000, tried: 1000}
    revoked: {there: 20, tried: 20}
    summary: Tried 1000 of 10000 listed clients and 20 of 20 revoked clients, chosen at random for this run.
replicas:
  description:
    - How the replicas were verified - by which addresses (C(addresses)), which did not answer (C(silent)), and with
      O(replica_count) how many fresh connections each decisive check made (C(connections)) and how sure that is
      (C(confidence)). Empty with one replica.
  type: dict
  returned: when the endpoint was tried
  sample: {addresses: [], silent: ['10.42.0.7:8443'], count: 3, connections: 12, confidence: 0.9923,
           summary: 'Replicas: 3 behind one address by 12 fresh connections for each decisive check, ...'}
client_cas:
  description: The names of the CAs in the server's certificate request.
  type: list
  elements: str
  returned: when the endpoint was tried
  sample: ['CN=ML Client Root CA,O=ML Client Org']
counts:
  description: Number of checks by outcome.
  type: dict
  returned: when the endpoint was tried
  sample: {failed: 0, outage: 0, warning: 1, passed: 30, skipped: 3}
summary:
  description: A compact table for a terminal, line by line.
  type: list
  elements: str
  returned: always
  sample: ['MV-24  passed   No certificate  refused: alert 116 (certificate_required), 40 (handshake_failure)']
directions:
  description: For a person, line by line - the address, where the files are, and a curl command to try by hand.
  type: list
  elements: str
  returned: when the endpoint was tried
  sample: ['URL: https://httpbin.mtls.local.kyma.dev/headers (reached at 127.0.0.1:8443)']
waiting:
  description: Results of the good client while waiting, with the seconds since the start.
  type: list
  elements: str
  returned: when the endpoint was tried
  sample: ['0.0 s: no connection: Connection refused', '1.4 s: accepted: HTTP 200 over TLSv1.3']
reports:
  description:
    - The files written, by kind - C(json), C(junit) and C(html) with O(report_dir), C(metrics) with O(metrics_path).
    - Empty in check mode.
  type: dict
  returned: when the endpoint was tried
  sample: {json: /home/me/.kyma-mtls/report/verify.json}
skip_reason:
  description: Why nothing was tried.
  type: str
  returned: when skipped in check mode
  sample: nothing listens at 127.0.0.1:8443 yet (Connection refused)
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._module import Module, clean_failure, require_cryptography
from ansible_collections.kyma.mtls.plugins.module_utils._signer import options as signers
from ansible_collections.kyma.mtls.plugins.module_utils._verify import check_mode, parameters, verify
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities import probe_kit
from ansible_collections.kyma.mtls.plugins.module_utils._verify.identities.sample import with_clients_of_file
from ansible_collections.kyma.mtls.plugins.module_utils._verify.report import metrics, next_steps, summary


def main(make_module: t.Callable[..., AnsibleModule] = Module) -> None:
    module = make_module(
        argument_spec={
            "url": {"type": "str"},
            "connect_to": {"type": "str"},
            "ca": {"type": "list", "elements": "path"},
            "ca_content": {"type": "str"},
            "client_cert": {"type": "path"},
            "client_key": {"type": "path", "no_log": False},
            "client_key_passphrase": {"type": "str", "no_log": True},
            "client_p12": {"type": "path"},
            "client_p12_password": {"type": "str", "no_log": True},
            "probe_kit": {"type": "path"},
            "client_ca_cert": {"type": "list", "elements": "path"},
            "client_ca_key": {"type": "path", "no_log": False},
            "client_ca_key_passphrase": {"type": "str", "no_log": True},
            "client_ca_signer": {"type": "dict", "options": signers.OPTIONS},
            "server_ca_key": {"type": "path", "no_log": False},
            "server_ca_key_passphrase": {"type": "str", "no_log": True},
            "server_ca_signer": {"type": "dict", "options": signers.OPTIONS},
            "revoked_cert": {"type": "path"},
            "revoked_key": {"type": "path", "no_log": False},
            "revoked_dir": {"type": "path"},
            "crl": {"type": "path"},
            "clients": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "name": {"type": "str", "required": True},
                    "cert": {"type": "path", "required": True},
                    "key": {"type": "path", "no_log": False},
                    "key_passphrase": {"type": "str", "no_log": True},
                    "expect": {"type": "str", "choices": ["accepted", "refused"], "default": "accepted"},
                },
            },
            "clients_file": {"type": "path"},
            "clients_directory": {"type": "path"},
            "clients_sample": {"type": "int", "default": 0},
            "method": {"type": "str", "default": "GET"},
            "expect_status": {"type": "list", "elements": "int", "default": [200]},
            "expect": {"type": "dict"},
            "identity_headers": {"type": "dict"},
            "identity_path": {"type": "str", "default": "headers"},
            "identity_source": {"type": "str", "choices": ["headers", "xfcc"], "default": "headers"},
            "identity_answer_prefix": {"type": "str"},
            "identity_log_file": {"type": "path"},
            "client_name": {"type": "str"},
            "workloads": {"type": "list", "elements": "dict"},
            "send_methods": {
                "type": "list",
                "elements": "str",
                "choices": ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"],
                "default": ["GET", "HEAD", "OPTIONS"],
            },
            "minimum_tls": {"type": "str", "choices": ["1.2", "1.3"], "default": "1.2"},
            "checks": {"type": "list", "elements": "str"},
            "skip": {"type": "list", "elements": "str"},
            "require_checks": {"type": "list", "elements": "str"},
            "timeout": {"type": "float", "default": 10},
            "wait_for": {"type": "float", "default": 0},
            "concurrency": {"type": "int", "default": 8},
            "replicas": {"type": "list", "elements": "str"},
            "replica_count": {"type": "int", "default": 1},
            "replica_confidence": {"type": "float", "default": 0.99},
            "expiry_warning_days": {"type": "int"},
            "expiry_warning_percentage": {"type": "int", "default": 25},
            "expiry_failure_days": {"type": "int"},
            "expiry_failure_percentage": {"type": "int", "default": 0},
            "report_dir": {"type": "path"},
            "metrics_path": {"type": "path"},
            "fail_on": {"type": "str", "choices": ["failed", "warning", "never"], "default": "failed"},
        },
        mutually_exclusive=[
            ("client_cert", "client_p12", "probe_kit"),
            ("client_key", "client_p12", "probe_kit"),
            ("client_ca_key", "probe_kit"),
            ("client_ca_signer", "probe_kit"),
        ],
        required_one_of=[("client_cert", "client_p12", "probe_kit", "clients_file")],
        required_together=[("revoked_cert", "revoked_key"), ("clients_file", "clients_directory")],
        required_by={
            "client_key": ("client_cert",),
            "client_key_passphrase": ("client_cert",),
            "client_p12_password": ("client_p12",),
            "client_ca_key": ("client_ca_cert",),
            "client_ca_signer": ("client_ca_cert",),
            "client_ca_key_passphrase": ("client_ca_key",),
            "server_ca_key_passphrase": ("server_ca_key",),
        },
        supports_check_mode=True,
    )
    require_cryptography(module)
    with clean_failure(module):
        given = with_clients_of_file(module.params)
        if module.check_mode and (reason := check_mode.missing(given)):
            module.exit_json(
                changed=False, skipped=True, skip_reason=reason, summary=[f"SKIPPED in check mode: {reason}"]
            )
        metrics_path = Path(module.params["metrics_path"]) if module.params["metrics_path"] else None
        if metrics_path:
            metrics.check_path(metrics_path)
        kit = probe_kit.read_kit(Path(module.params["probe_kit"])) if module.params["probe_kit"] else None
        params = kit.complete(given) if kit else given
        options = parameters.read_options(params, kit)
        for note in options.notes:
            module.warn(note)
        result = verify.verify(options)
        reports = {}
        if module.params["report_dir"] and not module.check_mode:
            reports = summary.write_reports(result, Path(module.params["report_dir"]))
        if metrics_path and not module.check_mode:
            reports["metrics"] = metrics.write_metrics(result, metrics_path)
        facts = {
            "changed": False,
            "verdict": result.verdict,
            "not_tried": summary.untried(result),
            "checks": summary.shown_checks(result),
            "server": result.server,
            "client_cas": result.client_cas,
            "waiting": result.waiting,
            "replicas": result.replicas,
            "sample": result.sample,
            "counts": summary.counts(result),
            "summary": summary.summary_lines(result),
            "directions": next_steps.directions(params | options.client.files, options.target, reports),
            "reports": reports,
        }
        if summary.is_failure(result, module.params["fail_on"]):
            raise MtlsError("\n".join(facts["summary"]), **facts)
        module.exit_json(**facts)


if __name__ == "__main__":
    main()
