# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A list of clients from a file: YAML, JSON or CSV, each entry with the line where it stands.

Ansible's own way, a variable, costs much for thousands of entries: each is templated, validated, copied to a module
and validated again. A module reads ten thousand of them from a file in a fraction of a second.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import csv
import io
import json
import typing as t
from pathlib import Path

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._files import expand, read_bytes

Entry: t.TypeAlias = "dict[str, t.Any]"
# Where an entry stands, for messages; no field of a client.
ORIGIN = "origin"
MAX_CLIENTS = 100_000
_SHOWN = 20
_MOST_DIGITS = 18


class _Field(t.NamedTuple):
    """What a value must be, with words for it."""

    kind: type
    words: str
    choices: tuple[str, ...] = ()
    parts: t.Mapping[str, _Field] | None = None


_TEXT = _Field(str, "text")
_NUMBER = _Field(int, "a whole number")
_P12 = {
    "password": _TEXT,
    "friendly_name": _TEXT,
    "profile": _Field(str, "text", ("modern", "legacy")),
}
# The suboptions of a client, as the module pki has them; a test compares.
FIELDS: dict[str, _Field] = {
    "name": _TEXT,
    "common_name": _TEXT,
    "organization": _TEXT,
    "subject": _Field(list, "a list of dictionaries with one pair each"),
    "sans": _Field(list, "a list of text"),
    "key_type": _Field(str, "text", ("RSA", "ECDSA", "Ed25519")),
    "key_size": _NUMBER,
    "curve": _Field(str, "text", ("P-256", "P-384")),
    "days": _NUMBER,
    "hours": _NUMBER,
    "renew_before": _NUMBER,
    "renew_before_percentage": _NUMBER,
    "p12": _Field(dict, "a dictionary", parts=_P12),
    "state": _Field(str, "text", ("present", "absent")),
    "certificate": _TEXT,
    "chain": _TEXT,
    "key": _TEXT,
    "key_content": _TEXT,
    "key_passphrase": _TEXT,
}
# What a cell cannot hold, or what must not lie about in a table.
_NOT_IN_CSV = frozenset({"subject", "p12", "key_content", "key_passphrase"})
_SECRETS = ("key_content", "key_passphrase")


def read_client_list(path: str) -> list[Entry]:
    """Return the clients in the file ``path``, each with :data:`ORIGIN`, where it stands.

    Raises MtlsError that names the lines which are not clients, and what is wrong with them.
    """
    read = {".yml": _from_yaml, ".yaml": _from_yaml, ".json": _from_json, ".csv": _from_csv}.get(
        Path(path).suffix.lower()
    )
    if read is None:
        raise MtlsError(f"The list of clients {path} has none of the endings .yml, .yaml, .json and .csv. Rename it.")
    data = read_bytes(path, what="list of clients")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise MtlsError(f"The list of clients {path} is not UTF-8 (line {line}). Save it as UTF-8.", path=path) from exc
    found = read(text, path)
    problems = _problems(found)
    if problems:
        more = [f"There are {len(problems) - _SHOWN} more."] if len(problems) > _SHOWN else []
        raise MtlsError(
            " ".join(
                [f"The list of clients {path} cannot be used:", *problems[:_SHOWN], *more, "Nothing was changed."]
            ),
            path=path,
            problems=problems[:_SHOWN],
        )
    return [{**_expanded(entry), ORIGIN: f"line {line} of {path}"} for line, entry in found]


def _expanded(entry: Entry) -> Entry:
    return {**entry, "key": str(expand(entry["key"]))} if entry.get("key") else entry


def present_names(entries: t.Iterable[Entry]) -> list[str]:
    """Return the names of the clients that are to have a certificate."""
    return [entry["name"] for entry in entries if (entry.get("state") or "present") == "present"]


def secrets_of(entries: t.Iterable[Entry]) -> list[str]:
    """Return what no output may show: keys, and passphrases of keys and of PKCS#12 files."""
    found: list[str] = []
    for entry in entries:
        found += [entry[part] for part in _SECRETS if entry.get(part)]
        found += [(entry.get("p12") or {}).get("password") or ""]
    return [value for value in found if value]


