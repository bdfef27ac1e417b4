"""Settings. Every value that differs between installations comes from the environment, through ``env``."""

from pathlib import Path

import dj_database_url
from django.utils.csp import CSP

from controlplane.env import Env, EnvError, local_secret
from controlplane.logs import configure_logging

env = Env()
BASE_DIR = Path(__file__).resolve().parent.parent

POOLWARDEN_HOME = env.folder("POOLWARDEN_HOME", "./var")
POOLWARDEN_ENV = env.text("POOLWARDEN_ENV", "development")
if not POOLWARDEN_ENV.replace("-", "").replace("_", "").isalnum():
    raise EnvError(f"POOLWARDEN_ENV: expected letters, digits, - and _, not {POOLWARDEN_ENV!r}")
POOLWARDEN_DEMO = env.flag("POOLWARDEN_DEMO", default=False)

# Where secret references may point. Without an entry nothing may be referenced.
POOLWARDEN_SECRET_PREFIXES = env.words("POOLWARDEN_SECRET_PREFIXES", "file:///run/secrets/,env://POOLWARDEN_SECRET_")

# Notes to people: where the console is reached, how e-mail leaves, and whether webhooks may stay inside the network.
POOLWARDEN_PUBLIC_URL = (
    env.url("POOLWARDEN_PUBLIC_URL", "", schemes=("http", "https")).rstrip("/")
    if env.text("POOLWARDEN_PUBLIC_URL")
    else ""
)
POOLWARDEN_SMTP_URL = (
    env.url("POOLWARDEN_SMTP_URL", "", schemes=("smtp", "smtps", "smtp+plain"))
    if env.secret("POOLWARDEN_SMTP_URL")
    else ""
)
if POOLWARDEN_SMTP_URL.startswith("smtp+plain://") and "@" in POOLWARDEN_SMTP_URL:
    raise EnvError("POOLWARDEN_SMTP_URL: a password needs smtp:// or smtps://, which use TLS")
POOLWARDEN_MAIL_FROM = env.text("POOLWARDEN_MAIL_FROM", "poolwarden@localhost")
POOLWARDEN_WEBHOOK_PRIVATE = env.flag("POOLWARDEN_WEBHOOK_PRIVATE", default=False)
# For how many days the broker keeps what was discarded, or archived; discarded: 0 deletes at once.
POOLWARDEN_TRASH_DAYS = env.integer("POOLWARDEN_TRASH_DAYS", 7, low=0, high=365)
POOLWARDEN_ARCHIVE_DAYS = env.integer("POOLWARDEN_ARCHIVE_DAYS", 90, low=1, high=3650)

# The audit log: under which name its checkpoints are signed, and where they go besides the database.
POOLWARDEN_LOG_ORIGIN = env.text("POOLWARDEN_LOG_ORIGIN", f"poolwarden/{POOLWARDEN_ENV}")
POOLWARDEN_ANCHOR_FILE = env.file("POOLWARDEN_ANCHOR_FILE", f"{POOLWARDEN_HOME}/anchors/checkpoints")
POOLWARDEN_ANCHOR_DIR = env.folder("POOLWARDEN_ANCHOR_DIR", "") if env.text("POOLWARDEN_ANCHOR_DIR") else None
POOLWARDEN_WITNESSES = env.words("POOLWARDEN_WITNESSES")
POOLWARDEN_CHECKPOINT_SECONDS = env.integer("POOLWARDEN_CHECKPOINT_SECONDS", 10, low=1, high=3600)
POOLWARDEN_LOG_LAG_SECONDS = env.integer("POOLWARDEN_LOG_LAG_SECONDS", 60, low=1, high=3600)
# PostgreSQL: who owns the tables, and as whom the application signs in. Without both, privileges stay as they are.
POOLWARDEN_DATABASE_OWNER = env.text("POOLWARDEN_DATABASE_OWNER")
POOLWARDEN_DATABASE_ROLE = env.text("POOLWARDEN_DATABASE_ROLE")
if bool(POOLWARDEN_DATABASE_OWNER) != bool(POOLWARDEN_DATABASE_ROLE):
    raise EnvError("POOLWARDEN_DATABASE_OWNER: set it together with POOLWARDEN_DATABASE_ROLE")

