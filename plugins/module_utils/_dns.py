# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TXT records of a zone, by queries and dynamic updates (RFC 2136) to its primary name server.

The library is dnspython. It is imported when it is needed: only sites that prove names by dynamic updates have it.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import binascii
import dataclasses
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

Records = t.Mapping[str, t.Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Zone:
    """A zone and the server that updates it. ``key`` is name, secret and algorithm of a TSIG key."""

    server: str
    port: int
    name: str
    key: tuple[str, str, str] | None = dataclasses.field(repr=False)
    timeout_seconds: int

    def differing(self, records: Records, *, is_present: bool) -> dict[str, list[str]]:
        """Return the values that are missing, or with ``is_present`` False those that are there. Raises MtlsError."""
        found = {}
        for name, values in records.items():
            there = self._values(name)
            if differing := [value for value in values if (value in there) is not is_present]:
                found[name] = differing
        return found

    def update(self, records: Records, *, is_present: bool, ttl: int) -> None:
        """Add the values, or remove them. Raises MtlsError with the server's refusal."""
        import dns.update  # noqa: PLC0415  (see above)

        zone = self._absolute(self.name)
        update = dns.update.UpdateMessage(zone, **self._tsig())
        for name, values in records.items():
            for value in values:
                # Quoted, as the value of a standing record has semicolons.
                if is_present:
                    update.add(self._absolute(name), ttl, "TXT", f'"{value}"')
                else:
                    update.delete(self._absolute(name), "TXT", f'"{value}"')
        self._ask(update, f"updating the zone {self.name}", is_by_tcp=True)

    def _values(self, name: str) -> set[str]:
        import dns.message  # noqa: PLC0415  (see above)
        import dns.rcode  # noqa: PLC0415  (see above)
        import dns.rdatatype  # noqa: PLC0415  (see above)

        query = dns.message.make_query(self._absolute(name), "TXT")
        reply = self._ask(query, f"looking up {name}", accepted=("NOERROR", "NXDOMAIN"))
        return {
            b"".join(item.strings).decode("utf-8", "replace")
            for answer in reply.answer
            if answer.rdtype == dns.rdatatype.TXT
            for item in answer
        }

    def _ask(
        self, message: t.Any, doing: str, *, is_by_tcp: bool = False, accepted: tuple[str, ...] = ("NOERROR",)
    ) -> t.Any:
        import dns.exception  # noqa: PLC0415  (see above)
        import dns.query  # noqa: PLC0415  (see above)
        import dns.rcode  # noqa: PLC0415  (see above)

        server, port, timeout = self.server, self.port, self.timeout_seconds
        try:
            if is_by_tcp:
                reply = dns.query.tcp(message, server, port=port, timeout=timeout)
            else:
                reply, _was_by_tcp = dns.query.udp_with_fallback(message, server, port=port, timeout=timeout)
        except (dns.exception.DNSException, OSError, ValueError) as exc:
            raise MtlsError(
                f"The name server {self.server} port {self.port} gave no usable answer to {doing}: "
                f"{str(exc) or type(exc).__name__}. Check its address, and name and secret of the TSIG key."
            ) from exc
        code = dns.rcode.to_text(reply.rcode())
        if code not in accepted:
            raise MtlsError(
                f"The name server {self.server} port {self.port} refused {doing}: {code}. Check that it is the primary "
                "of that zone, and that the TSIG key may update it."
            )
        return reply

    def _tsig(self) -> dict[str, t.Any]:
        if self.key is None:
            return {}
        import dns.tsigkeyring  # noqa: PLC0415  (see above)

        name, secret, algorithm = self.key
        try:
            keyring = dns.tsigkeyring.from_text({name: (algorithm, secret)})
        except (binascii.Error, ValueError) as exc:
            raise MtlsError("The TSIG key is not Base64. Give it as the name server has it.") from exc
        return {"keyring": keyring}

    @staticmethod
    def _absolute(name: str) -> t.Any:
        import dns.exception  # noqa: PLC0415  (see above)
        import dns.name  # noqa: PLC0415  (see above)

        try:
            return dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError) as exc:
            raise MtlsError(f"{name!r} is not a DNS name: {exc}.") from exc