_Found: t.TypeAlias = "list[tuple[int, t.Any]]"


def _problems(found: _Found) -> list[str]:
    problems = []
    lines: dict[str, int] = {}
    if len(found) > MAX_CLIENTS:
        return [f"It has {len(found)} clients, but {MAX_CLIENTS} is the most. Divide it among several CAs."]
    for line, entry in found:
        name = entry.get("name") if isinstance(entry, dict) else None
        whose = f" ({name})" if isinstance(name, str) and name.isprintable() else ""
        if not isinstance(entry, dict):
            problems.append(f"Line {line}: this is not a client, but a client is a dictionary with a name.")
            continue
        problems += [f"Line {line}{whose}: {problem}." for problem in _entry_problems(entry, FIELDS)]
        if name is None:
            problems.append(f"Line {line}: the client has no name.")
        elif isinstance(name, str) and (first := lines.setdefault(name, line)) != line:
            problems.append(f"Line {line}{whose}: line {first} has this name already.")
    return problems


def _entry_problems(
    entry: t.Mapping[t.Any, t.Any], fields: t.Mapping[str, _Field], within: str = ""
) -> t.Iterator[str]:
    for key, value in entry.items():
        field = fields.get(key)
        if field is None:
            yield f"there is no field {within}{key}; there are {', '.join(fields)}"
        elif value is not None and not _is(value, field):
            yield f"{within}{key} is not {field.words}{_hint(value, field)}"
        elif field.choices and value is not None and value not in field.choices:
            yield f"{within}{key} is none of {', '.join(field.choices)}"
        elif field.parts is not None and value is not None:
            yield from _entry_problems(value, field.parts, f"{key}.")


def _is(value: t.Any, field: _Field) -> bool:
    if isinstance(value, list) and field.kind is list:
        kind = str if field.words == "a list of text" else dict
        return all(isinstance(part, kind) for part in value)
    return isinstance(value, field.kind) and not isinstance(value, bool)


def _hint(value: t.Any, field: _Field) -> str:
    """YAML reads 007, yes and 2026-01-31 as something else than text."""
    return " (put it in quotes)" if field.kind is str and not isinstance(value, (dict, list)) else ""


def _from_csv(text: str, path: str) -> _Found:
    """A header with the fields' names, then a line for each client. Names in ``sans`` have spaces between them."""
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=";" if head.count(";") > head.count(",") else ",", strict=True)
    found: _Found = []
    header: list[str] | None = None
    line = 1
    try:
        for row in reader:
            if header is None:
                header = [name.strip() for name in row]
                _refuse_header(header, path)
            elif any(row):
                if len(row) != len(header):
                    raise MtlsError(
                        f"Line {line} of the list of clients {path} has {len(row)} cells, but the header has "
                        f"{len(header)}. Nothing was changed.",
                        path=path,
                    )
                found.append((line, _from_cells(header, row)))
            line = reader.line_num + 1
    except csv.Error as exc:
        raise MtlsError(f"Line {line} of the list of clients {path} is not CSV: {exc}. Nothing was changed.") from exc
    return found


def _refuse_header(header: t.Sequence[str], path: str) -> None:
    known = [name for name in FIELDS if name not in _NOT_IN_CSV]
    wrong = [name for number, name in enumerate(header) if name not in known or name in header[:number]]
    if wrong or "name" not in header:
        cause = f"has {', '.join(map(repr, wrong))}" if wrong else "has no column name"
        raise MtlsError(
            f"The first line of the list of clients {path} names the columns, each once, but {cause}. The columns can "
            f"be {', '.join(known)}; for {', '.join(sorted(_NOT_IN_CSV))} use YAML or JSON. Nothing was changed.",
            path=path,
        )


def _from_cells(header: t.Sequence[str], row: t.Sequence[str]) -> Entry:
    entry: Entry = {}
    for name, cell in zip(header, row, strict=True):
        value = cell.strip()
        if value:
            kind = FIELDS[name].kind
            is_number = kind is int and value.isascii() and value.isdigit()
            entry[name] = value.split() if kind is list else _whole(value) if is_number else value
    return entry


