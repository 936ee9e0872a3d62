# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client gets: a script that asks the gateway, and how to do it with other programs."""

from __future__ import annotations

import functools
import json
import re
import shlex
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._curl import ShellText, curl

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._handover.address import Address

CURL, README, SERVER_CA = "curl.sh", "README.md", "server-ca.crt"

_CURL = r"""#!/bin/sh
# Sends a request to the gateway as the client @name@: ./curl.sh [any options of curl] [https://...]
# Without a URL it requests @url@
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
asked=
for argument in "$@"; do
    case $argument in
    https://*) asked=1 ;;
    esac
done
if [ -z "$asked" ]; then set -- "$@" @quoted_url@; fi
# In the name of a certificate's file, curl takes a colon for the start of a password.
certificate=$(printf '%s' "$here/client-chain.pem" | sed 's/[\\:]/\\&/g')
exec @curl@ "$@"
"""

_README = """# Access for the client @name@

Whoever has this directory gets in at the gateway as the client **@name@**. Keep it as you would keep a password: nobody
else may have `client.key`@and_p12@.

| file | what |
| --- | --- |
| `client.key` | the private key |
| `client.crt` | the certificate |
| `client-chain.pem` | the certificate, with the CAs that the gateway needs to check it |
@p12_row@@ca_row@| `curl.sh` | sends a request to the gateway with curl |

The address is <@url@>@connect@.

How long the certificate is valid:

```sh
openssl x509 -in client.crt -noout -subject -enddate
```

## curl

From any directory, with any further options of curl:

```sh
./curl.sh --include
```

The same by hand, in this directory:

```sh
@curl@
```

## Python

In this directory:

```python
import http.client, socket, ssl

context = ssl.create_default_context(@cafile@)
context.load_cert_chain("client-chain.pem", "client.key")
connection = http.client.HTTPConnection(@host@)
connection.sock = context.wrap_socket(socket.create_connection(@target@), server_hostname=@host@)
connection.request("GET", @path@)
print(connection.getresponse().read().decode())
```

## Browsers

@browsers@
"""

_BROWSERS = """1. Import `client.p12`. You get its password separately from this file.
@trust@Restart the browser, open <@browser_url@> and choose the certificate.@resolve@

| where | your certificate | the CA |
| --- | --- | --- |
| Firefox | Settings, Privacy & Security, View Certificates, Your Certificates | the same window, Authorities |
| Chrome on Linux | `pk12util -d "$db" -i client.p12` | `certutil -d "$db" -A -n kyma-mtls -t C,, -i server-ca.crt` |
| Chrome, Edge on Windows | `certutil -user -importpfx client.p12` | `certutil -user -addstore Root server-ca.crt` |
| Chrome, Safari on macOS | `security import client.p12` | `security add-trusted-cert -p ssl server-ca.crt` |

On Linux, `db=sql:$HOME/.pki/nssdb`; if it is not there: `mkdir -p ~/.pki/nssdb && certutil -d "$db" -N`."""

_TRUST = "2. Have the browser trust the CA in `server-ca.crt` for websites.\n3. "
_RESOLVE = " The host's name must lead to @target@: by DNS, or by a line in the file `hosts`."
_NO_BROWSERS = """Browsers import a PKCS#12 file, and there is none here. Ask for one, or make it:

```sh
openssl pkcs12 -export -inkey client.key -in client-chain.pem -name @quoted_name@ -out client.p12
```"""


def curl_script(name: str, address: Address, *, has_server_ca: bool) -> bytes:
    """Give the script that asks the gateway, from whatever directory it is called."""
    return _of_client(_curl_script(address, has_server_ca=has_server_ca), name)


def readme(name: str, address: Address, *, has_server_ca: bool, has_p12: bool) -> bytes:
    """Give the text that tells how to use the files. Its commands run in their directory as they stand."""
    return _of_client(_readme(address, has_server_ca=has_server_ca, has_p12=has_p12), name)


# Thousands of clients get the same texts but for their names.
@functools.cache
def _curl_script(address: Address, *, has_server_ca: bool) -> tuple[str, ...]:
    command = curl(
        None,
        options=["--silent", "--show-error"],
        connect_to=address.connect_to,
        ca=ShellText(f'"$here/{SERVER_CA}"') if has_server_ca else "",
        certificate=ShellText('"$certificate"'),
        key=ShellText('"$here/client.key"'),
    )
    return _filled(_CURL, url=address.url, quoted_url=shlex.quote(address.url), curl=command)


@functools.cache
def _readme(address: Address, *, has_server_ca: bool, has_p12: bool) -> tuple[str, ...]:
    browsers = _NO_BROWSERS
    if has_p12:
        resolve = _RESOLVE.replace("@target@", address.target[0]) if address.connect_host else ""
        browsers = _BROWSERS.replace("@resolve@", resolve).replace("@trust@", _TRUST if has_server_ca else "2. ")
    return _filled(
        _README.replace("@browsers@", browsers),
        and_p12=" or `client.p12`" if has_p12 else "",
        p12_row="| `client.p12` | the same for browsers and operating systems, under a password |\n" if has_p12 else "",
        ca_row=f"| `{SERVER_CA}` | the CA of the gateway, by which clients recognise it |\n" if has_server_ca else "",
        url=address.url,
        browser_url=address.browser_url,
        connect=f", to be reached at `{address.connect_to}`" if address.connect_to else "",
        curl=curl(
            address.url,
            connect_to=address.connect_to,
            ca=SERVER_CA if has_server_ca else "",
            certificate="client-chain.pem",
            key="client.key",
        ),
        cafile=f'cafile="{SERVER_CA}"' if has_server_ca else "",
        host=json.dumps(address.host),
        target=f"({json.dumps(address.target[0])}, {address.target[1]})",
        path=json.dumps(address.path),
    )


def _filled(text: str, **values: str) -> tuple[str, ...]:
    """Put ``values`` where ``text`` has their names between two ``@``, all at once: no value is read as text again.

    Return text and the name of a value that is the client's own in turn.
    """
    parts = [""]
    for number, part in enumerate(re.split(r"@([a-z_0-9]+)@", text)):
        if number % 2 and part not in values:
            parts += [part, ""]
        else:
            parts[-1] += values[part] if number % 2 else part
    return tuple(parts)


def _of_client(parts: tuple[str, ...], name: str) -> bytes:
    own = {"name": name, "quoted_name": shlex.quote(name)}
    return "".join(own[part] if number % 2 else part for number, part in enumerate(parts)).encode()
