# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The PKI secrets engine of OpenBao and HashiCorp Vault, by its HTTP API: requests, and what a refusal means.

Six requests are all that is needed, so there is no client library: the target host needs nothing but cryptography, and
many certificate requests are under way at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import time
import typing as t
import urllib.parse

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, sentence
from ansible_collections.kyma.mtls.plugins.module_utils._http import (
    HttpAnswer,
    HttpClient,
    NoAnswerError,
    TlsTrust,
    parse_json,
)
from ansible_collections.kyma.mtls.plugins.module_utils._pki.issuers.issuer import RequestRefusedError
from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import SignedRequest
from ansible_collections.kyma.mtls.plugins.module_utils._x509.describe import san_text

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID
except ImportError:
    pass  # the module's edge reports it

if t.TYPE_CHECKING:
    from ansible_collections.kyma.mtls.plugins.module_utils._pki.spec import CertificateSpec

# Too many requests, and an answer that the next node gives: worth another try after so many seconds.
_AGAIN = frozenset({412, 429})
_PAUSES = (0.5, 1, 2, 4, 8)
_REDIRECTS = frozenset({301, 302, 307, 308})
_PATH = re.compile(r"[\w.-]+(/[\w.-]+)*")
# What an answer may have, and what those parts are.
_PARTS: dict[str, type] = {"data": dict, "auth": dict, "warnings": list}
_DATA_PARTS: dict[str, type] = {"ca_chain": list, "keys": list}
_METHODS = {"token": "token", "approle": "role_id and secret_id", "cert": "certificate and key"}


@dataclasses.dataclass(frozen=True)
class VaultLogin:
    """How to get a token: there is one, or ``approle`` or ``cert`` gives one."""

    method: str = "token"
    mount: str = ""
    token: str = dataclasses.field(default="", repr=False)
    role_id: str = ""
    secret_id: str = dataclasses.field(default="", repr=False)
    role: str = ""
    certificate: str = ""
    key: str = ""

    @property
    def path(self) -> str:
        return f"auth/{self.mount or self.method}/login"


@dataclasses.dataclass(frozen=True)
class VaultPki:
    """Where the issuer is, and by which role it signs. ``issuer`` names one that is not the mount's default."""

    url: str
    role: str
    login: VaultLogin
    mount: str = "pki"
    issuer: str = ""
    namespace: str = ""
    ca_file: str = ""
    timeout_seconds: float = 30

    @property
    def title(self) -> str:
        """What the issuer is called in messages."""
        return f"{self.mount} of {self.url}"

    @property
    def sign_path(self) -> str:
        between = f"issuer/{self.issuer}/" if self.issuer else ""
        return f"{self.mount}/{between}sign/{self.role}"


def to_pki(given: t.Mapping[str, t.Any]) -> VaultPki:
    """Turn the option ``vault`` into where to ask. Raises MtlsError naming what is missing or cannot be."""
    login = given["auth"] or {}
    method = login.get("method") or "token"
    names = ("token", "role_id", "secret_id", "certificate", "key")
    # A file's last line break is not part of a token.
    parts = {part: str(login.get(part) or "").strip() for part in names}
    needed = {"token": ("token",), "approle": ("role_id", "secret_id"), "cert": ("certificate", "key")}[method]
    if missing := [f"vault.auth.{part}" for part in needed if not parts[part]]:
        raise MtlsError(
            f"{' and '.join(missing)} is missing: the method {method} needs {_METHODS[method]}. Nothing was changed."
        )
    for option, value in (
        ("mount", given["mount"]),
        ("role", given["role"]),
        ("issuer", given["issuer"] or "default"),
        ("auth.mount", login.get("mount") or method),
    ):
        if not _PATH.fullmatch(str(value).strip("/")):
            raise MtlsError(
                f"vault.{option} is {value!r}, but must be a name, or names with / between them. Nothing was changed."
            )
    return VaultPki(
        url=str(given["url"]).rstrip("/"),
        role=given["role"],
        mount=given["mount"].strip("/"),
        issuer=given["issuer"] or "",
        namespace=given["namespace"] or "",
        ca_file=given["ca_file"] or "",
        timeout_seconds=given["timeout"],
        login=VaultLogin(
            method=method,
            mount=str(login.get("mount") or "").strip("/"),
            role=str(login.get("role") or ""),
            **parts,
        ),
    )


