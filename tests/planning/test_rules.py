"""The rules on the fixture repositories, and on what a repository may write to get around them."""

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.domain.errors import CannotPlan, ValidationFailed
from chalicelib.domain.planning import DOCKERFILE, WANTED, BuildPlan, Given, Tree, plan
from tests.planning import trees
from tests.planning.expected import PLANS, UNPLANNED


def tree(**texts: str) -> Tree:
    """A tree of these files; `__` stands for a folder, `_dot_` for a dot that Python cannot write."""
    named = {name.replace("_dot_", ".").replace("__", "/"): text for name, text in texts.items()}
    return Tree(files=tuple(sorted(named)), texts=named)


def package(**said: object) -> str:
    return json.dumps(said)


def test_every_fixture_has_its_row() -> None:
    assert trees.names() == sorted(PLANS | UNPLANNED)


@pytest.mark.parametrize("repository", PLANS)
def test_a_repository_is_planned_as_its_row_says(repository: str) -> None:
    expected = PLANS[repository]

    planned = plan(trees.tree_of(repository))

    assert planned.stack == expected.stack
    assert (planned.port, planned.health_path) == (expected.port, expected.health_path)
    assert planned.start_command == expected.start
    assert planned.base_images == expected.images
    assert planned.assumed == expected.assumed
    assert planned.reasons


@pytest.mark.parametrize("repository", UNPLANNED)
def test_what_nothing_says_how_to_run_is_said_with_what_was_looked_for(repository: str) -> None:
    with pytest.raises(CannotPlan, match=re.escape(UNPLANNED[repository])) as refused:
        plan(trees.tree_of(repository))

    assert "package.json" in refused.value.details["looked_for"]


@pytest.mark.parametrize("repository", [name for name in PLANS if not name.startswith(("compose", "dockerfile"))])
def test_a_generated_dockerfile_keeps_the_house_rules(repository: str) -> None:
    planned = plan(trees.tree_of(repository))

    assert planned.dockerfile is not None
    lines = planned.dockerfile.splitlines()
    stage = lines[max(index for index, line in enumerate(lines) if line.startswith("FROM")) :]
    assert re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", stage[-3])
    assert stage[-2] == f"EXPOSE {planned.port}"
    assert stage[-1].startswith("CMD [")
    assert {line.split()[0] for line in lines if line} <= {
        "FROM",
        "ENV",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "EXPOSE",
        "CMD",
    }
    assert planned.compose == (
        f"services:\n  web:\n    build:\n      context: .\n      dockerfile: {DOCKERFILE}\n"
        f'    expose:\n      - "{planned.port}"\n'
    )
    assert yaml.safe_load(planned.compose)["services"]["web"]["expose"] == [str(planned.port)]


@pytest.mark.parametrize(
    "repository",
    [name for name in PLANS if name.startswith(("python-f", "python-d", "node-e", "node-next", "go", "java", "ruby"))],
)
def test_packages_are_installed_before_the_sources_are_copied(repository: str) -> None:
    lines = (plan(trees.tree_of(repository)).dockerfile or "").splitlines()

    sources = next(index for index, line in enumerate(lines) if line.startswith("COPY") and '["."' in line)
    assert any(
        line.startswith("RUN") and re.search("install|npm ci|download|go-offline|dependencies|sync", line)
        for line in lines[:sources]
    )


def test_a_plan_is_json_and_comes_back_the_same() -> None:
    planned = plan(trees.tree_of("python-flask-pip"))

    assert BuildPlan.model_validate_json(planned.model_dump_json()) == planned


def test_a_folder_of_a_repository_is_planned_as_if_it_were_the_root() -> None:
    planned = plan(trees.tree_of("unclear-monorepo"), path="backend")

    assert planned.stack == "go"
    assert planned.dockerfile_path == DOCKERFILE


@pytest.mark.parametrize("path", ["nowhere", "back", "../etc", "backend/main.go"])
def test_a_folder_that_is_not_there_is_said(path: str) -> None:
    with pytest.raises(CannotPlan, match=f"there is no file in {re.escape(path)}"):
        plan(trees.tree_of("unclear-monorepo"), path=path)


def test_an_empty_repository_is_said() -> None:
    with pytest.raises(CannotPlan, match="the repository is empty"):
        plan(Tree())


def test_a_compose_file_that_is_no_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(ValidationFailed, match="line 1, column"):
        plan(tree(compose_dot_yaml="services: [}"))


def test_what_is_given_is_not_looked_for() -> None:
    told = Given(port=9001, health_path="/well", start=("python", "shop.py", "--quiet now"))

    planned = plan(trees.tree_of("python-flask-pip"), given=told)

    assert (planned.port, planned.health_path) == (9001, "/well")
    assert 'CMD ["python", "shop.py", "--quiet now"]' in (planned.dockerfile or "")
    assert planned.start_command == "python shop.py '--quiet now'"
    assert planned.assumed == ()


