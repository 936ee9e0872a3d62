# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One Kubernetes API server: requests, discovery, and its refusals in words.

The connection (kubeconfig, context, tokens, proxies, ``K8S_AUTH_*``) is that of kubernetes.core. Discovery is our own:
one request for each API version, in memory only, so that a kind whose CRD has just been made is found.
"""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import json
import time
import traceback
import typing as t

try:
    import urllib3.exceptions
    import yaml
    from kubernetes.config import ConfigException
    from kubernetes.dynamic.exceptions import DynamicApiError

    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import get_api_client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException
except ImportError:
    pass  # the module's edge reports it

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError, sentence
from ansible_collections.kyma.mtls.plugins.module_utils._files import content_if_any, expand

FIELD_MANAGER = "kyma.mtls"
APPLY = "application/apply-patch+yaml"
REQUEST_TIMEOUT_SECONDS = 60
# A webhook that is being rolled out, an API server that is being restarted or that is busy.
BROUGHT_BY = {
    **dict.fromkeys(
        ("cert.gardener.cloud", "dns.gardener.cloud"),
        "clusters that Gardener manages have it, such as Kyma on SAP BTP",
    ),
    "cert-manager.io": "install cert-manager",
    "trust.cert-manager.io": "install trust-manager",
}
TRANSIENT_STATUS = frozenset({429, 502, 503, 504})
TRANSIENT_WORDS = ("failed calling webhook", "conversion webhook for", "no endpoints available", "etcdserver:")


class ApiError(MtlsError):
    """A refusal of the API server."""

    def __init__(self, message: str, *, status: int, reason: str = "", causes: t.Sequence[dict[str, str]] = ()) -> None:
        super().__init__(message, status=status, reason=reason, causes=list(causes))
        self.status = status
        self.reason = reason
        self.causes = tuple(causes)

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed a moment later."""
        text = str(self)
        return self.status in TRANSIENT_STATUS or (
            self.status >= 500 and any(words in text for words in TRANSIENT_WORDS)
        )


class UnreachableError(MtlsError):
    """There is no answer from the API server."""


class ForeignServerError(MtlsError):
    """Something answers that is not an API server of Kubernetes, such as a web server or a proxy's page."""


class UnknownKindError(MtlsError):
    """The API server does not serve this kind (yet)."""


