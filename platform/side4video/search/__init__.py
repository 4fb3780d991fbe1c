"""Videos of a folder, found by a text: what is kept of them, how they are ranked, and the page that shows them."""
