"""Evaluating trained models again: other views, another precision, other data."""
