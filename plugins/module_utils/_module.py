# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module of the collection does at its edge.

Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._key_material import (
    hide_private_keys,
    is_private_key,
    may_be_key_material,
    path_options,
    strings,
)

_LONGEST_NAME = 255
CRYPTOGRAPHY_MINIMUM = (44, 0)


class Module(AnsibleModule):  # type: ignore[misc]  # Ansible has no types
    """An AnsibleModule that hides private keys in wrong options before it logs its arguments or refuses them."""

    def _load_params(self) -> None:
        super()._load_params()
        self.no_log_values.update(value for value in strings(self.params) if is_private_key(value))
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # nothing has checked the arguments yet
            paths = path_options(self.argument_spec, self.params)
            self.no_log_values.update(value for _name, value in paths if may_be_key_material(value))

    def log(self, msg: t.Any, log_args: dict[str, t.Any] | None = None) -> None:
        """Log ``msg`` without NUL characters: the system log takes none, and the option is refused by name later."""
        super().log(msg.replace("\0", "\\0") if isinstance(msg, str) else msg, log_args)


@contextlib.contextmanager
def clean_failure(module: AnsibleModule) -> t.Iterator[None]:
    """Turn an MtlsError inside the block, or a crash of cryptography, into a failure that shows no private key.

    Before the block, refuse an option that has a key where a path belongs, or that cannot be a path.
    """
    # A module lives for seconds, and has few cycles: Python would walk through thousands of certificates over and over.
    gc.set_threshold(100_000, 50, 1000)
    module.no_log_values.update(value for value in strings(module.params) if is_private_key(value))
    for name, value in path_options(module.argument_spec, module.params):
        if may_be_key_material(value):
            module.no_log_values.add(value)
            module.fail_json(
                msg=f"{name} has a private key, or a part of one, where the path of a file belongs. Nothing of it is "
                "shown. Write it to a file that only its user may read, and give the path of that file."
            )
        if "\0" in value or any(len(part.encode("utf-8", "replace")) > _LONGEST_NAME for part in value.split("/")):
            module.fail_json(
                msg=f"{name} is not a path: a part of it is longer than the name of a file ({_LONGEST_NAME} bytes), "
                "or has a NUL character. Give the path of a file or directory."
            )
    try:
        yield
    except MtlsError as exc:
        details = {key: _shown(detail) if isinstance(detail, str) else detail for key, detail in exc.details.items()}
        module.fail_json(msg=_shown(str(exc)), **details)
    except BaseException as exc:
        # Raised by cryptography for content that its own parser or OpenSSL cannot handle; the first is no Exception.
        if type(exc).__name__ not in {"PanicException", "InternalError"}:
            raise
        module.fail_json(
            msg="The library cryptography fails on a certificate, key or revocation list that was given. Check with "
            "openssl which of the files is damaged.",
            exception=traceback.format_exc(),
        )


def _shown(text: str) -> str:
    """Return ``text`` without private keys and in characters that Ansible can print: no lone surrogates."""
    return hide_private_keys(text).encode("utf-8", "backslashreplace").decode()


def require_cryptography(module: AnsibleModule) -> None:
    """Fail ``module`` with the installation hint when the Python library cryptography is missing or too old."""
    try:
        import cryptography  # noqa: PLC0415  (imported late: it is the costliest import of a module)
    except ImportError:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=traceback.format_exc())
    else:
        if tuple(int(part) for part in cryptography.__version__.split(".")[:2]) < CRYPTOGRAPHY_MINIMUM:
            minimum = ".".join(str(part) for part in CRYPTOGRAPHY_MINIMUM)
            module.fail_json(
                msg=f"The Python library cryptography is {cryptography.__version__} on the target host, "
                f"but {minimum} or later is needed. Upgrade it there."
            )


def require_kubernetes(module: AnsibleModule) -> None:
    """Fail ``module`` with the installation hint when a library for talking to a cluster is missing."""
    for name, package in (
        ("kubernetes", "kubernetes"),
        ("yaml", "PyYAML"),
        ("ansible_collections.kubernetes.core.plugins.module_utils.k8s.client", "the collection kubernetes.core"),
    ):
        require_library(module, name, package)


def require_library(module: AnsibleModule, name: str, package: str) -> None:
    """Fail ``module`` with the installation hint when the Python library ``name`` is missing."""
    try:
        importlib.import_module(name)
    except ImportError:
        module.fail_json(msg=missing_required_lib(package), exception=traceback.format_exc())
