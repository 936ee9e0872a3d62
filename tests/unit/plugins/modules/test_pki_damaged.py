# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA certificate that is damaged among others: pki refuses it and never goes on with the others alone."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.kyma.mtls.plugins.modules import pki

EC = {"key_type": "ECDSA"}
Run: t.TypeAlias = t.Callable[..., dict[str, t.Any]]
DAMAGES: dict[str, t.Callable[[str], str]] = {
    "cut off": lambda pem: pem[:-60],
    "without its first line of base64": lambda pem: "\n".join((*pem.splitlines()[:1], *pem.splitlines()[2:])) + "\n",
    "with a letter that is none of base64": lambda pem: pem.replace("\n", "\n!", 1),
}


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_module(directory: str, **options: t.Any) -> dict[str, t.Any]:
        given = {"usage": "client", "directory": str(tmp_path / directory)} | options
        with patch_module_args(given), pytest.raises(SystemExit):
            pki.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


def own(name: str) -> dict[str, t.Any]:
    return {"ca": {"subject": [{"CN": name}]} | EC, "defaults": EC, "certificates": [{"name": "curl"}]}


@pytest.fixture
def roots(run: Run, tmp_path: Path) -> list[str]:
    """Two root CAs in PEM."""
    for name in ("one", "two"):
        run(name, **own(name))
    return [(tmp_path / name / "ca.crt").read_text() for name in ("one", "two")]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_damaged_provided_ca_is_refused(
    run: Run, roots: list[str], tmp_path: Path, damage: str, is_first: bool
) -> None:
    damaged = [DAMAGES[damage](roots[0]), roots[1]] if is_first else [roots[1], DAMAGES[damage](roots[0])]
    message = run("provided", provided={"ca": "".join(damaged)})["msg"]
    assert f"block {1 if is_first else 2} of the content of provided.ca" in message
    assert not (tmp_path / "provided").exists()


def test_a_damaged_ca_in_an_edited_bundle_is_not_lost_by_a_rotation(run: Run, roots: list[str], tmp_path: Path) -> None:
    bundle = tmp_path / "one/ca-bundle.crt"
    edited = bundle.read_text() + DAMAGES["cut off"](roots[1])
    bundle.write_text(edited)
    assert "block 2" in run("one", **own("one"), state="prepared")["msg"]
    assert bundle.read_text() == edited


def test_a_ca_in_comment_lines_is_none(run: Run, roots: list[str], tmp_path: Path) -> None:
    commented = "".join(f"# {line}\n" for line in roots[1].splitlines())
    assert run("provided", provided={"ca": commented + roots[0]})["changed"]
    assert (tmp_path / "provided/ca-bundle.crt").read_text().count("-----BEGIN") == 1


def test_what_is_no_key_is_not_taken_for_a_path(run: Run, roots: list[str]) -> None:
    provided = {"ca": roots[0], "ca_key_content": "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49"}
    message = run("provided", provided=provided, certificates=[{"name": "curl"}])["msg"]
    assert "the content of provided.ca_key_content cannot be read" in message
