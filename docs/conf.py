"""The documentation's settings: the Markdown pages of this folder, as they are.

    .venv/bin/sphinx-build -W --keep-going -b html docs build/docs

`make reference` fills the generated parts of the pages beforehand. Nothing is downloaded, neither during the build nor
by a browser that shows the pages.

The notebooks have no outputs in the repository. They run when the pages are built, in a store of their own: one to
three minutes on two CPU cores. Their outputs are kept in build/.jupyter_cache for as long as their cells stay the same;
`make clean` forgets them. With NOTEBOOKS=off they are shown without outputs.
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

nb_execution_mode = os.environ.get("NOTEBOOKS", "cache")
nb_execution_in_temp = True
nb_execution_timeout = 900  # seconds of a cell
nb_render_markdown_format = "myst"  # outputs may be tables
nb_execution_show_tb = True  # with -W a cell that fails stops the build

# What the kernels of notebooks inherit: nobody's runs are shown, none are added, and nobody's IPython is configured.
home = Path(tempfile.mkdtemp(prefix="side4video-docs-"))
atexit.register(shutil.rmtree, home, ignore_errors=True)
(home / "ipython" / "profile_default").mkdir(parents=True)
(home / "ipython" / "profile_default" / "ipython_kernel_config.py").write_text(
    "get_config().IPKernelApp.log_level = 40\n"
)
os.environ |= {"SIDE4VIDEO_HOME": str(home / "store"), "IPYTHONDIR": str(home / "ipython")}
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "platform"), *filter(None, [os.environ.get("PYTHONPATH")])])
os.environ.pop("MLFLOW_TRACKING_URI", None)
del home  # each name here is a setting of Sphinx

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
