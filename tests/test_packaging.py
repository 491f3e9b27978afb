"""What gets installed: the extras, the pins, the conda environment, and documents that tell the truth."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from sharprank.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

ADAPTERS = ("langchain", "llama-index", "haystack")
TRAINING = ("lora", "deepspeed")
CONDA_NAMES = {"pytorch-gpu": "torch", "faiss-gpu": "faiss-gpu", "sentencepiece": "sentencepiece", "chardet": "chardet"}


def name_of(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def lower_bound(requirement: str) -> tuple[int, ...]:
    found = re.search(r">=\s*([\d.]+)", requirement)
    return tuple(map(int, found[1].split("."))) if found else ()


def requirements(*extras: str) -> dict[str, str]:
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return {name_of(requirement): requirement for one in lists for requirement in one}


def pins() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            found.setdefault(name_of(line), []).append(line)
    return found


def test_every_requirement_is_pinned_to_one_version_for_each_python():
    for name in requirements("demo", "gpu", "dev", *TRAINING, *ADAPTERS):
        assert name in pins(), f"{name} has no pin in constraints.txt"
    for lines in pins().values():
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+(; python_version (<|>=) '3\.11')?", line) for line in lines)
        markers = sorted(line.partition("; ")[2] for line in lines)
        assert markers in ([""], ["python_version < '3.11'"], ["python_version < '3.11'", "python_version >= '3.11'"])


def test_the_pins_are_inside_the_open_ranges():
    for name, requirement in requirements("demo", "gpu", "dev", *TRAINING, *ADAPTERS).items():
        for pin in pins()[name]:
            version = tuple(int(part) for part in re.findall(r"\d+", pin.partition(";")[0].partition("==")[2]))
            assert version >= lower_bound(requirement), pin
    assert pins()["torch"] == ["torch==2.13.0"]


def test_faiss_gpu_is_pinned_to_the_version_whose_files_it_replaces():
    assert pins()["faiss-gpu"][0].partition("==")[2] == pins()["faiss-cpu"][0].partition("==")[2]


def test_all_is_every_extra_but_the_developers_and_the_adapters_to_other_frameworks_and_what_compiles():
    assert PROJECT["optional-dependencies"]["all"] == ["sharprank[demo,gpu,llm,lora]"]


def test_the_conda_environment_agrees_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    packages = {name_of(item): item for item in environment["dependencies"] if isinstance(item, str)}
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert pip[-1] == "-e .[all]"
    assert set(packages) == {"python", "pip", *CONDA_NAMES}
    assert lower_bound(packages["python"]) == lower_bound(PROJECT["requires-python"]) == (3, 10)
    ours = requirements("gpu")
    for conda_name, name in CONDA_NAMES.items():
        assert name in ours, f"{conda_name} is no dependency of ours"
        if conda_name != "faiss-gpu":  # conda numbers its builds apart from the wheels
            assert lower_bound(packages[conda_name]) == lower_bound(ours[name])


def test_demo_and_test_install_by_themselves_from_the_same_pins():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "check", "bench"):
        assert re.search(rf"^{target}: \$\(INSTALLED\)", makefile, re.MULTILINE)
    assert "$(INSTALLED): pyproject.toml constraints.txt" in makefile
    installs = [line for line in makefile.splitlines() if "$(PIP) install" in line]
    assert installs and all("-c constraints.txt" in line for line in installs)


def test_ci_runs_the_tests_and_the_checks():
    text = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in text and "make check" in text


def test_a_python_that_does_not_fit_is_refused_with_a_way_out(tmp_path):
    script = ["sh", str(ROOT / ".ci" / "make_venv"), str(tmp_path / "venv")]
    process = subprocess.run(script, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "PYTHON": "false"})
    assert process.returncode == 2 and "fix:" in process.stderr and not (tmp_path / "venv").exists()


def test_every_folder_of_the_package_is_installed():
    for path in (ROOT / "src" / "sharprank").rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} would be missing from a wheel"


# --- documents ---------------------------------------------------------------------------------------------------

CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
OUR_PATHS = re.compile(r"(?<![\w/.-])((?:src|tests|docs|benchmarks|configs|embedding|reranker|\.ci)/[\w./-]*\w)")


def code_in(path: Path) -> list[str]:
    """The commands and names in a document: code blocks by line (continued lines joined), and inline code."""
    text = path.read_text(encoding="utf-8")
    found = []
    for block, inline in CODE.findall(text):
        found += block.replace("\\\n", " ").splitlines() if block else [inline]
    return found


@pytest.fixture(scope="session")
def flags_of(request):
    known: dict[str, set[str]] = {}
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None

    def read(command: str) -> set[str]:
        if command not in known:
            process = subprocess.run(
                [sys.executable, "-m", "sharprank", command, "--help"], capture_output=True, text=True
            )
            known[command] = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", process.stdout))
        return known[command]

    return read


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_every_path_in_a_document_exists(path):
    text = path.read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (path.parent / link).exists()] == []
    assert [name for name in OUR_PATHS.findall(text) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_every_command_and_flag_in_a_document_exists(path, flags_of):
    commands = {"finetune.hn_mine": "mine", "run.py": "train", "eval.py": "evaluate"}
    for line in code_in(path):
        for words in re.findall(r"(?:^|[\s(])sharprank ((?!COMMAND|import)[a-z]\w*[^|&;#]*)", line):
            command, *rest = words.split()
            assert command in COMMANDS, f"{path.name}: {line}"
            unknown = {word.partition("=")[0] for word in rest if word.startswith("-")} - flags_of(command)
            assert not unknown, f"{path.name}: {line}"
        for door, command in commands.items():
            if re.search(rf"(python|torchrun)\b.*{re.escape(door)}", line):
                rest = line.split(door)[1].split()
                unknown = {word.strip("[]") for word in rest if word.strip("[]").startswith("-")} - flags_of(command)
                assert not unknown, f"{path.name}: {line}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_every_make_target_in_a_document_exists(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in code_in(path):
        for target in re.findall(r"^make ([a-z]+)", line):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{path.name}: make {target}"


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60
    assert main is not None
