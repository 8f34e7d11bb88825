"""Java: what Maven or Gradle packages as one jar that runs by itself, as Spring Boot's does."""

import re
import shlex
from dataclasses import dataclass

from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning.build_plan import Given
from chalicelib.domain.planning.found import Found, Unclear, Usual, running
from chalicelib.domain.planning.start import worded
from chalicelib.domain.planning.tree import Tree

_PORT = 8080
_RELEASES = (8, 11, 17, 21, 25)
_DEFAULT = 21
_GRADLE = ("build.gradle", "build.gradle.kts")
_ASKED = re.compile(
    r"<(?:java\.version|maven\.compiler\.(?:release|target|source)|release)>\s*(?:1\.)?(\d+)\s*<"
    r"|JavaLanguageVersion\.of\(\s*(\d+)|(?:source|target)Compatibility\s*=?\s*\(?\s*[\"']?(?:JavaVersion\.VERSION_)?(?:1[._])?(\d+)"
    r"|jvmToolchain\(\s*(\d+)",
    re.ASCII,
)
# The jar that holds everything; beside it lie sources, documentation and the jar without its libraries.
_JAR = (
    "find {folder} -maxdepth 1 -name '*.jar' ! -name '*-plain.jar' ! -name '*-sources.jar' ! -name '*-javadoc.jar' "
    "! -name 'original-*.jar' -exec cp {{}} /app.jar ';' && test -f /app.jar"
)


@dataclass(frozen=True)
class _Tool:
    name: str
    text: str
    image: str
    files: tuple[str, ...]
    packages: str
    build: tuple[str, ...]
    jars: str
    jar_found: str


def found(tree: Tree, given: Given) -> Found | Unclear | None:
    tool = _tool(tree)
    if tool is None:
        return None
    spring = "spring-boot" in tool.text or "org.springframework.boot" in tool.text
    runnable = spring or re.search(r"mainClass|Main-Class|\bapplication\b|shadow|maven-shade-plugin", tool.text)
    if not runnable and not given.start:
        return Unclear("java", f"a jar that runs by itself: {tool.files[0]} names neither Spring Boot nor a main class")
    runs = running(
        tree,
        given,
        Usual(
            worded("java", "-jar", "/app/app.jar"),
            _PORT,
            suffixes=(".java",),
            fixed_port=spring,
            reasons=(f"{tool.files[0]} is {tool.name}'s", *(("it names Spring Boot",) if spring else ())),
        ),
    )
    build = given.build or tool.build
    final = f"eclipse-temurin:{_release(tool.text)}-jre"
    text = write.dockerfile(
        write.base(tool.image, "build"),
        write.workdir("/src"),
        write.copy(tool.files),
        write.shell(tool.packages),
        write.copy(["."]),
        write.run(build),
        write.shell(tool.jar_found),
        "",
        write.base(final),
        *write.own_app_folder(),
        write.copy(["/app.jar"], "/app/app.jar", stage="build"),
        # Half of a container's memory is too little for a heap where nothing else runs, all of it too much.
        write.env(PORT=runs.port, SERVER_PORT=runs.port, HOME="/tmp", JAVA_TOOL_OPTIONS="-XX:MaxRAMPercentage=70"),
        *write.ending(runs.port, runs.start.words),
    )
    actuator = "/actuator/health" if "spring-boot-starter-actuator" in tool.text else None
    health = runs.health_path or actuator
    return Found(
        stack=f"java/{'spring' if spring else 'program'}/{tool.name.lower()}",
        dockerfile=text,
        port=runs.port,
        start=runs.start.text,
        build=shlex.join(build),
        base_images=(tool.image, final),
        reasons=(
            *runs.reasons,
            *(("Spring Boot's actuator answers /actuator/health",) if health and health == actuator else ()),
        ),
        health_path=health,
        warnings=runs.warnings,
        assumed=tuple(name for name in runs.assumed if name != "health_path" or health is None),
    )


def _tool(tree: Tree) -> _Tool | None:
    if tree.has("pom.xml"):
        text = tree.text("pom.xml")
        return _Tool(
            "Maven",
            text,
            f"maven:3-eclipse-temurin-{_release(text)}",
            ("pom.xml",),
            "mvn --batch-mode --quiet dependency:go-offline",
            ("mvn", "--batch-mode", "--quiet", "package", "-DskipTests"),
            "target",
            _JAR.format(folder="target"),
        )
    script = tree.first(*_GRADLE)
    if script is None:
        return None
    text = tree.text(script)
    settings = tree.present("settings.gradle", "settings.gradle.kts", "gradle.properties")
    wrapper = re.search(r"gradle-(\d+)\.", tree.text("gradle/wrapper/gradle-wrapper.properties"))
    version = wrapper[1] if wrapper and wrapper[1] in ("7", "8", "9") else "8"
    task = "bootJar" if "org.springframework.boot" in text else "shadowJar" if "shadow" in text else "jar"
    return _Tool(
        "Gradle",
        text,
        f"gradle:{version}-jdk{_release(text)}",
        (script, *settings),
        "gradle --no-daemon --quiet dependencies",
        ("gradle", "--no-daemon", "--quiet", task),
        "build/libs",
        _JAR.format(folder="build/libs"),
    )


def _release(text: str) -> int:
    """The oldest long-term release that is not older than what is asked for."""
    asked = [int(next(filter(None, match.groups()))) for match in _ASKED.finditer(text)]
    wanted = max(asked, default=_DEFAULT)
    return next((release for release in _RELEASES if release >= wanted), _RELEASES[-1])
