# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checks: each tries the endpoint, or reads what it served, and returns ``case.Case`` objects.

``catalogue`` lists the checks with what each expects. ``rules`` decides from an observation whether a client was
accepted, refused, or met an outage. ``inspection`` holds the options and makes the connections; ``offers`` are the
combinations of TLS version, ALPN and SNI in which each bad client is tried; ``control`` is the good client before
all others, and ``matrix`` what is tried then, side by side.

The other files are the checks by subject: ``protocol`` (versions, suites, groups), ``certificates`` (the
served chain), ``certificate_request`` (client CA hints), ``refusals`` (clients that must not get in), ``server_ca``,
``revocation``, ``session``, ``headers``, ``identity_headers`` and ``identity_log``, ``names`` (SNI and Host),
``plain_http``, ``bypasses``, ``replicas``, ``listed_clients``, ``expectations`` (of the JSON answer) and ``variants``
(reported only).
"""
