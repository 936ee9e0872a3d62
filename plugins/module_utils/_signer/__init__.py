# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""CA keys that are not files: in a PKCS#11 token, or behind a command that signs.

What others may call:

* :data:`options.OPTIONS` is the argument spec of an option that says where such a key is, and :func:`options.parse`
  turns its value into a :class:`keys.Signer`;
* :func:`keys.private_key` gives an object that cryptography takes for a private key: what it signs is verified against
  the public key before anybody gets it.

Everything else is inside. Nothing is opened or started before a signature, or a look at a public key, is needed.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
