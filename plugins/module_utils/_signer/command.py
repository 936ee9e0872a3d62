# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command that signs: the digest on its standard input, the signature on its standard output."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import selectors
import signal
import subprocess
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import expand, read_bytes
from ansible_collections.kyma.mtls.plugins.module_utils._x509.parsing import PARSE_ERRORS

try:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._signer.keys import PublicKey

_SHOWN = 300
_LIMIT = 64 * 1024  # bytes, far more than a signature has


@dataclass(frozen=True)
class CommandSigner:
    """A command and the public key of the key that it signs with, in PEM or as the path of a file."""

    name: str
    argv: tuple[str, ...]
    public_key_source: str = field(repr=False)
    timeout_seconds: int

    @property
    def label(self) -> str:
        return f"The command {self.argv[0]} ({self.name}.command)"

    @property
    def place(self) -> str:
        return f"the service behind the command {self.argv[0]}"

    def public_key(self) -> PublicKey | None:
        text, option = self.public_key_source, f"{self.name}.public_key"
        is_content = "-----BEGIN" in text
        data = text.encode() if is_content else read_bytes(expand(text), what=f"file of {option}")
        try:
            return t.cast("PublicKey", load_pem_public_key(data))
        except PARSE_ERRORS as exc:
            raise MtlsError(
                f"{option}{'' if is_content else f', {text},'} is not a public key in PEM, which begins with "
                "-----BEGIN PUBLIC KEY-----."
            ) from exc

    def sign(self, data: bytes, algorithm: hashes.HashAlgorithm, public_key: PublicKey) -> t.Sequence[bytes]:
        """Run the command once. It prints the signature, or base64 of it, as tools of clouds do."""
        del public_key
        if algorithm.name == "sha1":
            raise MtlsError(f"{self.label} is not asked to sign with SHA-1")
        digest = hashes.Hash(algorithm)
        digest.update(data)
        output = self._run(digest.finalize())
        answers = [output]
        with contextlib.suppress(binascii.Error, ValueError):
            text = b"".join(output.split()).translate(bytes.maketrans(b"-_", b"+/"))
            answers.append(base64.b64decode(text + b"=" * (-len(text) % 4), validate=True))
        return answers

    def _run(self, digest: bytes) -> bytes:
        try:
            process = subprocess.Popen(  # noqa: S603  (the command that the user gave to sign with)
                self.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as exc:
            raise MtlsError(f"{self.label} cannot be started: {exc.strerror}. Nothing was signed.") from exc
        with process:
            try:
                output, errors = _exchange(process, digest, self.timeout_seconds)
            except TimeoutError as exc:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise MtlsError(
                    f"{self.label} has not signed within {self.timeout_seconds} seconds and was ended. Try it by "
                    f"hand, or set {self.name}.timeout to more."
                ) from exc
        if process.returncode != 0:
            said = " ".join(errors.decode("utf-8", "replace").split())
            text = f": {said[-_SHOWN:]}" if said else ", and printed no error"
            raise MtlsError(f"{self.label} failed with exit code {process.returncode}{text}. Nothing was signed.")
        return output


def _exchange(process: subprocess.Popen[bytes], digest: bytes, seconds: float) -> tuple[bytes, bytes]:
    """Return what a process prints, as far as a signature is long, and its errors. Raises TimeoutError.

    A process that prints without end must not fill the memory until its time is over.
    """
    deadline = time.monotonic() + seconds
    stdin, stdout, stderr = (t.cast("t.IO[bytes]", pipe) for pipe in (process.stdin, process.stdout, process.stderr))
    with contextlib.suppress(BrokenPipeError):  # it may end without reading
        stdin.write(digest)
        stdin.close()
    kept = {stdout.fileno(): b"", stderr.fileno(): b""}
    with selectors.DefaultSelector() as selector:
        for pipe in kept:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if time.monotonic() >= deadline:
                raise TimeoutError
            for key, _events in ready:
                part = os.read(key.fd, _LIMIT)
                kept[key.fd] = (kept[key.fd] + part)[:_LIMIT]
                if not part:
                    selector.unregister(key.fd)
    try:
        process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired as exc:
        raise TimeoutError from exc
    return kept[stdout.fileno()], kept[stderr.fileno()]
