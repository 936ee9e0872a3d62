# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PKI of one directory: CAs, certificates, chains, trust bundle, revocation lists and rotation.

What others may call:

* :func:`parameters.to_spec` turns the options of the module ``pki`` into a :class:`spec.PkiSpec`, and
  :func:`parameters.exposed_keys` finds keys that output must not show;
* :func:`reconcile.reconcile` reads what is there, plans, applies, and returns the module's result;
* :func:`batch.run` does the same for certificates of a CA that is somewhere else;
* :class:`issuers.order.CertificateOrder` is a certificate that is ordered from an ACME CA.

Everything else is inside, in layers, which pyproject.toml has in full; a file knows only those below it:

* ``batch``, above ``parameters`` (from options to a spec) and ``reconcile``: read, plan, apply, report;
* ``ca``: the CAs above a certificate, which of them are trusted, and what they have revoked;
* ``server_chain``, ``issue``, ``certificates``: a certificate: what it needs, how it is issued, and its chain;
* ``issuers``: what signs it; :class:`issuers.issuer.Issuer` is the only interface to that;
* ``state`` and ``register``: what is on the disk, and will be;
* ``profile``, ``spec``, ``keys``: what a certificate contains, and what is specified.

One certificate, from variable to file: ``parameters.to_spec`` makes its ``CertificateSpec``. ``reconcile.make_plan``
plans the CAs above it and chooses the issuer; then ``certificates.plan`` compares it with its own files
(``CertificateFiles``; those of CAs, and what all share, are in ``state``). ``issue.IssueCertificates``, one of the
plan's ``operations``, has ``issuers`` sign it, with the content that ``profile.leaf`` gives it, and writes it with its
chain.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
