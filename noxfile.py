"""The project's commands: `nox` runs the checks, `nox -l` lists all, `nox -s NAME` runs one."""

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["tests", "lint", "types", "docs"]
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = False

PROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str) -> None:
    """Install the project as developers use it, with the dependencies of some groups."""
    session.install("-e", ".", *nox.project.dependency_groups(PROJECT, *groups))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite on all cores; arguments go to pytest: nox -s tests -- -k maildir."""
    install(session, "test")
    session.run("pytest", "-q", "-n", "auto", "-m", "not live", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style (ruff) and who may import whom (import-linter)."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types strictly (mypy)."""
    install(session, "types", "test")
    session.run("mypy", "harakapy", "tests", "docs", "noxfile.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Check that the generated pages of docs/ are up to date; nox -s docs -- --write writes them."""
    install(session)
    arguments = [] if "--write" in session.posargs else ["--check"]
    session.run("python", "docs/generate.py", *arguments)


@nox.session
def live(session: nox.Session) -> None:
    """Talk to real peers, clients and scanners, as far as they are there; tells what it skipped and why."""
    install(session, "test")
    session.install("aiosmtpd", "pytest-mock", "setuptools<80", "sslyze", success_codes=[0, 1])
    session.run("pytest", "-q", "-rs", "-m", "live", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz the parsers for a minute, or as long as told: nox -s fuzz -- SECONDS; keeps what it finds."""
    install(session, "test")
    session.install("atheris", success_codes=[0, 1])  # there is none for every platform; Hypothesis then
    session.run("python", "-m", "tests.fuzz.run", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed and memory beside other servers, see docs/benchmark.md: nox -s bench -- --quick."""
    install(session, "test")
    session.install("aiosmtpd")  # a peer; the others come from elsewhere, if they are there
    session.run("python", "-m", "tests.benchmarks.run", *session.posargs)
