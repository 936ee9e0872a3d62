# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who connects: given clients, and test identities that are wrong in exactly one way.

- ``identity``: an ``Identity`` from files or PKCS#12;
- ``throw_away``: test identities, with throw-away certificates that look like the good client's;
- ``probe_kit``: the same kept on disk, for hosts that must not have the CA key;
- ``tls_context.make_context``: the TLS context of an identity.

Inside: ``issuing``, ``sha1_signing``, ``mismatched_key``.
"""
