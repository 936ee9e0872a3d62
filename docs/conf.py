# Copyright (c) 2026 The kyma.mtls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sphinx settings of the documentation site (tools/docs copies this directory and adds the reference)."""

from __future__ import annotations

project = "kyma.mtls"
copyright = "2026 The kyma.mtls authors"  # noqa: A001  (Sphinx's name)
extensions = ["myst_parser", "sphinx_antsibull_ext"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 3
html_theme = "furo"
html_title = "kyma.mtls"
html_copy_source = False
# Built without the internet: links into other projects' documentation are plain text, not looked up there.
suppress_warnings = ["ref.ref"]
smartquotes = False
