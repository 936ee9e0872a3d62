# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the many short processes of the checks cheaper.

Python imports this file when it starts, where ``tools/check`` has put this directory on its path.

Python keeps no byte code of what it imports from an archive, and Ansible packs one for every module that it runs: some
thousand times in all checks, the same files are compiled again, for a third of a module's CPU time.

It looks for cyclic garbage after every 700 new objects, which is right for what runs for long. A module that imports
some hundred classes, and ends, spends up to a sixth of its time on that.
"""

from __future__ import annotations

import _imp
import gc
import marshal
import os
import sys
import zipimport

TYPE_CHECKING = False  # without typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType


def keep_byte_code(directory: str) -> None:
    """Have zipimport compile a file only where ``directory`` has nothing of the same content."""
    compile_source: Callable[[str, bytes], CodeType] = zipimport._compile_source  # type: ignore[attr-defined]  # private

    def compiled(path: str, source: bytes) -> CodeType:
        kept = f"{directory}/{_imp.source_hash(1, source).hex()}"
        try:
            with open(kept, "rb") as file:  # noqa: PTH123  (pathlib takes longer to import than this saves)
                code: CodeType = marshal.loads(file.read())  # noqa: S302  (our own)
            _imp._fix_co_filename(code, path)  # type: ignore[attr-defined]  # private
        except (OSError, EOFError, ValueError, TypeError):
            code = compile_source(path, source)
            keep(code, kept)
        return code

    zipimport._compile_source = compiled  # type: ignore[attr-defined]  # private


def keep(code: CodeType, path: str) -> None:
    own = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120  (as above)
        with open(own, "wb") as file:  # noqa: PTH123  (as above)
            file.write(marshal.dumps(code))
        os.replace(own, path)  # noqa: PTH105  (as above)
    except OSError:
        pass  # it is compiled again


if sys.pycache_prefix and hasattr(zipimport, "_compile_source"):
    keep_byte_code(f"{sys.pycache_prefix}/archives-{sys.implementation.cache_tag}")

gc.set_threshold(100_000, 50, 100)
