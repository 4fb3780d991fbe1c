"""Attention maps of the frozen tower and the side network (Figure 6)."""