class VaultClient:
    """The issuer: it signs certificate requests, and has the revocation lists of its CAs."""

    def __init__(self, pki: VaultPki) -> None:
        self.pki = pki
        login = pki.login
        trust = TlsTrust(pki.ca_file, login.certificate, login.key)
        self._http = HttpClient(f"{pki.url}/v1", trust=trust, timeout_seconds=pki.timeout_seconds)
        self._token = login.token
        self._is_own_token = False
        self._outage: NoAnswerError | None = None

    @property
    def title(self) -> str:
        return self.pki.title

    def authorities(self) -> bytes:
        """Return the CA that signs, and the CAs above it that the issuer knows, as PEM. This needs no token."""
        path = f"{self.pki.mount}/issuer/{self.pki.issuer or 'default'}/json"
        data = self._data(self._call("GET", path), path)
        chain = data.get("ca_chain") or [data.get("certificate") or ""]
        return "\n".join(map(str, chain)).encode(errors="replace")

    def lists(self) -> tuple[list[tuple[str, bytes]], list[str]]:
        """Return the revocation list of every CA of the mount with its URL, and what went wrong. No token is needed.

        Raises MtlsError when there is no answer.
        """
        path = f"{self.pki.mount}/issuers?list=true"
        found, problems = [], []
        for name in self._data(self._call("GET", path), path).get("keys") or ():
            place = f"{self.pki.mount}/issuer/{name}/crl/pem"
            try:
                found.append((f"{self.pki.url}/v1/{place}", self._call("GET", place).body))
            except RequestRefusedError as exc:
                problems.append(str(exc))
        return found, problems

    def prepare(self) -> None:
        """Have a token, once. Raises MtlsError when the issuer does not give one."""
        login = self.pki.login
        if self._token:
            return
        given = {"role_id": login.role_id, "secret_id": login.secret_id} if login.method == "approle" else {}
        if login.method == "cert" and login.role:
            given = {"name": login.role}
        answer = self._call("POST", login.path, given, what="The login")
        self._token = str((self._parsed(answer, login.path).get("auth") or {}).get("client_token") or "")
        self._is_own_token = True
        if not self._token:
            raise MtlsError(f"The login at {self.pki.url} gives no token. Check the role of {login.path}.")

    def submit(self, spec: CertificateSpec, request: x509.CertificateSigningRequest) -> t.Callable[[], SignedRequest]:
        """Submit a certificate request. What is returned raises RequestRefusedError if this one is refused."""
        wait = self._begin("POST", self.pki.sign_path, signing(spec, request), what=f"Certificate {spec.name}")

        def signed() -> SignedRequest:
            said = self._parsed(wait(), self.pki.sign_path)
            certificate = str((said.get("data") or {}).get("certificate") or "")
            return SignedRequest(certificate.encode(errors="replace"), tuple(map(str, said.get("warnings") or ())))

        return signed

    def revoke(self, serial_number: int, *, name: str) -> None:
        """Revoke a certificate at the issuer; once more does no harm. Raises MtlsError."""
        digits = f"{serial_number:x}"
        octets = re.findall("..", digits.zfill(len(digits) + len(digits) % 2))
        what = f"The certificate of {name} with the serial number {digits}"
        self._call("POST", f"{self.pki.mount}/revoke", {"serial_number": ":".join(octets)}, what=what)

    def renew(self) -> None:
        """Have the lists recreated now. Raises MtlsError, mostly because the token may not."""
        self.prepare()
        self._call("GET", f"{self.pki.mount}/crl/rotate", what="The renewal of the revocation list", is_named=True)

    def usage_advice(self, usage: str) -> str:
        other = "server" if usage == "client" else "client"
        return f"set {usage}_flag=true and {other}_flag=false in the role {self.pki.role}"

    def close(self) -> None:
        """End a login, so that no token is left, and close the connections."""
        if self._is_own_token:
            with contextlib.suppress(MtlsError):
                self._call("POST", "auth/token/revoke-self", is_named=True)
            self._token, self._is_own_token = self.pki.login.token, False
        self._http.close()

    def _call(
        self,
        method: str,
        path: str,
        data: t.Mapping[str, t.Any] | None = None,
        *,
        what: str = "The request",
        is_named: bool = False,
    ) -> HttpAnswer:
        """Return a good answer. ``is_named`` is for a GET that needs the token too."""
        return self._begin(method, path, data, what=what, is_named=is_named)()

    def _begin(
        self, method: str, path: str, data: t.Mapping[str, t.Any] | None, *, what: str, is_named: bool = False
    ) -> t.Callable[[], HttpAnswer]:
        """Send a request, and return what waits for a good answer."""
        headers = {"X-Vault-Request": "true"}
        if self.pki.namespace:
            headers["X-Vault-Namespace"] = self.pki.namespace
        if self._token and (data is not None or is_named):
            headers["X-Vault-Token"] = self._token
        body = None if data is None else json.dumps(data).encode()
        send = functools.partial(self._http.send, method, f"/{path}", body=body, headers=headers)
        if self._outage is not None:  # waiting for each request of a thousand helps nobody
            raise self._outage
        with self._noting_outage():
            wait = send()

        def good_answer() -> HttpAnswer:
            with self._noting_outage():
                answer = wait()
                for pause in _PAUSES:
                    if answer.status not in _AGAIN:
                        break
                    time.sleep(pause)
                    answer = send()()
            if not answer.is_good:
                raise self._refusal(answer, path, what, is_open="X-Vault-Token" not in headers)
            return answer

        return good_answer

    @contextlib.contextmanager
    def _noting_outage(self) -> t.Iterator[None]:
        try:
            yield
        except NoAnswerError as exc:
            self._outage = exc
            raise

    def _refusal(self, answer: HttpAnswer, path: str, what: str, *, is_open: bool) -> MtlsError:
        words = _words(answer)
        if answer.status in _REDIRECTS:
            words = f"it sends on to {answer.location or 'nowhere'}"
        kind, advice = self._advice(answer, words, path, is_open=is_open)
        return kind(f"{what} is refused by {self.pki.title}: {sentence(words)} {advice}")

    def _advice(self, answer: HttpAnswer, words: str, path: str, *, is_open: bool) -> tuple[type[MtlsError], str]:
        login, pki = self.pki.login, self.pki
        whose = "the token of vault.auth" if login.method == "token" else f"the login by {login.method}"
        cases = (
            (answer.status == 503, "Unseal it (bao operator unseal), or wait until it is ready, and run again."),
            (
                path == login.path,
                f"Check {_METHODS[login.method]} of vault.auth, and the mount {path.removesuffix('/login')}.",
            ),
            (
                answer.status == 403 and is_open,
                f"{path} of a PKI needs no token, so none is mounted there: correct vault.mount or vault.namespace.",
            ),
            (
                answer.status == 403,
                f"Either {whose} is not valid any more, or its policy does not allow {path} (capability update).",
            ),
            (
                "unknown role" in words,
                f"Correct vault.role; bao list {pki.mount}/roles shows those that there are.",
            ),
            (answer.status in _REDIRECTS, "Set vault.url to the node that answers."),
        )
        advice = next((advice for is_case, advice in cases if is_case), None)
        if advice is None and answer.status in {400, 404}:
            return RequestRefusedError, f"Correct it here, or what the role {pki.role} allows."
        return MtlsError, advice or "Look into the log of the issuer."

    def _data(self, answer: HttpAnswer, path: str) -> dict[str, t.Any]:
        return dict(self._parsed(answer, path).get("data") or {})

    def _parsed(self, answer: HttpAnswer, path: str) -> dict[str, t.Any]:
        try:
            said = parse_json(answer.body)
            if isinstance(said, dict) and all(
                isinstance(part.get(name) or kind(), kind)
                for part, parts in ((said, _PARTS), (said.get("data") or {}, _DATA_PARTS))
                for name, kind in parts.items()
            ):
                return said
        except ValueError:
            pass
        raise MtlsError(
            f"{self.pki.url}/v1/{urllib.parse.quote(path)} does not answer as OpenBao or Vault does. Check vault.url."
        )


