# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the end of a certificate is near, whether it lives for six days or for ten years."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

if t.TYPE_CHECKING:
    from cryptography import x509

#: Ten years need no warning for two.
MOST_DAYS = 30
_LONGEST = 100_000


@dataclasses.dataclass(frozen=True)
class Threshold:
    """So many days before the end, or that percentage of the lifetime but at most 30 days. Days win when set."""

    days: int | None = None
    percentage: int = 0

    def window(self, certificate: x509.Certificate) -> datetime.timedelta:
        """How long before its end a certificate is noticed."""
        if self.days is not None:
            return datetime.timedelta(days=self.days)
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        return min(lifetime * self.percentage / 100, datetime.timedelta(days=MOST_DAYS))

    def __str__(self) -> str:
        if self.days is not None:
            return f"{self.days} days"
        return f"{self.percentage} % of its lifetime or {MOST_DAYS} days"

    @property
    def is_set(self) -> bool:
        return bool(self.percentage if self.days is None else self.days)


#: A renewal at a third of the lifetime has some time before anybody is warned.
WARNING = Threshold(percentage=25)
NEVER = Threshold()


def threshold(days: int | None, percentage: int, *, name: str) -> Threshold:
    """Give the threshold that the options ``name`` ask for. Raises MtlsError for what cannot be."""
    if not 0 <= percentage < 100:
        raise MtlsError(f"{name}_percentage is {percentage}, but must be between 0 and 99.")
    if days is not None and not 0 <= days <= _LONGEST:
        raise MtlsError(f"{name}_days is {days}, but must be between 0 and {_LONGEST}.")
    return Threshold(days, percentage)
