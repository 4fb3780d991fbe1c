"""Inference: exported models, labels of videos, and text search in folders of videos."""
