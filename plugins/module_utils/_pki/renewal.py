# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When a certificate is renewed: the one rule for every issuer.

A number of days suits a CA whose lifetimes are one's own. An external issuer decides on them itself, and shortens them:
6, 45 and 90 days need a share of the lifetime.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

if t.TYPE_CHECKING:
    from cryptography import x509

#: For a CA of our own, and for external issuers.
OWN_DAYS, OUTSIDE_PERCENTAGE = 30, 33
#: No certificate lives longer than that, and dates end with the year 9999.
MOST_DAYS = 100_000


@dataclasses.dataclass(frozen=True)
class RenewalRule:
    """Renew when less than so many days are left, or less than that percentage of the lifetime. Days win when set."""

    days: int | None = None
    percentage: int = OUTSIDE_PERCENTAGE

    def __str__(self) -> str:
        return f"{self.days} days" if self.days is not None else f"{self.percentage} % of its lifetime"

    def window(self, certificate: x509.Certificate) -> datetime.timedelta:
        """How long before its end a certificate is renewed."""
        if self.days is not None:
            return datetime.timedelta(days=self.days)
        return (certificate.not_valid_after_utc - certificate.not_valid_before_utc) * self.percentage / 100

    def within(self, certificate: x509.Certificate) -> RenewalRule:
        """Return the rule for a certificate whose issuer decides how long it lives.

        More days than that would have it renewed on every run: then the share decides.
        """
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        is_endless = self.days is not None and datetime.timedelta(days=self.days) >= lifetime
        return dataclasses.replace(self, days=None) if is_endless else self

    def moment(self, certificate: x509.Certificate) -> datetime.datetime:
        """From when on a certificate is renewed."""
        return certificate.not_valid_after_utc - self.window(certificate)

    def is_due(self, certificate: x509.Certificate, now: datetime.datetime) -> bool:
        """Whether a certificate is to be renewed now."""
        return certificate.not_valid_after_utc - now < self.window(certificate)


def rule(days: int | None, percentage: int | None, *, default: RenewalRule) -> RenewalRule:
    """Give the rule that options ask for. Raises MtlsError for what no certificate could follow."""
    if days is not None and days < 0:
        raise MtlsError(f"renew_before is {days}, but must be 0 or more days.")
    if days is not None and days > MOST_DAYS:
        raise MtlsError(f"renew_before is {days} days, but {MOST_DAYS} is the most.")
    if percentage is None:
        return default if days is None else RenewalRule(days=days)
    if not 0 < percentage < 100:
        raise MtlsError(f"renew_before_percentage is {percentage}, but must be between 1 and 99.")
    return RenewalRule(days=days, percentage=percentage)
