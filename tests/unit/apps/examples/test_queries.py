"""Which queries are shown is a rule: as many good and bad ones as there are, whoever asks."""

import csv
import io

import numpy as np
import pytest

from side4video.apps.examples.queries import Query, choose_queries, read_queries, selection_rule
from side4video.core.errors import InputError


def queries(ranks):
    return [Query(number, number // 2, rank, f"caption {number}") for number, rank in enumerate(ranks)]


def text_of(rows):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["index", "label", "prediction", "correct", "rank", "caption"])
    writer.writerows(rows)
    return file.getvalue()


def test_read_as_it_was_written():
    found = read_queries(text_of([[0, 7, 3, 0, 2, 'a "cat", and\na dog'], [1, 7, 7, 1, 1, ""]]), where="run")
    assert found == [Query(0, 7, 2, 'a "cat", and\na dog'), Query(1, 7, 1, "")]


@pytest.mark.parametrize("text", ["", "index,label\n", "index,label,prediction,correct,score\n0,left,right,0,0.5\n"])
def test_other_files_are_refused(text):
    with pytest.raises(InputError, match="run"):
        read_queries(text, where="run")


@pytest.mark.parametrize("count", [1, 3, 6, 50])
def test_the_choice_has_the_quantiles_of_the_run(count):
    ranks = np.random.default_rng(4).zipf(1.3, 1000).clip(1, 300)
    chosen = choose_queries(queries(ranks.tolist()), count=count, seed=0)
    assert len({each.number for each in chosen}) == count
    parts = (np.arange(count) + 0.5) / count
    assert [each.rank for each in chosen] == np.quantile(ranks, parts, method="higher").tolist()


def best(all_queries, *, count, seed):
    """The twin: cherries."""
    del seed
    return sorted(all_queries, key=lambda each: each.rank)[:count]


def test_picked_cherries_would_be_noticed():
    ranks = np.random.default_rng(4).zipf(1.3, 1000).clip(1, 300)
    parts = (np.arange(6) + 0.5) / 6
    chosen = best(queries(ranks.tolist()), count=6, seed=0)
    assert [each.rank for each in chosen] != np.quantile(ranks, parts, method="higher").tolist()


def test_the_seed_chooses_among_equals_and_nothing_else():
    equal = queries([1] * 50 + [9] * 50)
    chosen = [choose_queries(equal, count=4, seed=seed) for seed in range(6)]
    assert choose_queries(equal, count=4, seed=3) == chosen[3]
    assert len({tuple(each.number for each in one) for one in chosen}) > 3
    assert {tuple(each.rank for each in one) for one in chosen} == {(1, 1, 9, 9)}
    distinct = queries(range(1, 101))
    assert len({tuple(each.rank for each in choose_queries(distinct, count=4, seed=seed)) for seed in range(6)}) == 1


def test_few_queries_are_all_shown():
    few = queries([5, 1, 3])
    assert [each.rank for each in choose_queries(few, count=6, seed=0)] == [1, 3, 5]
    assert selection_rule(3, count=6, seed=0).startswith("All 3 captions")
    assert "seed 2" in selection_rule(100, count=6, seed=2)


@pytest.mark.parametrize(("count", "is_all"), [(4, False), (5, True), (6, True)])
def test_the_reader_is_told_whether_all_are_shown(count, is_all):
    assert len(choose_queries(queries([1] * 5), count=count, seed=3)) == min(count, 5)
    text = selection_rule(5, count=count, seed=3)
    assert text.startswith("All 5 captions") == is_all
    assert (f"divided into {count} equal parts" in text and "drawn by seed 3" in text) == (not is_all)
