# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Import the collection's modules with Python's cache of byte code.

Ansible's loader of collections compiles each file anew in every run, which is a third of a second for what runs in
Ansible's own process. Python's loader compiles it once, and again when the file has changed.

Note that this plugin util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import importlib
import sys
import types
import typing as t
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader

_PLUGINS = "ansible_collections.kyma.mtls.plugins."


class _Loader(SourceFileLoader):
    """Python's own, but byte code that is cut short is not the end: a full disk leaves such."""

    def get_code(self, fullname: str) -> types.CodeType | None:
        try:
            return super().get_code(fullname)
        except (EOFError, TypeError, ValueError):  # what marshal.loads raises
            return self.source_to_code(self.get_data(self.path), self.path)


class CachedCode:
    """A finder for the collection's modules and module_utils (importlib.abc.MetaPathFinder)."""

    @staticmethod
    def find_spec(name: str, path: t.Sequence[str] | None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004  (given by Python)
        if not path or not name.startswith((f"{_PLUGINS}modules.", f"{_PLUGINS}module_utils.")):
            return None
        finders = (FileFinder(directory, (_Loader, SOURCE_SUFFIXES)) for directory in path)
        return next((spec for finder in finders if (spec := finder.find_spec(name))), None)


def main_of(module: str) -> t.Callable[..., None]:
    """Return the ``main`` of a module of the collection. Afterwards, everybody's imports are as before."""
    finder = t.cast("t.Any", CachedCode)
    sys.meta_path.insert(0, finder)
    try:
        main: t.Callable[..., None] = importlib.import_module(f"{_PLUGINS}modules.{module}").main
    finally:
        sys.meta_path.remove(finder)
    return main
