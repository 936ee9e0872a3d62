# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification of a mutual-TLS endpoint: the right clients get in, the wrong ones are refused for the right reason.

Others may call:

- ``parameters.read_options`` (the module's parameters, read and checked) and ``verify.verify``, which returns a
  ``report.result.Report``;
- ``check_mode.missing`` (why there is nothing to verify yet);
- ``report``: ``summary`` (table, JSON, JUnit, whether to fail), ``metrics`` and ``next_steps``;
- ``identities.probe_kit`` with ``parameters.read_kit_request``: test identities made ahead, without the CA key on site;
- ``checks.catalogue``: the ids of the checks, what each expects, and the source of that.

Imports go one way: ``handshake`` <- ``identities`` <- ``checks`` <- ``report``, and ``verify`` on top.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""
