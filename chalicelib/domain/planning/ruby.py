"""Ruby: Rails, Sinatra, or anything that a config.ru starts."""

import re
import shlex

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.found import Found, Unclear, Usual, running
from chalicelib.domain.planning.start import NOTHING, Start, worded
from chalicelib.domain.planning.tree import Tree
from chalicelib.domain.planning.versions import Version, first_number

_PORT = 3000
_KNOWN: tuple[Version, ...] = ((3, 1), (3, 2), (3, 3), (3, 4))
_DEFAULT: Version = (3, 4)
_GEM = re.compile(r"^\s*gem\s*\(?\s*[\"']([\w.-]+)[\"']", re.MULTILINE | re.ASCII)
_ASKED = re.compile(r"^\s*ruby\s*\(?\s*[\"']\D{0,4}(\d+\.\d+)", re.MULTILINE | re.ASCII)
_COMPILERS = (
    "apt-get update && apt-get install -y --no-install-recommends build-essential git libpq-dev libyaml-dev pkg-config "
    "&& rm -rf /var/lib/apt/lists/*"
)
_LIBRARIES = "apt-get update && apt-get install -y --no-install-recommends libpq5 && rm -rf /var/lib/apt/lists/*"


def found(tree: Tree, given: Given) -> Found | Unclear | None:
    if not tree.has("Gemfile"):
        return None
    gems = frozenset(_GEM.findall(tree.text("Gemfile")))
    framework = next((name for name in ("rails", "sinatra") if name in gems), "rack" if tree.has("config.ru") else None)
    if framework is None and not tree.has("Procfile"):
        # a Gemfile alone is as often a tool's: of a documentation, of an app for telephones
        return Unclear("ruby", "a Gemfile that names rails or sinatra, config.ru, or a Procfile")
    start = _start(tree, framework, gems, given.port or _PORT)
    named = (
        f"Gemfile names {framework}"
        if framework in gems
        else "config.ru starts the app"
        if framework
        else "there is a Gemfile"
    )
    runs = running(
        tree,
        given,
        Usual(
            start, _PORT, suffixes=(".rb", ".ru"), with_procfile=True, fixed_port=bool(start.words), reasons=(named,)
        ),
    )
    if not runs.start.words:
        return Unclear("ruby", "config.ru, app.rb, or a Procfile")
    image, why = _image(tree)
    text = write.dockerfile(
        write.base(image, "build"),
        write.shell(_COMPILERS),
        write.workdir("/app"),
        write.env(BUNDLE_WITHOUT="development:test", BUNDLE_JOBS=2),
        write.copy(["Gemfile", *tree.present("Gemfile.lock", ".ruby-version")]),
        write.shell("bundle install"),
        "",
        write.base(image),
        write.shell(_LIBRARIES),
        *write.own_app_folder(),
        write.env(BUNDLE_WITHOUT="development:test", RACK_ENV="production", RAILS_ENV="production"),
        write.env(RAILS_LOG_TO_STDOUT=1, RAILS_SERVE_STATIC_FILES=1),
        write.copy(["/usr/local/bundle"], "/usr/local/bundle", stage="build"),
        write.copy(["."], owner=write.USER),
        *(_prepared(given, framework, gems)),
        write.env(PORT=runs.port, HOME="/tmp"),
        *write.ending(runs.port, runs.start.words),
    )
    health, health_reasons = _health(tree, runs.health_path)
    return Found(
        stack=f"ruby/{framework or 'program'}",
        dockerfile=text,
        port=runs.port,
        start=runs.start.text,
        build=shlex.join(given.build) or "bundle install",
        base_images=(image,),
        reasons=(*runs.reasons, *health_reasons, why),
        health_path=health,
        warnings=(*runs.warnings, *(("SECRET_KEY_BASE must be among the variables",) if framework == "rails" else ())),
        assumed=tuple(name for name in runs.assumed if name != "health_path" or health is None),
    )


def _start(tree: Tree, framework: str | None, gems: frozenset[str], port: int) -> Start:
    if framework == "rails":
        return worded("bundle", "exec", "rails", "server", "-b", "0.0.0.0", "-p", str(port))
    if tree.has("config.ru") and "puma" in gems:
        return worded("bundle", "exec", "puma", "-b", f"tcp://0.0.0.0:{port}")
    if tree.has("config.ru"):
        return worded("bundle", "exec", "rackup", "-o", "0.0.0.0", "-p", str(port))
    if tree.has("app.rb"):
        return worded("bundle", "exec", "ruby", "app.rb", "-o", "0.0.0.0", "-p", str(port))
    return NOTHING


def _prepared(given: Given, framework: str | None, gems: frozenset[str]) -> list[str]:
    if given.build:
        return [write.run(given.build)]
    if framework == "rails" and gems & {"sprockets-rails", "propshaft"}:
        # the dummy is Rails' own word for a key that is needed to start and used for nothing
        folders = "mkdir -p tmp log public/assets storage"
        return [
            write.shell(
                f"{folders} && SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile "
                f"&& chown -R {write.USER} tmp log storage"
            )
        ]
    return []


def _health(tree: Tree, seen: str | None) -> tuple[str | None, tuple[str, ...]]:
    if seen is None and "rails/health#show" in tree.text("config/routes.rb"):
        return "/up", ("config/routes.rb answers /up",)
    return seen, ()


def _image(tree: Tree) -> tuple[str, str]:
    asked = _ASKED.search(tree.text("Gemfile"))
    for name, text in (("Gemfile", asked[1] if asked else ""), (".ruby-version", tree.text(".ruby-version"))):
        version = first_number([text])
        if version in _KNOWN:
            return f"ruby:3.{version[1]}-slim", f"{name} asks for Ruby 3.{version[1]}"
    return f"ruby:3.{_DEFAULT[1]}-slim", f"no version of Ruby is asked for: 3.{_DEFAULT[1]}"
