"""The documentation's settings: the Markdown pages of this folder, as they are.

    .venv/bin/sphinx-build -W --keep-going -b html docs build/docs

`make reference` fills the generated parts of the pages beforehand. Nothing is downloaded, neither during the build nor
by a browser that shows the pages.

The notebooks have no outputs in the repository. They run when the pages are built, each in a folder and all in a store
of their own; their results are cached beside the pages. `-D nb_execution_mode=off` leaves them out.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT / "platform"), str(DOCS)]

from side4video import __version__  # noqa: E402 - found by the line above

project = "side4video"
author = "The side4video authors"
version = release = __version__

extensions = ["myst_nb", "generators.sphinx_extension"]
exclude_patterns = ["generators", "_static"]
suppress_warnings: list[str] = []
nitpicky = True
smartquotes = False  # it would make one dash of the two of an option

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 900  # of a cell, seconds
nb_execution_raise_on_error = True
nb_execution_show_tb = True

# The kernels of notebooks inherit these: nobody's runs are shown, and none are added.
os.environ["SIDE4VIDEO_HOME"] = home = tempfile.mkdtemp(prefix="side4video-docs-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "platform"), *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ.pop("MLFLOW_TRACKING_URI", None)
del home  # Sphinx takes what has a name here for a setting

html_theme = "furo"
html_title = "side4video"
html_static_path = ["_static"]
html_css_files = ["side4video.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "sidebar_hide_name": False,
    "light_css_variables": {"color-brand-primary": "#0b5c8a", "color-brand-content": "#0b5c8a"},
    "dark_css_variables": {"color-brand-primary": "#7cc4ee", "color-brand-content": "#7cc4ee"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
