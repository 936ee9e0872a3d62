# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A strict reader of Kubernetes objects: every field is known, refused with a reason, or refused as unknown."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError

DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclasses.dataclass(frozen=True)
class Field:
    """A value inside an object, which knows where it stands so that a refusal can name it."""

    owner: str
    path: str
    value: t.Any

    def refusal(self, reason: str) -> MtlsError:
        """The error that refuses this field for ``reason``."""
        where = f", field {self.path}" if self.path else ""
        return MtlsError(f"{self.owner}{where}: {reason}", object=self.owner, field=self.path)

    def fields(
        self,
        *,
        required: t.Collection[str] = (),
        optional: t.Collection[str] = (),
        refused: t.Mapping[str, str] | None = None,
    ) -> dict[str, Field]:
        """The fields of this mapping that are set; ``refused`` maps known fields to why they cannot be honoured."""
        if not isinstance(self.value, t.Mapping):
            raise self.refusal(f"must be a mapping, not {type(self.value).__name__}.")
        # To the Kubernetes API, null is the same as absent.
        present = {
            str(name): self._child(f".{name}" if self.path else str(name), value)
            for name, value in self.value.items()
            if value is not None
        }
        for name, field in present.items():
            if refused and name in refused:
                raise field.refusal(refused[name])
            if name not in required and name not in optional:
                known = ", ".join(sorted({*required, *optional}))
                raise field.refusal(f"is unknown to the local translation, which honours here: {known}.")
        for name in required:
            if name not in present:
                raise self.refusal(f"{name} is required.")
        return present

    def part(self, name: str) -> Field | None:
        """One field of this mapping, if it is set; the other fields do not matter."""
        if not isinstance(self.value, t.Mapping):
            raise self.refusal(f"must be a mapping, not {type(self.value).__name__}.")
        value = self.value.get(name)
        return None if value is None else self._child(f".{name}" if self.path else name, value)

    def items(self, *, minimum: int = 1) -> tuple[Field, ...]:
        """The items of this list."""
        if not isinstance(self.value, t.Sequence) or isinstance(self.value, (str, bytes)):
            raise self.refusal(f"must be a list, not {type(self.value).__name__}.")
        if len(self.value) < minimum:
            raise self.refusal(f"must have at least {minimum} item.")
        return tuple(self._child(f"[{index}]", item) for index, item in enumerate(self.value))

    def pairs(self) -> dict[str, Field]:
        """This mapping of free names to texts."""
        found = self.fields(optional=self.value if isinstance(self.value, t.Mapping) else ())
        for field in found.values():
            field.text(empty=True)
        return found

    def text(self, pattern: re.Pattern[str] | None = None, *, form: str = "", empty: bool = False) -> str:
        """This text, which matches ``pattern`` as a whole; ``form`` describes the pattern to a person."""
        if not isinstance(self.value, str):
            raise self.refusal(f"must be a text, not {type(self.value).__name__}.")
        if not self.value and not empty:
            raise self.refusal("must not be empty.")
        if pattern is not None and not pattern.fullmatch(self.value):
            raise self.refusal(f"{self.value!r} is not {form or 'of the form ' + pattern.pattern}.")
        return str(self.value)

    def one_of(self, choices: t.Collection[str], *, refused: t.Mapping[str, str] | None = None) -> str:
        """This text, which is one of ``choices``; ``refused`` maps known values to why they cannot be honoured."""
        text = self.text()
        if refused and text in refused:
            raise self.refusal(f"{text}: {refused[text]}")
        if text not in choices:
            raise self.refusal(f"{text!r} is not one of {', '.join(choices)}.")
        return text

    def number(self, minimum: int, maximum: int) -> int:
        """This integer between ``minimum`` and ``maximum``."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.refusal(f"must be an integer, not {type(self.value).__name__}.")
        if not minimum <= self.value <= maximum:
            raise self.refusal(f"{self.value} is not between {minimum} and {maximum}.")
        return int(self.value)

    def flag(self) -> bool:
        """This boolean."""
        if not isinstance(self.value, bool):
            raise self.refusal(f"must be true or false, not {self.value!r}.")
        return bool(self.value)

    def _child(self, step: str, value: t.Any) -> Field:
        return Field(self.owner, f"{self.path}{step}", value)


@dataclasses.dataclass(frozen=True)
class KubernetesObject:
    """A Kubernetes object whose envelope was checked; ``spec`` and other fields are still to be read."""

    version: str
    kind: str
    namespace: str
    name: str
    labels: t.Mapping[str, str]
    annotations: t.Mapping[str, str]
    body: Field

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return self.body.owner


#: Written by the API server or by controllers, never a wish of the user.
_SERVER_SIDE = ("status",)


def read_resource(item: t.Any, *, position: int) -> KubernetesObject:
    """The object ``item``, which stands at ``position`` of the given list."""
    whole = Field(f"Object {position}", "", item)
    if not isinstance(item, t.Mapping):
        raise whole.refusal("must be a mapping.")
    version, kind = (Field(whole.owner, key, item.get(key)).text() for key in ("apiVersion", "kind"))
    metadata = Field(whole.owner, "metadata", item.get("metadata"))
    if not isinstance(metadata.value, t.Mapping):
        raise metadata.refusal("must be a mapping.")
    name = Field(f"{kind} at position {position}", "metadata.name", metadata.value.get("name")).text(
        DNS_NAME, form="a Kubernetes name"
    )
    namespace = "" if kind == "Namespace" else metadata.value.get("namespace") or "default"
    owner = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
    if namespace:
        Field(owner, "metadata.namespace", namespace).text(DNS_LABEL, form="a Kubernetes namespace")
    labels, annotations = (
        {
            key: field.value
            for key, field in Field(owner, f"metadata.{part}", metadata.value.get(part) or {}).pairs().items()
        }
        for part in ("labels", "annotations")
    )
    body = {key: value for key, value in item.items() if key not in ("apiVersion", "kind", "metadata", *_SERVER_SIDE)}
    return KubernetesObject(
        version=version,
        kind=kind,
        namespace=namespace,
        name=name,
        labels=labels,
        annotations=annotations,
        body=Field(owner, "", body),
    )
