# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PEM blocks, whatever stands around them."""

from __future__ import annotations

import binascii
import re
import typing as t

BEGIN = re.compile(rb"-----BEGIN ([^\r\n-]{1,64})-----")


class PemBlock(t.NamedTuple):
    """One PEM block: its label, its decoded content (None when it cannot be decoded)."""

    label: str
    content: bytes | None


def pem_blocks(data: bytes) -> t.Iterator[PemBlock]:
    """Yield the PEM blocks in ``data`` in one pass, whatever stands around them."""
    position = 0
    while (begin := BEGIN.search(data, position)) is not None:
        text = begin[1].decode("ascii", "replace")
        end_line = b"-----END " + begin[1] + b"-----"
        next_dashes = data.find(b"-----", begin.end())
        if next_dashes < 0 or not data.startswith(end_line, next_dashes):
            yield PemBlock(text, None)
            position = begin.end()
            continue
        try:
            # What is not base64 would be passed over: a damaged block must not be taken for a shorter one.
            content = binascii.a2b_base64(b"".join(data[begin.end() : next_dashes].split()), strict_mode=True)
        except binascii.Error:
            yield PemBlock(text, None)
        else:
            yield PemBlock(text, content)
        position = next_dashes + len(end_line)
