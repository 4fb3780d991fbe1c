"""Shared by commands: options, progress bars and tables for the terminal."""