def _whole(digits: str) -> int | str:
    """Python converts no text of some thousand digits: that stays text, which is refused as no whole number."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _from_json(text: str, path: str) -> _Found:
    """Element by element, to know where each of them begins."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_whole)
    found: _Found = []
    position, line = _skip(text, 0), 1
    try:
        if text[position : position + 1] != "[":
            raise json.JSONDecodeError("it is not a list", text, position)
        position = _skip(text, position + 1)
        counted = 0
        while text[position : position + 1] != "]":
            if found:
                if text[position : position + 1] != ",":
                    raise json.JSONDecodeError("a comma is missing", text, position)
                position = _skip(text, position + 1)
            line += text.count("\n", counted, position)
            counted = position
            value, position = decoder.raw_decode(text, position)
            found.append((line, value))
            position = _skip(text, position)
        if _skip(text, position + 1) != len(text):
            raise json.JSONDecodeError("there is more behind the list", text, position + 1)
    except json.JSONDecodeError as exc:
        raise MtlsError(
            f"Line {exc.lineno} of the list of clients {path} is not a JSON list of clients: {exc.msg}. "
            "Nothing was changed.",
            path=path,
        ) from exc
    except RecursionError as exc:
        raise MtlsError(f"The list of clients {path} is nested too deeply. Nothing was changed.", path=path) from exc
    except ValueError as exc:
        raise MtlsError(
            f"The client in line {line} of the list of clients {path} cannot be used: {exc}. Nothing was changed.",
            path=path,
        ) from exc
    return found


def _unique(pairs: list[tuple[str, t.Any]]) -> Entry:
    """Refuse a field that is there twice: of two clients with a brace missing between them, one would be lost."""
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise ValueError(_repeated([name for name, _value in pairs]))
    return entry


def _repeated(names: t.Sequence[str]) -> str:
    name = next(name for number, name in enumerate(names) if name in names[:number])
    return f"the field {name} is there more than once"


def _skip(text: str, position: int) -> int:
    """The next position that is not white space."""
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _from_yaml(text: str, path: str) -> _Found:
    try:
        import yaml  # noqa: PLC0415  (only where the list is YAML)
    except ImportError as exc:
        raise MtlsError(
            f"The Python library PyYAML is missing on the target host, so the list of clients {path} cannot be read. "
            "Install it there, or give the list as JSON or CSV."
        ) from exc
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    line = 0
    try:
        root = loader.get_single_node()
        if root is None:
            return []
        if not isinstance(root, yaml.SequenceNode):
            raise MtlsError(
                f"The list of clients {path} is not a list (line {root.start_mark.line + 1}): each client begins with "
                "a hyphen and has a name. Nothing was changed.",
                path=path,
            )
        found: _Found = []
        for node in root.value:
            line = node.start_mark.line + 1
            _refuse_repeated(node, path)
            found.append((line, loader.construct_object(node, deep=True)))
        return found
    # PyYAML raises all of these for a value that is not what its tag says.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, LookupError, AttributeError) as exc:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        line = mark.line + 1 if mark else line
        where = f"Line {line} of the list" if line else "The list"
        problem = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "it is nested too deeply, or damaged"
        raise MtlsError(f"{where} of clients {path} is not YAML: {problem}. Nothing was changed.", path=path) from exc
    finally:
        loader.dispose()


def _refuse_repeated(node: t.Any, path: str) -> None:
    """Refuse a client with a field that is there twice, as where the hyphen of the next client is missing."""
    if node.id != "mapping":
        return
    names = [key.value for key, _value in node.value if key.id == "scalar"]
    if len(set(names)) != len(names):
        raise MtlsError(
            f"The client in line {node.start_mark.line + 1} of the list of clients {path} cannot be used: "
            f"{_repeated(names)}. Each client begins with a hyphen. Nothing was changed.",
            path=path,
        )
