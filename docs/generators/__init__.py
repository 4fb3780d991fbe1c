"""Makes the generated parts of the pages: reference, tables of the paper, and figures. `pages.py` writes them."""
