"""Annotation files: tables, JSON, Arrow, class names, splits."""
