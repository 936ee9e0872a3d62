# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the local gateway cannot have is refused before anything is made."""

from __future__ import annotations

import os
import pathlib
import socket

import pytest

from ansible_collections.kyma.mtls.plugins.module_utils._errors import MtlsError
from ansible_collections.kyma.mtls.plugins.module_utils._local import preflight, runtime
from ansible_collections.kyma.mtls.plugins.module_utils._local.admin import Admin
from ansible_collections.kyma.mtls.tests.unit.plugins.module_utils._local import runtimes


@pytest.mark.parametrize("value", ["0", "65536", "https", "-1", "", "٤٤٣"])
def test_what_is_no_port_is_refused(value: str) -> None:
    with pytest.raises(MtlsError, match=r"listen: .* is not a TCP port"):
        preflight.port_number(value, what="listen")


def test_a_port_of_somebody_else_is_refused_and_a_free_one_is_not(tmp_path: pathlib.Path) -> None:
    layout = runtimes.RuntimeLayout.at(str(tmp_path / "r"))
    admin = Admin(socket=layout.admin_socket, log=layout.logs / "envoy.log")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(MtlsError, match=f"Port {port} on 127.0.0.1 is taken by another process"):
            preflight.refuse_taken_ports(layout, admin, [port])
    preflight.refuse_taken_ports(layout, admin, [port])


def test_a_port_of_this_runtimes_own_gateway_is_as_it_should_be() -> None:
    with runtimes.runtime() as made:
        made.apply()
        assert runtime.steps(made.layout, packages=[], state="started", listen=[made.port]) == []


def test_a_place_that_is_no_directory_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    layout = runtimes.RuntimeLayout.at(str(tmp_path / "file/home/runtime"))
    with pytest.raises(MtlsError, match=r"file is not a directory\. Choose another home"):
        runtime.steps(layout, packages=[], state="present")


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so the answer is given.
    monkeypatch.setattr(os, "access", lambda *_arguments: False)
    layout = runtimes.RuntimeLayout.at(str(tmp_path / "home/runtime"))
    with pytest.raises(MtlsError, match=f"may not write in {tmp_path}. Choose another home"):
        preflight.refuse_unwritable(layout)