@dataclasses.dataclass(frozen=True)
class ApiResource:
    """How objects of one kind are addressed."""

    api_version: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        prefix = "/apis" if "/" in self.api_version else "/api"
        parts = [prefix, self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        return "/".join(parts)


def pauses(longest: float, *, first: float = 0.25) -> t.Iterator[float]:
    """Seconds between one look and the next at what is waited for: few at first, because most of it takes a moment."""
    while True:
        yield min(first, longest)
        first *= 2


class Transport(t.Protocol):
    """What carries requests: ``DynamicClient.request`` of the Python client, or a test."""

    def request(self, method: str, path: str, body: t.Any = None, **parameters: t.Any) -> t.Any: ...


class Api:
    """An API server, asked by one module run."""

    def __init__(
        self,
        transport: Transport,
        *,
        retry_seconds: float = 60,
        sleep: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._retry_seconds = retry_seconds
        self._kinds: dict[str, dict[str, ApiResource]] = {}
        self.sleep = sleep
        self.clock = clock
        self._ahead = datetime.timedelta()
        self.requests = 0

    @property
    def python_client(self) -> t.Any:
        """The ApiClient of the Python client, for what is not a request: WebSockets."""
        return getattr(self._transport, "client", None)

    def resource(self, api_version: str, kind: str) -> ApiResource:
        """Return how ``kind`` is addressed.

        Raises UnknownKindError when the server does not serve it; asking again later asks the server again.
        """
        if api_version not in self._kinds:
            prefix = "/apis" if "/" in api_version else "/api"
            try:
                listed = self.request("GET", f"{prefix}/{api_version}", what=f"the kinds of {api_version}")
            except ApiError as exc:
                if exc.status != 404:
                    raise
                listed = {"resources": []}
            self._kinds[api_version] = {
                resource["kind"]: ApiResource(
                    api_version=api_version, plural=resource["name"], namespaced=resource["namespaced"]
                )
                for resource in listed["resources"]
                if "/" not in resource["name"]
            }
        try:
            return self._kinds[api_version][kind]
        except KeyError:
            del self._kinds[api_version]
            advice = BROUGHT_BY.get(api_version.partition("/")[0], "role modules installs those of Istio and Kyma")
            raise UnknownKindError(
                f"The API server does not know the kind {kind} of {api_version}. "
                f"Its CustomResourceDefinition is not there; {advice}."
            ) from None

    def get(self, path: str, *, what: str) -> dict[str, t.Any] | None:
        """Return the object at ``path``, None when there is none."""
        try:
            return self.request("GET", path, what=what)
        except ApiError as exc:
            if exc.status == 404:
                return None
            raise

    def apply(
        self, path: str, body: t.Mapping[str, t.Any], *, what: str, dry_run: bool, force: bool = False
    ) -> dict[str, t.Any]:
        """Apply ``body`` server-side and return the object as it is, or with ``dry_run`` as it would be."""
        parameters: dict[str, t.Any] = {"field_manager": FIELD_MANAGER, "force_conflicts": force}
        if dry_run:
            parameters["dry_run"] = "All"
        return self.request("PATCH", path, what=what, body=body, content_type=APPLY, **parameters)

    def delete(self, path: str, *, what: str, dry_run: bool) -> bool:
        """Delete the object at ``path``; False when there is none."""
        parameters: dict[str, t.Any] = {"propagation_policy": "Background"}
        if dry_run:
            parameters["dry_run"] = "All"
        try:
            self.request("DELETE", path, what=what, **parameters)
        except ApiError as exc:
            if exc.status == 404:
                return False
            raise
        return True

    def request(
        self, method: str, path: str, *, what: str, body: t.Mapping[str, t.Any] | None = None, **parameters: t.Any
    ) -> dict[str, t.Any]:
        """Send one request and return the answer; what is transient is tried again for a while.

        Raises ApiError with the server's own words, UnreachableError, or ForeignServerError.
        """
        deadline = self.clock() + self._retry_seconds
        until_next = pauses(5, first=0.5)
        while True:
            pause = next(until_next)
            try:
                return self._once(method, path, what=what, body=body, **parameters)
            except (ApiError, UnreachableError) as exc:
                transient = isinstance(exc, ApiError) and exc.transient
                if not transient or self.clock() + pause > deadline:
                    raise
            self.sleep(pause)

    def _once(
        self, method: str, path: str, *, what: str, body: t.Mapping[str, t.Any] | None, **parameters: t.Any
    ) -> dict[str, t.Any]:
        self.requests += 1
        try:
            response = self._transport.request(
                method, path, body=body, serialize=False, _request_timeout=REQUEST_TIMEOUT_SECONDS, **parameters
            )
        except DynamicApiError as exc:
            raise api_error(exc, what=what) from exc
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise UnreachableError(f"The API server does not answer ({what}): {_short(exc)}.") from exc
        self._set_clock(response)
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ForeignServerError(
                f"The server answers ({what}), but not as a Kubernetes API. Check server in the kubeconfig."
            )
        return answer

    def _set_clock(self, response: t.Any) -> None:
        try:
            theirs = email.utils.parsedate_to_datetime(response.headers["Date"])
        except (KeyError, TypeError, ValueError):
            return
        self._ahead = theirs - datetime.datetime.now(tz=datetime.UTC)

    def now(self) -> datetime.datetime:
        """Return the time on the server's clock, to the second."""
        return datetime.datetime.now(tz=datetime.UTC) + self._ahead


def api_error(exc: DynamicApiError, *, what: str) -> ApiError:
    """Return the refusal as our own error: what was requested, and the server's words."""
    try:
        status = json.loads(exc.body)
        message, reason = str(status["message"]), str(status.get("reason", ""))
        causes = tuple((status.get("details") or {}).get("causes") or ())
    except (ValueError, TypeError, KeyError):
        message, reason, causes = str(exc.reason or "no reason given"), "", ()
    advice = ""
    if exc.status == 401:
        advice = " The credentials of the kubeconfig are not accepted; renew them."
    elif exc.status == 403:
        advice = " The user of the kubeconfig needs this permission."
    return ApiError(
        sentence(f"{what}: the API server says {exc.status}: {message}") + advice,
        status=int(exc.status),
        reason=reason,
        causes=causes,
    )


def connect(options: t.Mapping[str, t.Any]) -> Api:
    """Return the API server that ``options`` (those of kubernetes.core) lead to.

    Raises UnreachableError when the configuration cannot be used or nobody answers, ForeignServerError when it leads to
    something else.
    """
    given = {key: value for key, value in options.items() if value is not None}
    source = given.get("kubeconfig") or given.get("host") or "the default kubeconfig"
    source = source if isinstance(source, str) else "the given kubeconfig"
    if isinstance(path := given.get("kubeconfig"), str):
        content_if_any(expand(path), what="kubeconfig")  # the library would wait for a named pipe's writer
    try:
        return Api(get_api_client(**given).client)
    except (yaml.YAMLError, RecursionError) as exc:
        raise UnreachableError(
            f"There is no usable connection to a cluster: {source} is not YAML: {_short(exc)}. "
            "Name a kubeconfig and a context of it (mtls_kubeconfig, mtls_context)."
        ) from exc
    except (CoreException, ConfigException, ValueError, LookupError, TypeError, AttributeError) as exc:
        if isinstance(exc, (LookupError, TypeError, AttributeError)) and _in_discovery(exc):
            raise ForeignServerError(
                f"The server of {source} answers, but not as a Kubernetes API. Check server in the kubeconfig."
            ) from exc
        raise UnreachableError(
            f"There is no usable connection to a cluster in {source}: {_short(exc)}. "
            "Name a kubeconfig and a context of it (mtls_kubeconfig, mtls_context)."
        ) from exc
    except DynamicApiError as exc:
        raise api_error(exc, what="Connecting") from exc
    except (urllib3.exceptions.HTTPError, OSError) as exc:
        raise UnreachableError(
            f"The API server of {source} does not answer: {_short(exc)}. Is the cluster running?"
        ) from exc


def _in_discovery(exc: BaseException) -> bool:
    """Whether an answer was being read, which the Python client does not check, and not the configuration."""
    frames = (frame for frame, _line in traceback.walk_tb(exc.__traceback__))
    return any(str(frame.f_globals.get("__name__")).startswith("kubernetes.dynamic.") for frame in frames)


def _short(exc: BaseException) -> str:
    reason = getattr(exc, "reason", None) or exc
    return " ".join(str(reason).split()).rstrip(".") or type(exc).__name__
