"""Sphinx settings of the site; ``make site`` builds it into build/site.

The source folder is the repository, so that a link works on the site as it does in the clone.
"""

import os
from pathlib import Path

import fairautoml

project = "fairautoml"
author = "the fairautoml developers"
version = release = fairautoml.__version__
root_doc = "docs/index"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
include_patterns = [
    "docs/*.md",
    "docs/api/*.rst",
    "docs/auto_gallery/*.rst",
    "results/*/README.md",
    "results/*.md",
    "results/serving/tables.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
# Folders named here are not searched for pages.
exclude_patterns = [
    *(".*", "build", "dist", "fairautoml", "tests", "experiments", "search_spaces"),
    "docs/gallery",
]
# autosummary looks in the source folder, the rest beside this file.
templates_path = [str(Path(__file__).with_name("_templates"))]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Two tables of results have no title.
suppress_warnings = ["config.cache", "toc.no_title"]

autosummary_generate = True
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

sphinx_gallery_conf = {
    "examples_dirs": "docs/gallery",
    "gallery_dirs": "docs/auto_gallery",
    # Examples load real tables by name; without the folder of tables they are shown, not run.
    "plot_gallery": bool(os.environ.get("FAIRAUTOML_DATA_HOME")),
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 10_000,
    "remove_config_comments": True,
}

html_theme = "pydata_sphinx_theme"
html_title = "fairautoml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "fairautoml"},
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"docs/index": [], "docs/install": []}
copyright = "the fairautoml developers, Apache-2.0"
