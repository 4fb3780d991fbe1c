"""What a sweep leaves behind for people: a table, two figures, a page. Pure functions of plain values."""
