"""The documentation site: Sphinx, with notebooks and a gallery that are executed by the build.

    sphinx-build -W --keep-going -b html docs docs/_build/html            everything
    DDIB_DOCS=notebooks sphinx-build -W --keep-going -b html docs docs/_build/notebooks   no gallery
    DDIB_DOCS=quick sphinx-build -W --keep-going -b html docs docs/_build/quick   nothing executed
    DDIB_DOCS=quick sphinx-build -W -b doctest docs docs/_build/doctest              the doctests

All of them work without a network.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE / "gallery")]

import ddib_jax  # noqa: E402

QUICK = os.environ.get("DDIB_DOCS") == "quick"
GALLERY = os.environ.get("DDIB_DOCS") not in ("quick", "notebooks")

project = "ddib_jax"
author = "the authors of ddib_jax"
copyright = author
release = version = ddib_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "command_line",
    "rooms",
]
exclude_patterns = ["_build", "gallery", "**.ipynb_checkpoints", "generated/gallery/*.ipynb"]
exclude_patterns += ["generated/gallery/*.py", "generated/gallery/*.json"]
root_doc = "index"
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}

# Pages
html_theme = "furo"
html_title = "ddib_jax"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 4
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Notebooks: pages whose head names a kernel. A cell that fails fails the build.
nb_execution_mode = "off" if QUICK else "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

# Docstrings are plain text with `names` in backquotes; `rooms` makes reStructuredText of them.
default_role = None
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"no-value": True}
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
maximum_signature_line_length = 88
python_use_unqualified_type_names = True
autosummary_generate = False

doctest_global_setup = "import jax, jax.numpy as jnp, numpy as np, ddib_jax"
doctest_test_doctest_blocks = ""

# Gallery
sphinx_gallery_conf = {
    "examples_dirs": ["gallery"],
    "gallery_dirs": ["generated/gallery"],
    "filename_pattern": r"plot_",
    "ignore_pattern": r"support\.py",
    "plot_gallery": GALLERY,
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 3600,
    "write_computation_times": False,
    "within_subsection_order": "FileNameSortKey",
    "matplotlib_animations": False,
    "reset_modules": (),
    "copyfile_regex": "",
    "remove_config_comments": True,
    "thumbnail_size": (400, 280),
}

suppress_warnings = ["config.cache", "myst.header"] if not GALLERY else ["config.cache"]
