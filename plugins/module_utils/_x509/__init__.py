# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""X.509 certificates, revocation lists and keys: read, described, compared, and built into chains.

Others may call:

- ``load`` (the one reader of certificates, CRLs, private keys and PKCS#12 files) and ``sources`` (of folders);
- ``parsing.reading`` around everything that cryptography parses lazily: whatever it raises becomes a refusal that names
  what cannot be read;
- ``describe`` (labels, facts, times and serial numbers as text), ``names`` (hosts and distinguished names, compared and
  read) and ``rfc2253`` (names as gateways print them);
- ``issuance`` (is a CA, is self-issued, is issued by, is a list of);
- ``chain.resolve`` (the path builder), with ``policy.Policy`` and ``times.parse_moment``;
- ``der`` for the raw parts of a certificate.

``path/`` builds and validates certification paths; ``profiles/`` holds rules beyond a single path. Both are inside, but
for the single rules that a certificate's maker asks before it is made (``path.constraints.forbids``, ``path.rules``).

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
