"""Outside plain loopback HTTP, cookies carry the __Host- prefix, and HTTP leads to HTTPS."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, django
django.setup()
from django.conf import settings as s
from django.test import Client
plain = Client(HTTP_HOST="localhost").get("/sign-in/")
print(json.dumps([s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE,
                  s.SESSION_COOKIE_HTTPONLY, plain.status_code, plain["Location"]]))
"""


def test_by_default_everything_needs_tls(tmp_path: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("POOLWARDEN_")}
    environ |= {"POOLWARDEN_HOME": str(tmp_path), "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == ["__Host-session", "__Host-csrf", True, True, True, 301, "https://localhost/sign-in/"]
