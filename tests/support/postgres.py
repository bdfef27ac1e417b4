"""Run a command beside a real PostgreSQL of its own: ``python -m tests.support.postgres [--durable] COMMAND …``.

The server lives in a temporary folder, listens on loopback, and ends with the command. It refuses to run as root, so
root starts it as the account ``postgres``. It does not wait for the disk, unless it is to be ``--durable``.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.valkey import free_port
from tests.support.waiting import wait_for


def main(command: list[str]) -> int:
    durable = command[:1] == ["--durable"]
    command = command[durable:]
    binaries = _binaries()
    if binaries is None:
        print(
            "PostgreSQL's server is not installed (pg_config --bindir has no initdb): its run is left out.",
            file=sys.stderr,
        )
        return 3 if os.environ.get("CI") else 0
    folder = Path(tempfile.mkdtemp(prefix="poolwarden-postgres-"))
    account = "postgres" if os.getuid() == 0 else None
    if account:
        entry = pwd.getpwnam(account)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    data, port = folder / "data", free_port()
    options = {"user": account, "group": account} if account else {}
    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "poolwarden", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/", **options)
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    settings |= {"fsync": "on" if durable else "off", "lock_timeout": "100s"}  # a test that waits longer hangs
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), *flags], stdout=log, stderr=log, cwd="/", **options
        )
    try:
        ready = [str(binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        wait_for(lambda: subprocess.run(ready, stdout=subprocess.DEVNULL).returncode == 0, timeout=30)
        url = f"postgresql://poolwarden@127.0.0.1:{port}/postgres"
        return subprocess.run(command, env=os.environ | {"POOLWARDEN_DATABASE_URL": url}).returncode
    finally:
        server.send_signal(signal.SIGINT)  # whoever is still connected is sent away
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    config = shutil.which("pg_config")
    if config is None:
        return None
    folder = Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
    return folder if (folder / "initdb").exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
