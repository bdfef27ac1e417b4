"""``manage.py up [--demo] [--host] [--port]``: the whole system on this machine, in one command."""

import fcntl
import ipaddress
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from controlplane.demo import DEMO_ACCOUNTS, DEMO_PASSWORD
from controlplane.one_machine.embedded_broker import embedded_broker
from controlplane.one_machine.processes import Child, Family

PYTHON = sys.executable


# How long each part may take to start: the first time all byte code is made, and the machine may have other work.
START_SECONDS = 120


class Command(BaseCommand):
    help = "Run broker, console, controller, console jobs, agent and (with --demo) a sample workload on this machine."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="demo accounts and a sample workload; loopback only")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=os.environ.get("PORT") or 8000)

    def handle(self, *args: Any, **options: Any) -> None:
        host, port, demo = options["host"], options["port"], options["demo"]
        loopback = _is_loopback(host)
        if demo and not loopback:
            raise CommandError(f"--host: --demo has published passwords and refuses {host}; use 127.0.0.1")
        _check_port(host, port)
        home = Path(settings.POOLWARDEN_HOME)
        lock = _lock(home)
        try:
            self._run(home, host, port, demo=demo, loopback=loopback)
        finally:
            lock.close()

    def _run(self, home: Path, host: str, port: int, *, demo: bool, loopback: bool) -> None:
        logs = home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        environ = _environ(home, demo=demo, loopback=loopback)
        family = Family(say=self._say)
        family.adopt_orphans()
        family.listen()
        try:
            self._start_broker(family, environ, home, logs)
            self._prepare(environ, demo=demo)
            url = f"http://{host}:{port}/"
            self._start_rest(family, environ, home, logs, host, port, demo=demo)
            path = "sign-in/" if environ["POOLWARDEN_HTTPS"] == "0" else "healthz"
            ready = family.wait_until(lambda: _answers(f"http://{_reach(host)}:{port}/{path}"), seconds=START_SECONDS)
            if not ready and not family.stopping:
                raise CommandError(
                    f"the console did not answer within {START_SECONDS} s; its log is {logs / 'web.log'}"
                )
            if ready:
                self._greet(url, demo=demo)
            family.wait_until(lambda: False, seconds=float("inf"))
        finally:
            clean = family.end()
            self._say("stopped" if clean else "stopped; what did not end in time was killed")

    def _start_broker(self, family: Family, environ: dict[str, str], home: Path, logs: Path) -> None:
        if environ.get("POOLWARDEN_REDIS_URL") or environ.get("POOLWARDEN_REDIS_URL_FILE"):
            environ["POOLWARDEN_REDIS_URL"] = settings.POOLWARDEN_BROKERS["default"]["url"]
            environ.pop("POOLWARDEN_REDIS_URL_FILE", None)
            return
        broker = embedded_broker(home)
        environ["POOLWARDEN_REDIS_URL"] = broker.url
        child = family.add(Child("valkey", broker.command, environ, logs / "valkey.log", stage=0))
        if not family.wait_until(broker.answers, seconds=START_SECONDS) and not family.stopping:
            raise CommandError(f"the embedded Valkey did not answer within {START_SECONDS} s: {child.tail()}")

    def _prepare(self, environ: dict[str, str], *, demo: bool) -> None:
        command = [PYTHON, "manage.py", "prepare", *(["--demo"] if demo else [])]
        done = subprocess.run(command, env=environ, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandError((done.stderr or done.stdout).strip().splitlines()[-1])

    def _start_rest(
        self, family: Family, environ: dict[str, str], home: Path, logs: Path, host: str, port: int, *, demo: bool
    ) -> None:
        manage, base = [PYTHON, str(settings.BASE_DIR / "manage.py")], Path(settings.BASE_DIR)
        environ = environ | {"PYTHONPATH": str(base)}

        def start(name: str, command: list[str], stage: int) -> None:
            family.add(Child(name, command, environ, logs / f"{name}.log", stage))

        start("controller", [*manage, "controller"], 1)
        web = ["--interface", "wsgi", "--host", host, "--port", str(port), "--workers", "1", "--blocking-threads", "4"]
        start("web", [PYTHON, "-m", "granian", *web, "--no-ws", "controlplane.wsgi:application"], 2)
        start(
            "console-jobs",
            [*manage, "rqworker", "console", "--worker-ttl", "30", "--name", f"console-{os.getpid()}"],
            2,
        )
        root = home / "trust-root.json"
        if not family.wait_until(root.exists, seconds=START_SECONDS) and not family.stopping:
            raise CommandError(f"the controller made no trust root; its log is {logs / 'controller.log'}")
        agent = ["--trust-root", str(root), "--state", str(home / "agent"), "--name", "local", "--label", "host=local"]
        agent += ["--env", environ["POOLWARDEN_ENV"], "--stop-timeout", "4"]
        agent += [part for prefix in settings.POOLWARDEN_SECRET_PREFIXES for part in ("--secret-prefix", prefix)]
        start("agent", [PYTHON, "-m", "pools.runtime.agent", *agent], 2)
        if demo:
            start("producer", [PYTHON, str(base / "deploy" / "demo" / "produce.py")], 3)

    def _greet(self, url: str, *, demo: bool) -> None:
        self._say(f"ready: {url}")
        if demo:
            self._say("\n  account    password         may")
            for name, may in DEMO_ACCOUNTS.items():
                self._say(f"  {name:<10} {DEMO_PASSWORD}  {may}")
            self._say("\n  Ctrl-C ends everything.")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _environ(home: Path, *, demo: bool, loopback: bool) -> dict[str, str]:
    """What the children inherit. Byte code goes under the home folder, like everything else that is written."""
    environ = dict(os.environ) | {
        "POOLWARDEN_HOME": str(home),
        "PYTHONPYCACHEPREFIX": str(home / "pycache"),
        "PYTHONUNBUFFERED": "1",
    }
    environ.setdefault("POOLWARDEN_HTTPS", "0" if loopback else "1")
    if demo:
        environ["POOLWARDEN_DEMO"] = "1"
        environ.setdefault("POOLWARDEN_ENV", "demo")
        environ.setdefault("STDLIB_DEMO_OUT", str(home / "demo-output"))
    environ.setdefault("POOLWARDEN_ENV", settings.POOLWARDEN_ENV)
    return environ


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _reach(host: str) -> str:
    return "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104


def _check_port(host: str, port: int) -> None:
    """Say what is wrong with the port before anything is started."""
    if not 1 <= port <= 65535:
        raise CommandError(f"--port: {port} is not a port number (1 to 65535)")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except PermissionError as error:
            raise CommandError(f"--port: {port} needs root rights; choose one from 1024 up, such as 8000") from error
        except socket.gaierror as error:
            raise CommandError(f"--host: {host} is not an address of this machine") from error
        except OSError as error:
            raise CommandError(f"--port: cannot listen on {host}:{port}: {error.strerror}") from error


def _lock(home: Path) -> IO[str]:
    home.mkdir(parents=True, exist_ok=True)
    lock = (home / "up.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CommandError(f"POOLWARDEN_HOME: another `up` already runs in {home}") from error
    return lock


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own loopback address
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
