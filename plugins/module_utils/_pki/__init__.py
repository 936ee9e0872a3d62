# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PKI of one directory: CAs, certificates, chains, trust bundle, revocation lists and rotation.

What others may call:

* :func:`parameters.to_spec` turns the options of the module ``pki`` into a :class:`spec.PkiSpec`, and
  :func:`parameters.exposed_keys` finds keys that output must not show;
* :func:`reconcile.reconcile` reads what is there, plans, applies, and returns the module's result;
* :func:`batch.run` does the same for certificates of a CA that is somewhere else.

Everything else is inside. A certificate's way is ``parameters -> certificate_spec -> reconcile -> certificates -> issue
-> issuer -> profile``, and for a server on to ``server_chain``. :class:`issuer.Issuer` is the seam for CAs whose key is
not a file.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
