"""The live log page in front of the API, as CloudFront has it from S3: files, with headers that hold them down."""

from pathlib import Path

from infra.local.front import Answering
from infra.local.gateway import Request, Response

PAGE = Path(__file__).resolve().parents[1] / "page"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The page says most of this itself, for wherever it is served without headers; a header alone can forbid framing.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_HEADERS = (
    ("Cache-Control", "no-cache"),
    ("Content-Security-Policy", _POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)


class Site:
    """Answers `/` and the page's own files, and hands on everything else."""

    def __init__(self, gateway: Answering) -> None:
        self._gateway = gateway
        self._files = {f"/{path.name}": path for path in PAGE.iterdir() if path.suffix in _TYPES}
        self._files["/"] = PAGE / "index.html"

    def answer(self, request: Request) -> Response:
        file = self._files.get(request.path) if request.method in {"GET", "HEAD"} else None
        if file is None:
            return self._gateway.answer(request)
        return Response(200, (("Content-Type", _TYPES[file.suffix]), *_HEADERS), file.read_bytes())
