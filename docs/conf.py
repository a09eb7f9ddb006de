"""How the documentation is built: `sphinx-build -W docs docs/_build`."""

from syncproxy import __version__

project = "syncproxy"
author = "the syncproxy founders"
copyright = "2026, the syncproxy founders"
version = release = __version__
extensions = ["myst_parser"]
exclude_patterns = ["_build", "newsfragments"]
html_theme = "furo"
html_title = "syncproxy"
myst_heading_anchors = 3
nitpicky = True
