"""PHP: an index.php under Apache, with Composer's packages where there are any."""

import json
import shlex
from typing import Any

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.found import Found, Unclear, Usual, running
from chalicelib.domain.planning.start import worded
from chalicelib.domain.planning.tree import Tree
from chalicelib.domain.planning.versions import Version, newest_fitting

_PORT = 8080
_KNOWN: tuple[Version, ...] = ((8, 1), (8, 2), (8, 3), (8, 4))
_DEFAULT: Version = (8, 4)
_ROOTS = ("public", "web", "htdocs", "www")
_SITE = "/etc/apache2/sites-available/000-default.conf"
_APACHE = "33:33"  # www-data, as which Apache's image runs
# Extensions that compile from PHP's own sources without any library beside.
_PLAIN_EXTENSIONS = frozenset({"bcmath", "calendar", "exif", "mysqli", "pcntl", "pdo_mysql", "sockets"})
_WITH_LIBRARIES = {
    "gd": "libpng-dev",
    "intl": "libicu-dev",
    "pdo_pgsql": "libpq-dev",
    "pgsql": "libpq-dev",
    "zip": "libzip-dev",
}


def found(tree: Tree, given: Given) -> Found | Unclear | None:
    root = "" if tree.has("index.php") else next((name for name in _ROOTS if tree.has(f"{name}/index.php")), None)
    if root is None:
        return (
            Unclear("php", "index.php, in the root or in one of " + ", ".join(_ROOTS))
            if tree.has("composer.json")
            else None
        )
    composer = _read(tree.text("composer.json"))
    required = composer.get("require")
    needs = required if isinstance(required, dict) else {}
    framework = "laravel" if tree.has("artisan") and "laravel/framework" in needs else "apache"
    seen = f"{root}/index.php is the page" if root else "index.php is the page"
    reasons = (seen, *(("composer.json names the packages",) if composer else ()))
    runs = running(
        tree, given, Usual(worded("apache2-foreground"), _PORT, suffixes=(".php",), fixed_port=True, reasons=reasons)
    )
    _, minor = newest_fitting(str(needs.get("php", "")), _KNOWN, _DEFAULT)
    image = f"php:8.{minor}-apache"
    text = write.dockerfile(
        write.base(image),
        *_extensions(needs),
        *_configuration(f"/var/www/html/{root}" if root else "/var/www/html", runs.port),
        write.workdir("/var/www/html"),
        *(_packages(tree) if composer else ()),
        write.copy(["."], owner=_APACHE),
        *([write.shell("composer dump-autoload --no-dev --optimize")] if composer else []),
        *([write.run(given.build)] if given.build else []),
        write.env(PORT=runs.port),
        *write.ending(runs.port, runs.start.words, _APACHE),
    )
    warnings = ("APP_KEY must be among the variables",) if framework == "laravel" else ()
    return Found(
        stack=f"php/{framework}" + ("/composer" if composer else ""),
        dockerfile=text,
        port=runs.port,
        start=runs.start.text,
        build=shlex.join(given.build) or ("composer install --no-dev" if composer else None),
        base_images=(image, *(("composer:2",) if composer else ())),
        reasons=runs.reasons,
        health_path=runs.health_path,
        warnings=(*runs.warnings, *warnings),
        assumed=runs.assumed,
    )


def _configuration(root: str, port: int) -> list[str]:
    """A user that is not root may not take port 80; hidden files are nobody's to read."""
    return [
        write.shell(
            f"sed -ri 's!^Listen 80$!Listen {port:d}!' /etc/apache2/ports.conf && "
            f"sed -ri -e 's!:80>!:{port:d}>!' -e 's!/var/www/html!{root}!' {_SITE} && "
            "printf '%s\\n' '<LocationMatch \"/[.](?!well-known/)\">' 'Require all denied' '</LocationMatch>' "
            "'<Directory /var/www/html>' 'AllowOverride All' '</Directory>' >/etc/apache2/conf-enabled/slipway.conf && "
            "a2enmod rewrite"
        )
    ]


def _extensions(needs: dict[str, Any]) -> list[str]:
    asked = sorted(name.removeprefix("ext-").lower().replace("-", "_") for name in needs if name.startswith("ext-"))
    libraries = sorted({_WITH_LIBRARIES[name] for name in asked if name in _WITH_LIBRARIES})
    wanted = [name for name in asked if name in _PLAIN_EXTENSIONS or name in _WITH_LIBRARIES]
    lines = []
    if libraries:
        listed = " ".join(libraries)
        lines.append(
            write.shell(
                f"apt-get update && apt-get install -y --no-install-recommends {listed} && rm -rf /var/lib/apt/lists/*"
            )
        )
    return [*lines, *([write.run(["docker-php-ext-install", *wanted])] if wanted else [])]


def _packages(tree: Tree) -> list[str]:
    return [
        write.shell(
            "apt-get update && apt-get install -y --no-install-recommends unzip && rm -rf /var/lib/apt/lists/*"
        ),
        write.copy(["/usr/bin/composer"], "/usr/bin/composer", stage="composer:2"),
        write.env(COMPOSER_ALLOW_SUPERUSER=1),
        write.copy(["composer.json", *tree.present("composer.lock")]),
        write.shell("composer install --no-dev --no-interaction --no-scripts --no-autoloader --prefer-dist"),
    ]


def _read(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