DEBUG = env.flag("POOLWARDEN_DEBUG", default=False)
SECRET_KEY = env.secret("POOLWARDEN_SECRET_KEY") or local_secret(POOLWARDEN_HOME / "secret-key")
ALLOWED_HOSTS = env.words("POOLWARDEN_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "guardian",
    "django_htmx",
    "django_rq",
    "controlplane",
    "audit",
    "pools",
]

MIDDLEWARE = [
    "controlplane.http.RequestContextMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "controlplane.reordering.ReorderingMiddleware",
]

ROOT_URLCONF = "controlplane.urls"
WSGI_APPLICATION = "controlplane.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "controlplane.shell.shell",
            ],
            "builtins": ["controlplane.templatetags.pw"],
        },
    }
]

# Database: SQLite by default, PostgreSQL by URL. Autocommit; every operation opens its own transaction.
DATABASES = {
    "default": dj_database_url.parse(
        env.url(
            "POOLWARDEN_DATABASE_URL",
            f"sqlite:///{POOLWARDEN_HOME / 'poolwarden.sqlite3'}",
            schemes=("sqlite", "postgres", "postgresql"),
        ),
        conn_max_age=60,
        conn_health_checks=True,
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # A writer queues at BEGIN instead of failing half-way; a commit is on the disk when it returns.
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=30000; "
        "PRAGMA cache_size=-65536;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The broker. ``default`` is the only alias for now; every row that speaks of a broker carries its alias.
POOLWARDEN_BROKERS = {
    "default": {
        "url": env.url("POOLWARDEN_REDIS_URL", "redis://127.0.0.1:6379/0", schemes=("redis", "rediss", "unix")),
        "prefix": env.text("RQ_KEY_PREFIX", "rq"),
        "region": env.text("POOLWARDEN_REGION", ""),
    }
}
RQ_QUEUES = {"console": {"URL": POOLWARDEN_BROKERS["default"]["url"], "DEFAULT_TIMEOUT": 3600}}

# Sign-in and sessions
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "guardian.backends.ObjectPermissionBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ANONYMOUS_USER_NAME = None
GUARDIAN_RAISE_403 = False
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "sign-in"
SESSION_COOKIE_AGE = 12 * 3600
POOLWARDEN_SIGN_IN_ATTEMPTS = env.integer("POOLWARDEN_SIGN_IN_ATTEMPTS", 10, low=1, high=1000)  # per 5 min

# Transport. ``up`` on loopback speaks plain HTTP; everywhere else cookies need TLS and the __Host- prefix.
POOLWARDEN_HTTPS = env.flag("POOLWARDEN_HTTPS", default=not DEBUG)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = POOLWARDEN_HTTPS
SESSION_COOKIE_NAME = "__Host-session" if POOLWARDEN_HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if POOLWARDEN_HTTPS else "csrf"
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = POOLWARDEN_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = env.integer("POOLWARDEN_HSTS_SECONDS", 3600 if POOLWARDEN_HTTPS else 0, low=0, high=63072000)
if env.flag("POOLWARDEN_BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
POOLWARDEN_TRUSTED_PROXIES = env.integer("POOLWARDEN_TRUSTED_PROXIES", 0, low=0, high=10)
CSRF_TRUSTED_ORIGINS = env.words("POOLWARDEN_TRUSTED_ORIGINS")
CSRF_FAILURE_VIEW = "controlplane.views.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}
# Large enough that a text which is too long comes back with its field named, rather than as a lost form.
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = POOLWARDEN_HOME / "static"
WHITENOISE_USE_FINDERS = True

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGGING_CONFIG = None
configure_logging(level=env.text("POOLWARDEN_LOG_LEVEL", "INFO").upper(), as_json=not (DEBUG or POOLWARDEN_DEMO))
