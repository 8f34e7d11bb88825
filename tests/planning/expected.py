"""What the rules plan for each fixture repository: one row each."""

from typing import NamedTuple


class Expected(NamedTuple):
    stack: str
    port: int
    health_path: str | None
    start: str | None
    images: tuple[str, ...]
    assumed: tuple[str, ...] = ()


_CADDY = "caddy run --config /etc/caddy/site --adapter caddyfile"
_GUNICORN = "gunicorn --bind 0.0.0.0:8000 --workers 2 --worker-tmp-dir /dev/shm "
_JAR = "java -jar /app/app.jar"
_HEALTH = ("health_path",)

PLANS = {
    "compose-built": Expected("compose", 8082, None, None, ("redis:7",)),
    "compose-images": Expected("compose", 3000, None, None, ("requarks/wiki:2",)),
    "dockerfile-buildkit": Expected("dockerfile", 8080, "/healthz", "python app.py", ("python:3.11-slim",), ("port",)),
    "dockerfile-busybox": Expected("dockerfile", 8081, None, "httpd -f -p 8081 -h /www", ("busybox:1",), _HEALTH),
    "go-cmd": Expected("go", 9000, None, "/app/app", ("golang:1.26-bookworm", "debian:bookworm-slim"), _HEALTH),
    "go-root": Expected("go", 8080, None, "/app/app", ("golang:1.25-alpine", "alpine:3"), _HEALTH),
    "java-gradle-spring": Expected(
        "java/spring/gradle", 8080, None, _JAR, ("gradle:8-jdk21", "eclipse-temurin:21-jre"), _HEALTH
    ),
    "java-maven-spring": Expected(
        "java/spring/maven", 8080, "/actuator/health", _JAR, ("maven:3-eclipse-temurin-17", "eclipse-temurin:17-jre")
    ),
    "node-built": Expected(
        "node/program/npm", 3000, None, "PORT=${PORT:-3000} node dist/server.js", ("node:20-slim",), _HEALTH
    ),
    "node-express-npm": Expected("node/express/npm", 3000, "/healthz", "node index.js", ("node:24-slim",)),
    "node-express-yarn": Expected("node/express/yarn", 4100, None, "node index.js", ("node:24-slim",), _HEALTH),
    "node-http-npm": Expected("node/program/npm", 3000, None, "node server.js", ("node:20-slim",), _HEALTH),
    "node-main": Expected("node/program/npm", 3000, None, "node web.js", ("node:20-slim",), ("port", "health_path")),
    "node-nest-npm": Expected("node/nest/npm", 3000, None, "node dist/main", ("node:24-slim",), _HEALTH),
    "node-next-export": Expected("node/next/npm", 8080, "/", _CADDY, ("node:24-slim", "caddy:2")),
    "node-next-pnpm": Expected(
        "node/next/pnpm", 3000, None, "next start -H 0.0.0.0 -p 3000", ("node:24-slim",), _HEALTH
    ),
    "node-prisma": Expected("node/express/npm", 3000, None, "node index.js", ("node:24-slim",), _HEALTH),
    "node-vite-npm": Expected("node/vite/npm", 8080, "/", _CADDY, ("node:24-slim", "caddy:2")),
    "node-vite-yarn-berry": Expected("node/vite/yarn", 8080, "/", _CADDY, ("node:24-slim", "caddy:2")),
    "php-laravel": Expected(
        "php/laravel/composer", 8080, None, "apache2-foreground", ("php:8.4-apache", "composer:2"), _HEALTH
    ),
    "php-plain": Expected("php/apache", 8080, None, "apache2-foreground", ("php:8.4-apache",), _HEALTH),
    "python-and-node": Expected("node/program/npm", 3000, None, "node server.js", ("node:24-slim",), _HEALTH),
    "python-django-pipenv": Expected(
        "python/django/pipenv", 8000, None, _GUNICORN + "shop.wsgi:application", ("python:3.12-slim",), _HEALTH
    ),
    "python-django-poetry": Expected(
        "python/django/poetry", 8000, None, _GUNICORN + "shop.wsgi:application", ("python:3.13-slim",), _HEALTH
    ),
    "python-django-requirements-folder": Expected(
        "python/django/pip", 8000, None, _GUNICORN + "shop.wsgi:application", ("python:3.13-slim",), _HEALTH
    ),
    "python-fastapi-src": Expected(
        "python/fastapi/pip",
        8000,
        "/health",
        "uvicorn shop.main:app --host 0.0.0.0 --port 8000 --proxy-headers",
        ("python:3.13-slim",),
    ),
    "python-fastapi-uv": Expected(
        "python/fastapi/uv",
        8000,
        "/health",
        "uvicorn main:app --host 0.0.0.0 --port 8000 --proxy-headers",
        ("python:3.13-slim",),
    ),
    "python-flask-factory": Expected(
        "python/flask/pip", 8000, None, _GUNICORN + "'shop:create_app()'", ("python:3.13-slim",), _HEALTH
    ),
    "python-flask-pip": Expected("python/flask/pip", 8000, "/healthz", _GUNICORN + "app:app", ("python:3.13-slim",)),
    "python-http-server": Expected(
        "python/script/pip", 8000, None, "python -m http.server $PORT --directory pages", ("python:3.11-slim",), _HEALTH
    ),
    "python-procfile": Expected(
        "python/script/pip", 8000, None, "python serve/main.py", ("python:3.11-slim",), _HEALTH
    ),
    "python-pyproject-flask": Expected(
        "python/flask/pip", 8000, None, _GUNICORN + "wsgi:application", ("python:3.12-slim",), _HEALTH
    ),
    "python-script-environment": Expected(
        "python/script/pip", 8000, None, "python app.py", ("python:3.11-slim",), ("start_command", "health_path")
    ),
    "python-script-port": Expected(
        "python/script/pip", 8123, None, "python main.py", ("python:3.11-slim",), ("start_command", "health_path")
    ),
    "python-worker-loopback": Expected(
        "python/script/pip", 8000, None, "python main.py", ("python:3.11-slim",), ("start_command", "health_path")
    ),
    "ruby-rails": Expected(
        "ruby/rails", 3000, "/up", "bundle exec rails server -b 0.0.0.0 -p 3000", ("ruby:3.3-slim",)
    ),
    "ruby-sinatra": Expected(
        "ruby/sinatra", 3000, None, "bundle exec puma -b tcp://0.0.0.0:3000", ("ruby:3.2-slim",), _HEALTH
    ),
    "rust-axum": Expected("rust/axum", 3000, None, "/app/app", ("rust:1-bookworm", "debian:bookworm-slim"), _HEALTH),
    "rust-two-binaries": Expected(
        "rust/program", 8080, None, "/app/app", ("rust:1-bookworm", "debian:bookworm-slim"), ("port", "health_path")
    ),
    "static-public": Expected("static/html", 8080, "/", _CADDY, ("caddy:2",)),
    "static-root": Expected("static/html", 8080, "/", _CADDY, ("caddy:2",)),
}

# Repositories that nobody could plan by rules, and a word of what is said of each.
UNPLANNED = {
    "unclear-library": "this is python, but nothing says how it is started",
    "unclear-monorepo": "deploy the folder backend by git_path",
    "unclear-words": "nothing says how this is run",
}
