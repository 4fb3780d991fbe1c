"""Predictions that are written by hand."""

import pytest

from side4video.reports.figures.predictions import Prediction, Predictions


def make_predictions(pairs, first=0):
    """Of labels and guesses, in order."""
    videos = tuple(Prediction(first + number, label, guess) for number, (label, guess) in enumerate(pairs))
    labels = list(dict.fromkeys(label for label, _ in pairs))
    guessed = sorted({guess for _, guess in pairs} - set(labels))
    return Predictions(videos, (*labels, *guessed))


@pytest.fixture(scope="session")
def predictions():
    return make_predictions


@pytest.fixture(scope="session")
def many_classes():
    """Predictions of this many classes, four videos each: every third video is taken for the next class."""

    def make(classes, every=3):
        names = [f"Pretending to put something next to something {number:03}" for number in range(classes)]
        labels = [number % classes for number in range(4 * classes)]
        pairs = [
            (names[label], names[(label + 1) % classes] if number % every == 0 else names[label])
            for number, label in enumerate(labels)
        ]
        return make_predictions(pairs)

    return make
