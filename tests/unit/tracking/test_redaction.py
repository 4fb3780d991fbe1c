import pytest

from side4video.tracking.redaction import HIDDEN, is_secret_name, redact, redact_command, redact_text

SECRETS = """password db_password tracking.password HF_TOKEN token hfToken api_key apiKey secret client-secret
aws_secret_access_key private_key auth.token credentials access_token apikey"""

ORDINARY = """class_token cls_token tokens patch_token key keys side4video.key monkey token_stride query_key method.dim
keyboard secretary tokenizer"""


@pytest.mark.parametrize("name", SECRETS.split())
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["", *ORDINARY.split()])
def test_names_of_ordinary_things(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql://user:hunter2@host/db", "hunter2"),
        ("postgresql://user:a/hunter2@host/db", "hunter2"),
        ("postgresql+psycopg://user:a'hunter2@host/db", "hunter2"),
        ("postgresql://user:a@hunter2@host/db", "hunter2"),
        ("postgresql://host/db?user=me&password=hunter2", "hunter2"),
        ("http://user:p%40ss@host:5000/a", "p%40ss"),
        ("at https://tok3n@host, then", "tok3n"),
        ("https://b.s3.example/x?X-Amz-Signature=abc123&y=1", "abc123"),
        ("https://host/x?a=1&access_token=abc123", "abc123"),
        ("hf_abcdefghijklmnopqrstuvwxyz", "hf_abc"),
        ("key AKIAABCDEFGHIJKLMNOP here", "AKIA"),
    ],
)
def test_secrets_in_text_are_hidden(text, secret):
    hidden = redact_text(text)
    assert secret not in hidden
    assert HIDDEN in hidden


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me/mlflow.db",
        "http://host:5000/#/runs?orderBy=a&asc=false",
        "a@b",
        "s3://bucket/x",
        "half_done",
    ],
)
def test_ordinary_text_stays(text):
    assert redact_text(text) == text


def test_documents_keep_their_shape_and_the_original_is_untouched():
    document = {
        "tracking": {"uri": "http://me:pw@host", "token": "abc"},
        "backbone": {"class_token": "mean", "heads": 3},
        "credentials": {"user": "me", "level": 2, "more": ["x", {"y": "z"}]},
        "list": ["http://me:pw@host", 1, None, True],
        "empty": {"password": ""},
    }
    hidden = redact(document)
    assert hidden == {
        "tracking": {"uri": f"http://{HIDDEN}@host", "token": HIDDEN},
        "backbone": {"class_token": "mean", "heads": 3},
        "credentials": {"user": HIDDEN, "level": 2, "more": [HIDDEN, {"y": HIDDEN}]},
        "list": [f"http://{HIDDEN}@host", 1, None, True],
        "empty": {"password": ""},
    }
    assert document["tracking"]["token"] == "abc"


@pytest.mark.parametrize(
    "line",
    [
        "side4video run a.yaml --set tracking.password=hunter2",
        "side4video run a.yaml --set 'tracking.uri=http://me:hunter2@host'",
        "side4video sweep a.yaml --set 'overrides={db.password: hunter2, x: 1}'",
        "HF_TOKEN=hunter2 python train.py",
        "python train.py --api-key hunter2 --epochs 3",
        "python train.py --api-key=hunter2",
        "AWS_SECRET_ACCESS_KEY='hunter2 and more' x",
        """ray job submit --runtime-env-json '{"env_vars": {"DB_PASSWORD": "hunter2"}}' -- x""",
    ],
)
def test_secrets_on_command_lines_are_hidden(line):
    hidden = redact_command(line)
    assert "hunter2" not in hidden
    assert HIDDEN in hidden
    assert redact_text(line) != hidden or "://" in line


@pytest.mark.parametrize(
    "line",
    [
        "side4video run a.yaml --set seed=3 --set method.class_token=mean -- --resume",
        "side4video sweep a.yaml --rerun",
        "python train.py --tokenizer clip --key k",
        "epoch 3: loss: 0.5 tokens: 12",
        "password:\nnext",
    ],
)
def test_ordinary_command_lines_stay(line):
    assert redact_command(line) == line