@pytest.mark.parametrize(
    "repository", ["python-flask-pip", "python-fastapi-uv", "node-next-pnpm", "ruby-sinatra", "static-root"]
)
def test_a_given_port_is_the_one_that_the_start_command_listens_on(repository: str) -> None:
    planned = plan(trees.tree_of(repository), given=Given(port=9001))

    assert "EXPOSE 9001" in (planned.dockerfile or "")
    assert "9001" in (planned.start_command or "") or ":9001 {" in (planned.dockerfile or "")


# What a repository's author may write


HOSTILE = [
    'x"]\nUSER root\nRUN ["id',
    "x\r\nFROM scratch",
    "x\\",
    "$(id)",
    "`id`",
    "x'\"",
    "ünï",
    "a\u2028b",
    "x\x0bUSER root",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_start_script_never_becomes_an_instruction(text: str) -> None:
    planned = plan(tree(package_dot_json=package(scripts={"start": text}), server_dot_js=""))

    assert _instructions(planned) == _instructions(plan(tree(package_dot_json=package(scripts={"start": "node x"}))))
    assert json.loads((planned.dockerfile or "").split("CMD ")[-1])


@pytest.mark.parametrize("text", HOSTILE)
def test_no_field_of_a_manifest_becomes_an_instruction(text: str) -> None:
    said = {"name": text, "main": text, "packageManager": f"pnpm@{text}", "engines": {"node": text}}
    planned = plan(tree(package_dot_json=package(**said), server_dot_js="", _dot_nvmrc=text))

    assert {line.split(maxsplit=1)[0] for line in _lines(planned)} <= {
        "FROM",
        "ENV",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "EXPOSE",
        "CMD",
    }
    assert "USER root" not in "\n".join(line for line in _lines(planned) if line.startswith("USER"))
    assert re.fullmatch(r"node:\d+-slim", planned.base_images[0])


@pytest.mark.parametrize("name", ["$HOME", "a*", 'x"]', "x y", "[a]"])
def test_no_name_of_a_file_becomes_part_of_an_instruction(name: str) -> None:
    requirements = f"-r {name}/more.txt\nflask\n"
    files = {"requirements.txt": requirements, f"{name}/more.txt": "gunicorn\n", "app.py": "app = Flask(__name__)\n"}

    planned = plan(Tree(files=tuple(sorted(files)), texts=files))

    copies = [line for line in _lines(planned) if line.startswith("COPY")]
    assert all(json.loads(line[line.index("[") :]) for line in copies)
    assert not any("$HOME" in line for line in copies)


@pytest.mark.parametrize(
    "texts",
    [
        {"package.json": "[" * 100_000},
        {"package.json": "null"},
        {"package.json": '{"scripts": [], "dependencies": 3, "engines": "x", "main": {}}'},
        {"pyproject.toml": "a = " + "[" * 10_000},
        {"pyproject.toml": '[project]\ndependencies = "flask"\n[tool]\npoetry = 3\n'},
        {"Pipfile": "\x00"},
        {"Cargo.toml": "package = 3\nbin = 3\n"},
        {"composer.json": "[]"},
        {"pom.xml": "<!DOCTYPE x [<!ENTITY a 'aaaa'>]>"},
        {"go.mod": "go 1.999999999999"},
        {"requirements.txt": "-r requirements.txt\n-r ../../etc/passwd\n"},
        {"Dockerfile": "FROM\\\n"},
        {"Dockerfile": "EXPOSE 99999999999999999999 8080/udp"},
        {"compose.yaml": "services: {web: {ports: [{target: []}, null, 1e9]}}"},
    ],
)
def test_a_damaged_file_is_a_plan_or_one_clear_error(texts: dict[str, str]) -> None:
    try:
        planned = plan(Tree(files=tuple(sorted(texts)), texts=texts))
    except (CannotPlan, ValidationFailed) as error:
        said: object = error.message
    else:
        said = planned.reasons

    assert said


@pytest.mark.parametrize("size", [40_000])
def test_a_long_text_takes_no_long_time(size: int) -> None:
    texts = {
        "requirements.txt": "flask " * (size // 6),
        "Procfile": "web: " + "a " * (size // 2),
        "app.py": "port = " + " " * size + "app" + "=" * size,
        "wsgi.py": '"/' + "a" * size + "\n" + "def create_app(" * 2000,
        "Gemfile": "gem " * (size // 4),
    }

    planned = plan(Tree(files=tuple(sorted(texts)), texts=texts))

    assert planned.stack == "python/script/pip"


# Rules that have a reason of their own


def test_an_environment_file_is_never_asked_for() -> None:
    assert not [pattern for pattern in WANTED if pattern.startswith(".env") or pattern in ("*", ".*")]


def test_a_database_that_is_called_is_not_where_the_program_listens() -> None:
    planned = plan(tree(package_dot_json="{}", server_dot_js="connect({ port: 5432 }); app.listen(4000);"))

    assert planned.port == 4000


def test_a_program_that_listens_within_its_container_alone_is_warned_of() -> None:
    planned = plan(trees.tree_of("python-worker-loopback"))

    assert "main.py seems to listen on 127.0.0.1 only" in planned.warnings[0]


def test_a_shell_runs_only_what_needs_one() -> None:
    plain = plan(tree(package_dot_json=package(scripts={"start": "node --enable-source-maps web.js"})))
    variable = plan(tree(package_dot_json=package(scripts={"start": "node web.js --port $PORT"})))
    several = plan(tree(package_dot_json=package(scripts={"start": "node migrate.js && node web.js"})))

    assert 'CMD ["node", "--enable-source-maps", "web.js"]' in (plain.dockerfile or "")
    assert 'CMD ["sh", "-c", "exec node web.js --port $PORT"]' in (variable.dockerfile or "")
    assert 'CMD ["sh", "-c", "node migrate.js && node web.js"]' in (several.dockerfile or "")


def test_a_program_started_by_a_development_package_keeps_it() -> None:
    said = package(scripts={"start": "tsx server.ts"}, devDependencies={"tsx": "4"})

    planned = plan(tree(package_dot_json=said))

    assert "--omit=dev" not in (planned.dockerfile or "")


def test_packages_that_lie_in_the_repository_are_installed_with_its_sources() -> None:
    planned = plan(tree(requirements_dot_txt="-e .\nflask\n", app_dot_py="app = Flask(__name__)"))

    lines = _lines(planned)
    assert lines.index('RUN ["pip", "install", "-r", "requirements.txt"]') > next(
        index for index, line in enumerate(lines) if line.startswith("COPY") and '["."' in line
    )


def test_a_repository_with_its_own_dockerignore_keeps_it() -> None:
    assert plan(trees.tree_of("dockerfile-buildkit")).dockerignore is None
    assert ".git\n" in (plan(trees.tree_of("static-root")).dockerignore or "")


@pytest.mark.parametrize(
    ("asked", "image"),
    [
        (">=3.9", "python:3.13-slim"),
        (">=3.9,<3.12", "python:3.11-slim"),
        ("^3.10", "python:3.13-slim"),
        ("~3.10", "python:3.10-slim"),
        ("==3.12.*", "python:3.12-slim"),
        ("~=3.11", "python:3.13-slim"),
        (">3.11.2", "python:3.13-slim"),
        ("nonsense", "python:3.13-slim"),
        (">=4", "python:3.13-slim"),
    ],
)
def test_the_image_fits_the_python_that_is_asked_for(asked: str, image: str) -> None:
    project = f'[project]\ndependencies = ["flask"]\nrequires-python = "{asked}"\n'

    assert plan(tree(pyproject_dot_toml=project, app_dot_py="app = Flask(__name__)")).base_images == (image,)


@pytest.mark.parametrize(
    ("asked", "major"),
    [(">=18", 24), ("18.x || 20.x", 20), ("^22.1.0", 22), (">=18 <21", 20), ("20", 20), ("*", 24), ("lts/*", 24)],
)
def test_the_image_fits_the_node_that_is_asked_for(asked: str, major: int) -> None:
    planned = plan(tree(package_dot_json=package(engines={"node": asked}), server_dot_js=""))

    assert planned.base_images == (f"node:{major}-slim",)


def _lines(planned: BuildPlan) -> list[str]:
    return [line for line in (planned.dockerfile or "").split("\n") if line]


def _instructions(planned: BuildPlan) -> list[str]:
    return [line.split(maxsplit=1)[0] for line in _lines(planned)]


_NAMES = sorted({Path(name).name for repository in trees.names() for name in trees.tree_of(repository).files})
_WORDS = st.sampled_from(
    [
        "\n",
        "\r",
        '"',
        "'",
        "\\",
        "$PORT",
        "`",
        "[",
        "]",
        "{",
        "}",
        "=",
        ":",
        "#",
        "flask",
        "web: ",
        "FROM x",
        "USER root",
    ]
)
_TEXT = st.lists(st.one_of(_WORDS, st.text(max_size=8)), max_size=30).map("".join)
_OURS = st.sampled_from([text for name in trees.names() for text in trees.tree_of(name).texts.values()])
_DAMAGED = st.tuples(_OURS, _TEXT, st.integers(0, 400)).map(
    lambda told: told[0][: told[2]] + told[1] + told[0][told[2] :]
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(_NAMES), st.one_of(_DAMAGED, _OURS, _TEXT), min_size=1, max_size=6))
def test_whatever_a_repository_holds_there_is_a_plan_or_one_clear_error(texts: dict[str, str]) -> None:
    try:
        planned = plan(Tree(files=tuple(sorted(texts)), texts=texts))
    except (CannotPlan, ValidationFailed):
        return

    known = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "CMD"}
    if planned.dockerfile:
        assert set(_instructions(planned)) <= known
        assert "\r" not in planned.dockerfile
        assert [line for line in _lines(planned) if line.startswith("USER")] in (["USER 10001:10001"], ["USER 33:33"])
