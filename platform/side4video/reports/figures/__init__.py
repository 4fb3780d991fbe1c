"""One module a figure: its numbers, and what draws them."""
