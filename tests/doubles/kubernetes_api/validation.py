# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validation: the schemas of CustomResourceDefinitions, and what the server itself demands of the built-in kinds."""

from __future__ import annotations

import base64
import binascii
import json
import re
import typing as t

import kubernetes.client

from .refusals import Json

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


SECRET_BYTES = 1024 * 1024


def cause(reason: str, message: str, field: str) -> Json:
    return {"reason": reason, "message": message, "field": field}


def check_schema(value: t.Any, schema: Json, field: str) -> list[Json]:
    """Return everything in ``value`` that its schema does not allow, as the API server words it."""
    wanted = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return []
    if wanted and (
        not isinstance(value, TYPES[wanted]) or (wanted in ("integer", "number") and isinstance(value, bool))
    ):
        names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
        text = f'Invalid value: "{names.get(type(value), "null")}": {field} in body must be of type {wanted}: '
        return [cause("FieldValueTypeInvalid", f'{text}"{names.get(type(value), "null")}"', field)]
    if isinstance(value, dict):
        return _check_object(value, schema, field)
    if isinstance(value, list):
        return _check_list(value, schema, field)
    return _check_scalar(value, schema, field)


def _check_object(value: Json, schema: Json, field: str) -> list[Json]:
    found = [
        cause("FieldValueRequired", "Required value", f"{field}.{name}" if field else name)
        for name in schema.get("required") or []
        if name not in value
    ]
    for name, one in value.items():
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        below = properties.get(name) or (extra if isinstance(extra, dict) else None)
        if below is not None:
            found += check_schema(one, below, f"{field}.{name}" if field else name)
    return found


def _check_list(value: list[t.Any], schema: Json, field: str) -> list[Json]:
    found = []
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        found.append(cause("FieldValueTooMany", f"Too many: {len(value)}: must have at most {most} items", field))
    if least is not None and len(value) < least:
        text = f"Invalid value: {len(value)}: {field} in body should have at least {least} items"
        found.append(cause("FieldValueInvalid", text, field))
    if not found:
        for number, item in enumerate(value):
            found += check_schema(item, schema.get("items") or {}, f"{field}[{number}]")
    return found


def _check_scalar(value: t.Any, schema: Json, field: str) -> list[Json]:
    shown = json.dumps(value)
    found = []
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        names = ", ".join(json.dumps(one) for one in allowed)
        found.append(cause("FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {names}", field))
    text = ""
    if "maximum" in schema and value > schema["maximum"]:
        text = f"should be less than or equal to {schema['maximum']}"
    elif "minimum" in schema and value < schema["minimum"]:
        text = f"should be greater than or equal to {schema['minimum']}"
    elif "maxLength" in schema and len(value) > schema["maxLength"]:
        found.append(cause("FieldValueTooLong", f"Too long: may not be more than {schema['maxLength']} bytes", field))
    elif "pattern" in schema and not re.search(schema["pattern"], value):
        text = f"should match '{schema['pattern']}'"
    if text:
        found.append(cause("FieldValueInvalid", f"Invalid value: {shown}: {field} in body {text}", field))
    return found


def prune(value: t.Any, schema: Json | None) -> t.Any:
    """Return ``value`` without the fields that its schema does not know."""
    if schema is None or schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        if extra is True or ("properties" not in schema and extra is None):
            return value
        return {
            key: prune(one, properties.get(key, extra))
            for key, one in value.items()
            if key in properties or isinstance(extra, dict)
        }
    if isinstance(value, list):
        return [prune(one, schema.get("items")) for one in value]
    return value


def unknown_fields(value: t.Any, schema: Json | None, field: str = "") -> list[str]:
    """Return the paths that pruning would drop (server-side apply refuses them)."""
    if schema is None or schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    found: list[str] = []
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        extra = schema.get("additionalProperties")
        if extra is True or ("properties" not in schema and extra is None):
            return []
        for key, one in value.items():
            if key in properties or isinstance(extra, dict):
                found += unknown_fields(one, properties.get(key, extra), f"{field}.{key}")
            else:
                found.append(f"{field}.{key}")
    elif isinstance(value, list):
        for item in value:
            found += unknown_fields(item, schema.get("items"), f"{field}")
    return found


def unknown_builtin_fields(kind: str, body: Json) -> list[str]:
    """The paths in a built-in object that the Python client does not know of its kind: applying refuses them."""
    model = getattr(kubernetes.client, f"V1{kind}", None)
    return [] if model is None else _unknown_to(model, {key: one for key, one in body.items() if key != "status"}, "")


