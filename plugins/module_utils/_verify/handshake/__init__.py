# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One connection: a TLS handshake, one HTTP request, and what was observed. It knows of no identity and of no check.

- ``connection.converse`` connects with a ``client_context.ClientContext``, and ``connection.knock`` without TLS;
- ``client_hello.say_hello`` asks by a hand-built ClientHello what a server accepts;
- all return what they saw (``observation.Observation``, ``client_hello.HelloAnswer``) and never raise for the peer;
- ``alerts`` has the alerts' names, and which of them refuse a certificate.

Inside: ``http1``, ``http2``, ``handshake_messages``.
"""
