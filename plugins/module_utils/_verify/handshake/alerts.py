# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS alerts: their numbers, their names, and which of them say that a certificate was judged."""

from __future__ import annotations

HANDSHAKE_FAILURE = 40
BAD_CERTIFICATE = 42
UNSUPPORTED_CERTIFICATE = 43
CERTIFICATE_REVOKED = 44
CERTIFICATE_EXPIRED = 45
CERTIFICATE_UNKNOWN = 46
UNKNOWN_CA = 48
ACCESS_DENIED = 49
DECODE_ERROR = 50
DECRYPT_ERROR = 51
PROTOCOL_VERSION = 70
CERTIFICATE_REQUIRED = 116
NO_APPLICATION_PROTOCOL = 120

# RFC 8446 section 6, RFC 5246 section 7.2, RFC 7568, RFC 7301.
NAMES = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}
_CODES = {name.upper(): code for code, name in NAMES.items()}

# Alerts by which a peer says that it judged the client's certificate (or its absence).
CLIENT_CERTIFICATE_ALERTS = frozenset(
    {
        HANDSHAKE_FAILURE,
        BAD_CERTIFICATE,
        UNSUPPORTED_CERTIFICATE,
        CERTIFICATE_REVOKED,
        CERTIFICATE_EXPIRED,
        CERTIFICATE_UNKNOWN,
        UNKNOWN_CA,
        ACCESS_DENIED,
        DECRYPT_ERROR,
        CERTIFICATE_REQUIRED,
    }
)
# Alerts without a cause of their own: GnuTLS, Java and others send them for every bad certificate.
GENERIC_ALERTS = frozenset({HANDSHAKE_FAILURE, BAD_CERTIFICATE, CERTIFICATE_UNKNOWN, ACCESS_DENIED})


def alert_name(code: int) -> str:
    """Return the name of ``code`` in the RFCs' spelling."""
    return NAMES.get(code, f"alert_{code}")


def alert_text(code: int) -> str:
    """Return ``code`` as people read it: number and name."""
    return f"alert {code} ({alert_name(code)})"


def alert_of_reason(reason: str | None) -> int | None:
    """Return the alert that ``ssl.SSLError.reason`` reports as received, or None when it reports something else.

    OpenSSL names them SSLV3_ALERT_..., TLSV1_ALERT_... and TLSV13_ALERT_... after the version that introduced them
    (and TLSV1_... alone for the extension alerts); it uses these names for received alerts only.
    """
    if not reason:
        return None
    prefix, _underscore, rest = reason.partition("_")
    if prefix not in {"SSLV3", "TLSV1", "TLSV13"}:
        return None
    name = rest.removeprefix("ALERT_")
    return _CODES.get(name)
