"""Predicts parameters, multiply-adds and memory of a run. Needs no GPU and no weights."""
