"""The applications on top of the library: each a folder with its command, and none imports another."""