def signing(spec: CertificateSpec, request: x509.CertificateSigningRequest) -> dict[str, t.Any]:
    """Return the request to sign. Names are in it twice, as the role decides from where they are taken."""
    names = {
        kind: [san_text(name).partition(":")[2] for name in spec.sans if isinstance(name, classes)]
        for kind, classes in (
            ("alt_names", (x509.DNSName, x509.RFC822Name)),
            ("ip_sans", (x509.IPAddress,)),
            ("uri_sans", (x509.UniformResourceIdentifier,)),
        )
    }
    common_names = spec.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return {
        "csr": request.public_bytes(Encoding.PEM).decode(),
        "common_name": str(common_names[0].value) if common_names else "",
        "alt_names": ",".join(names["alt_names"]),
        "ip_sans": names["ip_sans"],
        "uri_sans": names["uri_sans"],
        "exclude_cn_from_sans": True,
        "format": "pem",
        **({} if spec.lifetime is None else {"ttl": f"{round(spec.lifetime.total_seconds())}s"}),
    }


def _words(answer: HttpAnswer) -> str:
    """Return what the server says of its refusal, in one line."""
    try:
        errors = parse_json(answer.body)["errors"]
        found = "; ".join(" ".join(str(error).split()) for error in errors)
        found = re.sub(r"^\d+ errors? occurred: \* ", "", found)
    except (ValueError, KeyError, TypeError):
        found = ""
    return found or f"it answers with the status {answer.status}"
