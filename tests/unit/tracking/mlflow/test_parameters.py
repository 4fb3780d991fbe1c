from side4video.tracking.mlflow.parameters import BATCH_CHARACTERS, BATCH_ENTRIES, batches, cut, flatten, plain_name


def test_nested_documents_get_dotted_names():
    document = {
        "method": {"kind": "side4video", "dim": 320, "taps": [0, 3], "fusion": {"kind": "none"}},
        "lr": 1e-3,
        "ema": None,
        "flip": True,
        "empty": {},
        "name": "été",
    }
    assert flatten(document) == {
        "method.kind": "side4video",
        "method.dim": "320",
        "method.taps": "[0, 3]",
        "method.fusion.kind": "none",
        "lr": "0.001",
        "ema": "null",
        "flip": "true",
        "empty": "{}",
        "name": "été",
    }


def test_names_become_such_as_mlflow_takes():
    assert plain_name("st-adapter.größe@2") == "st-adapter.gr__e_2"
    assert plain_name("/a//b/") == "a/b"
    assert plain_name("") == "_"
    assert len(plain_name("x" * 300)) == 250


def test_cut_is_exact_at_the_limit():
    assert cut("abcd", 4) == "abcd"
    assert cut("abcde", 4) == "abc…"


def test_batches_lose_nothing_and_respect_both_limits():
    small = {f"p{i}": "v" for i in range(2 * BATCH_ENTRIES + 1)}
    assert [len(portion) for portion in batches(small)] == [BATCH_ENTRIES, BATCH_ENTRIES, 1]
    large = {f"p{i}": "v" * 6000 for i in range(60)}
    portions = list(batches(large))
    assert len(portions) > 1
    assert all(sum(len(k) + len(v) for k, v in portion.items()) <= BATCH_CHARACTERS for portion in portions)
    assert {k: v for portion in portions for k, v in portion.items()} == large
    assert list(batches({})) == []
