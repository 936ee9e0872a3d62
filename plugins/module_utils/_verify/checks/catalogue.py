# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks: their ids, what each requires, and where that comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One check of the catalogue."""

    id: str
    title: str
    expected: str
    source: str


CATALOGUE = (
    Entry(
        "MV-01",
        "TLS versions",
        "nothing below minimum_tls is accepted; TLS 1.3 is offered and preferred",
        "NIST SP 800-52r2 section 3.1; OWASP ASVS 5.0 12.1.1; RFC 8996",
    ),
    Entry(
        "MV-02",
        "Cipher suites",
        "only authenticated encryption with forward secrecy",
        "NIST SP 800-52r2 section 3.3.1; OWASP ASVS 5.0 12.1.2; RFC 9325 section 4.2",
    ),
    Entry(
        "MV-03",
        "Key exchange groups",
        "P-256, P-384, X25519 or a hybrid of them with ML-KEM; nothing weaker",
        "NIST SP 800-52r2 section 3.4; RFC 9325 section 4.2.1",
    ),
    Entry(
        "MV-04",
        "Handshake hygiene",
        "no compression; secure renegotiation and extended master secret in TLS 1.2",
        "RFC 9325 sections 3.3 to 3.5; RFC 5746; RFC 7627",
    ),
    Entry(
        "MV-05",
        "Resumption",
        "a resumed session keeps the client's identity, cannot be had without one, and carries no early data",
        "NIST SP 800-52r2 section 3.6; RFC 8446 section 8; RFC 9440 section 3.3",
    ),
    Entry(
        "MV-06",
        "Plain HTTP",
        "refused on the TLS port, and the workload is not served on port 80 of the address",
        "OWASP ASVS 5.0 12.2.1",
    ),
    Entry(
        "MV-10",
        "Server certificate",
        "X.509 v3, positive serial of at most 20 octets, SAN, serverAuth, not a CA",
        "RFC 5280 sections 4.1.2.2 and 4.2.1.6; NIST SP 800-52r2 section 3.2.1",
    ),
    Entry("MV-11", "Server name", "the host is in the SANs; the CN does not count", "RFC 9525 sections 2 and 6.3"),
    Entry("MV-12", "Wildcard depth", "a name one label deeper is not covered", "RFC 9525 section 6.3"),
    Entry(
        "MV-13",
        "Served chain",
        "complete up to a given CA, in order, without strangers",
        "RFC 8446 section 4.4.2; RFC 5246 section 7.4.2",
    ),
    Entry(
        "MV-14",
        "Server key and signatures",
        "RSA of at least 2048 bits or a curve of at least 256; no SHA-1, no MD5",
        "NIST SP 800-52r2 sections 3.2.1 and 3.5.3",
    ),
    Entry("MV-15", "Validity", "valid now and not about to expire", "NIST SP 1800-16B; RFC 5280 section 4.1.2.5"),
    Entry("MV-16", "Separate keys", "no client shares the server's key", "NIST SP 1800-16B"),
    Entry(
        "MV-17",
        "Revocation pointers",
        "well-formed CRL or OCSP addresses, where the certificate has any",
        "NIST SP 800-52r2 table 3-1; RFC 5280 sections 4.2.1.13 and 4.2.2.1",
    ),
    Entry(
        "MV-20",
        "Client certificate required",
        "CertificateRequest in every handshake, and no way on without a certificate",
        "OWASP ASVS 5.0 12.1.3; RFC 8446 section 4.3.2",
    ),
    Entry(
        "MV-21",
        "Client CA hints",
        "exactly the expected client CAs",
        "NIST SP 800-52r2 section 3.5.4; RFC 8446 section 4.2.4",
    ),
    Entry(
        "MV-22",
        "Client trust anchors",
        "few, and not the server's own CA",
        "NIST SP 800-52r2 section 3.5.2",
    ),
    Entry(
        "MV-23",
        "Good clients",
        "accepted in every TLS version, with the expected answer",
        "RFC 8705 section 2.1",
    ),
    Entry("MV-24", "No certificate", "refused: alert 116 (TLS 1.3) or 40 (TLS 1.2)", "NIST SP 800-52r2 section 3.5"),
    Entry("MV-25", "Certificate of another CA", "refused: alert 48", "NIST SP 800-52r2 section 3.5.1"),
    Entry("MV-26", "Impostors", "refused: alert 48 or 51", "RFC 8705 section 7.3"),
    Entry("MV-27", "Expired or not yet valid", "refused: alert 45", "RFC 5280 section 6.1.3"),
    Entry("MV-28", "Wrong purpose", "refused: alert 43", "NIST SP 800-52r2 section 4.2.1; RFC 5280 section 4.2.1.12"),
    Entry("MV-29", "Revoked", "refused: alert 44", "NIST SP 800-52r2 section 3.5.1; OWASP ASVS 5.0 12.1.4"),
    Entry(
        "MV-31",
        "Client chain with an intermediate",
        "accepted with the intermediate, refused without it (alert 48)",
        "RFC 8446 section 4.4.2.4",
    ),
    Entry(
        "MV-32",
        "CA rules",
        "clients below a non-CA, beyond a path length or outside a name constraint are refused",
        "RFC 5280 section 6.1.4",
    ),
    Entry(
        "MV-33",
        "Identities not on the allow-list",
        "the clients listed with expect=refused are refused (alert, or HTTP 400, 401 or 403)",
        "RFC 8705 section 2.1",
    ),
    Entry(
        "MV-34",
        "Weak client keys",
        "RSA-1024 and SHA-1 refused (a warning where not)",
        "NIST SP 800-52r2 section 3.5.3",
    ),
    Entry("MV-35", "Proof of possession", "someone else's key is refused: alert 51", "RFC 8446 section 4.4.3"),
    Entry(
        "MV-40",
        "Identity headers",
        "the workload sees exactly the presented certificate",
        "RFC 9440 sections 2.2 to 2.4",
    ),
    Entry(
        "MV-41",
        "Forged identity headers",
        "nothing that a client sends survives in them",
        "OWASP ASVS 5.0 4.1.3; RFC 9440 section 2.4",
    ),
    Entry(
        "MV-42",
        "Oversized identity",
        "carried whole or refused, never dropped or cut",
        "RFC 9440 section 3.2",
    ),
    Entry(
        "MV-43",
        "Access past the gateway",
        "the workload does not answer who goes around the gateway",
        "NIST SP 800-207 section 2.1; RFC 9440 section 4",
    ),
    Entry(
        "MV-50",
        "SNI and Host disagree",
        "the workload is not reached",
        "RFC 6066 section 11.1; RFC 9110 section 7.4; Gateway API GEP-3567",
    ),
    Entry(
        "MV-51",
        "No SNI or an unknown one",
        "the workload is not reached",
        "RFC 6066 section 3; Gateway API GEP-3567",
    ),
    Entry(
        "MV-70",
        "Workloads and clients that may pass",
        "each workload answers, under each of its hosts, the clients that allow admits",
        "RFC 9110 section 15",
    ),
    Entry(
        "MV-71",
        "Workloads and clients that may not",
        "403 before the workload, in whatever way and spelling they ask",
        "OWASP ASVS 5.0 8.3.1; NIST SP 800-207 section 2.1",
    ),
    Entry(
        "MV-72",
        "Identity at the workloads",
        "each workload reads exactly the presented certificate, and nothing that a client sends survives",
        "RFC 9440 sections 2.2 to 2.4; OWASP ASVS 5.0 4.1.3",
    ),
    Entry(
        "MV-73",
        "Workloads without a certificate",
        "a client without a certificate reaches what is declared, with a token that holds where one is needed",
        "RFC 8725 section 3; RFC 7519 section 7.2",
    ),
)
BY_ID = {entry.id: entry for entry in CATALOGUE}

# There is nothing to them without workloads.
OF_WORKLOADS = frozenset({"MV-43", "MV-70", "MV-71", "MV-72", "MV-73"})

# A pass of these counts only between two successes of the good client.
REFUSALS = frozenset(
    {
        *("MV-06", "MV-20", "MV-24", "MV-25", "MV-26", "MV-27", "MV-28", "MV-29", "MV-31", "MV-32", "MV-33", "MV-34"),
        *("MV-35", "MV-50", "MV-51", "MV-71"),
    }
)