def _unknown_to(model: t.Any, value: t.Any, field: str) -> list[str]:
    if isinstance(value, list):
        return [one for item in value for one in _unknown_to(model, item, field)]
    if not isinstance(value, dict):
        return []
    types = {name: model.openapi_types[attribute] for attribute, name in model.attribute_map.items()}
    found = [f"{field}.{name}" for name in value if name not in types]
    for name, one in value.items():
        below = getattr(kubernetes.client, re.sub(r"^[Ll]ist\[(.*)\]$", r"\1", types.get(name, "")), None)
        if hasattr(below, "attribute_map"):
            found += _unknown_to(below, one, f"{field}.{name}")
    return found


def check_cel(kind: str, body: Json) -> list[Json]:
    """The CEL rules of the kinds that we use, as far as an object of ours could break them."""
    spec = body.get("spec") or {}
    found = []
    if kind == "APIRule":
        label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
        if "gateway" in spec and not re.fullmatch(rf"{label}/{label}", spec["gateway"]):
            text = 'Invalid value: "string": Gateway must be in the namespace/name format'
            found.append(cause("FieldValueInvalid", text, "spec.gateway"))
        for number, rule in enumerate(spec.get("rules") or []):
            if sum((rule.get("noAuth") is True, "jwt" in rule, "extAuth" in rule)) != 1:
                text = 'Invalid value: "object": One of the following fields must be set: noAuth, jwt, extAuth'
                found.append(cause("FieldValueInvalid", text, f"spec.rules[{number}]"))
    return found


def check_builtin(kind: str, body: Json) -> list[Json]:
    """What the server demands of the built-in kinds that we use."""
    if kind == "Secret":
        return _check_secret(body)
    if kind == "Service":
        return _check_service(body)
    if kind in ("Deployment", "DaemonSet"):
        return _check_workload(body)
    return []


def _check_secret(body: Json) -> list[Json]:
    data = body.get("data") or {}
    found = []
    if body.get("type") == "kubernetes.io/tls":
        found += [
            cause("FieldValueRequired", "Required value", f"data[{key}]")
            for key in ("tls.crt", "tls.key")
            if key not in data
        ]
    size = 0
    for key, value in data.items():
        try:
            size += len(base64.b64decode(value, validate=True))
        except (binascii.Error, TypeError):
            found.append(cause("FieldValueInvalid", "Invalid value: illegal base64 data", f"data[{key}]"))
    if size > SECRET_BYTES:
        found.append(cause("FieldValueTooLong", f"Too long: may not be more than {SECRET_BYTES} bytes", "data"))
    return found


def check_immutable(live: Json, body: Json) -> list[Json]:
    """What must stay of a Secret or ConfigMap that says so."""
    text = "Forbidden: field is immutable when `immutable` is set"
    same = {"immutable": True, "data": live.get("data"), "stringData": live.get("stringData")}
    return [cause("FieldValueForbidden", text, key) for key, value in same.items() if body.get(key) != value]


def _check_service(body: Json) -> list[Json]:
    ports = (body.get("spec") or {}).get("ports") or []
    if not ports:
        return [cause("FieldValueRequired", "Required value", "spec.ports")]
    return [
        cause(
            "FieldValueInvalid",
            f"Invalid value: {one['port']}: must be between 1 and 65535, inclusive",
            f"spec.ports[{number}].port",
        )
        for number, one in enumerate(ports)
        if not 0 < one.get("port", 0) < 65536
    ]


def _check_workload(body: Json) -> list[Json]:
    spec = body.get("spec") or {}
    selector = (spec.get("selector") or {}).get("matchLabels") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    found = []
    if not selector:
        found.append(cause("FieldValueRequired", "Required value", "spec.selector"))
    if not selector.items() <= labels.items():
        text = (
            f"Invalid value: {json.dumps(labels, separators=(',', ':'))}: `selector` does not match template `labels`"
        )
        found.append(cause("FieldValueInvalid", text, "spec.template.metadata.labels"))
    for number, one in enumerate(((spec.get("template") or {}).get("spec") or {}).get("containers") or []):
        if not one.get("image"):
            found.append(
                cause("FieldValueRequired", "Required value", f"spec.template.spec.containers[{number}].image")
            )
    return found
