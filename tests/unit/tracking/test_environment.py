import shutil
import subprocess
import sys

from side4video.tracking import environment


def git(folder, *arguments):
    names = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", folder, *names, *arguments], check=True, capture_output=True)


def test_describe_names_machine_and_versions():
    facts = environment.describe()
    assert {"commit", "python", "os", "cpu", "cpu_cores", "memory_gib", "version/side4video", "version/torch"} <= set(
        facts
    )
    assert all(isinstance(value, str) and value for value in facts.values())
    assert int(facts["cpu_cores"]) >= 1
    assert float(facts["memory_gib"]) > 0.1


def test_describe_loads_neither_torch_nor_mlflow():
    code = "from side4video.tracking.environment import describe; describe(); import sys\n"
    code += "print([name for name in ('torch', 'mlflow', 'ray') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_commit_is_that_of_the_checkout_and_says_when_the_source_differs(tmp_path):
    package = tmp_path / "platform" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("a = 1\n")
    git(tmp_path, "init")
    assert environment.commit(package) == "unknown"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    clean = environment.commit(package)
    assert len(clean) == 40
    (tmp_path / "notes.txt").write_text("outside of the package")
    assert environment.commit(package) == clean
    (package / "__init__.py").write_text("a = 2\n")
    assert environment.commit(package) == f"{clean}+dirty"


def test_a_package_installed_inside_some_other_checkout_is_not_of_it(tmp_path):
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    package = tmp_path / ".venv" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    assert environment.commit(package) == "unknown"


def test_no_git_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("git") is None
    assert environment.commit(tmp_path) == "unknown"
