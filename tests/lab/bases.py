"""Base images that generated Dockerfiles begin from, as far as this machine has the programs to stand in for them.

Under the names of Docker Hub's: a Dockerfile is then built here as it is anywhere, with this machine's pip and npm.
What has packages to download cannot be built, as a lab host reaches no registry of them.
"""

from dataclasses import replace

from infra.local import images

_PIP = "#!/usr/bin/python3\nimport sys\n\nfrom pip._internal.cli.main import main\n\nsys.exit(main())\n"
_NPM = '#!/bin/sh\nexec node /usr/lib/node_modules/npm/bin/npm-cli.js "$@"\n'
# Debian's mark that pip is to leave its Python alone; Docker's images have none.
_NOT_IN_AN_IMAGE = ("EXTERNALLY-MANAGED",)

PYTHON = replace(
    images.PYTHON,
    files=(("usr/bin/python", '#!/bin/sh\nexec python3 "$@"\n', 0o755), ("usr/bin/pip", _PIP, 0o755)),
    folders=(
        *((folder, (*left_out, *_NOT_IN_AN_IMAGE)) for folder, left_out in images.PYTHON.folders),
        ("/usr/lib/python3/dist-packages/pip", ("__pycache__",)),
    ),
)
NODE = images.Recipe(
    "node:20-slim",
    changes=('CMD ["node"]',),
    programs=("/usr/bin/node",),
    files=(("usr/bin/npm", _NPM, 0o755),),
    folders=(("/usr/lib/node_modules/npm", ("docs", "man")),),
)
CADDY = replace(images.EDGE, reference="caddy:2")
ALL = (images.BUSYBOX, PYTHON, NODE, CADDY)
