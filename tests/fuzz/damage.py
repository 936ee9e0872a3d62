# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Damage: bytes in DER, inside the base64 of PEM blocks, in lines of JSON and in text."""

from __future__ import annotations

import base64
import random
import re

from ansible_collections.kyma.mtls.plugins.module_utils._x509 import load

TAGS = bytes([0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x14, 0x16, 0x1E, 0x30, 0x31, 0x80, 0x81, 0x82])
TAGS += bytes([0x84, 0xA0, 0xA3, 0xFF, 0x7F])
_BLOCK = re.compile(rb"-----BEGIN [A-Z0-9 ]+-----.*?-----END [A-Z0-9 ]+-----\n?", re.DOTALL)


def damaged(data: bytes, dice: random.Random) -> bytes:
    """Return ``data`` with one to four wounds; PEM is mostly damaged inside its base64's content."""
    blocks = list(_BLOCK.finditer(data))
    if not blocks or dice.random() < 0.2:
        return wound(data, dice)
    block = dice.choice(blocks)
    found = next(load.pem_blocks(block[0]), None)
    if found is None or found.content is None:
        return wound(data, dice)
    return data[: block.start()] + armoured(found.label, wound(found.content, dice)) + data[block.end() :]


def armoured(label: str, content: bytes) -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(content) + f"-----END {label}-----\n".encode()


def wound(data: bytes, dice: random.Random) -> bytes:
    body = bytearray(data)
    for _number in range(dice.randint(1, 4)):
        if not body:
            break
        place = dice.randrange(len(body))
        action = dice.randrange(7)
        if action == 0:
            body[place] ^= 1 << dice.randrange(8)
        elif action == 1:
            body[place] = dice.choice(TAGS)
        elif action == 2:
            body[place] = (body[place] + dice.choice([-1, 1])) % 256
        elif action == 3:
            del body[place : place + dice.randint(1, 8)]
        elif action == 4:
            body[place:place] = bytes(dice.randrange(256) for _byte in range(dice.randint(1, 8)))
        elif action == 5:
            other = dice.randrange(len(body))
            body[place : place + 8] = body[other : other + 8]
        elif dice.random() < 0.1:
            del body[place:]
    return bytes(body)
