"""The frame around every signed-in page: navigation with counts, who is signed in, how fresh the figures are."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from audit.selectors import log_state
from controlplane.actors import actor_of
from pools.selectors.navigation import Navigation, navigation

STALE_AFTER = 15  # seconds without a sample


@dataclass(frozen=True)
class NavItem:
    """One line of the navigation. ``alert``: the count needs a person."""

    label: str
    url: str
    icon: str
    count: int | None = None
    alert: bool = False
    current: bool = False


@dataclass(frozen=True)
class NavGroup:
    label: str
    entries: list[NavItem]


@dataclass(frozen=True)
class Freshness:
    """``at``: the newest sample, None before the first."""

    at: datetime | None
    stale: bool


@dataclass(frozen=True)
class Shell:
    env_name: str
    env_is_production: bool
    nav: list[NavGroup]
    user_initials: str
    user_name: str
    user_role: str
    log_line: str
    freshness: Freshness
    jump: list[dict[str, str]]


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor. Lazy: a fragment that shows no frame costs no query."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        production = settings.POOLWARDEN_ENV.startswith("prod")
        return {"shell": {"env_name": settings.POOLWARDEN_ENV, "env_is_production": production}}
    return {"shell": SimpleLazyObject(_build(request))}


def _build(request: HttpRequest) -> Callable[[], Shell]:
    def build() -> Shell:
        actor = actor_of(request)
        figures = navigation(actor)
        return Shell(
            env_name=settings.POOLWARDEN_ENV,
            env_is_production=settings.POOLWARDEN_ENV.startswith("prod"),
            nav=_nav(request, figures),
            user_initials=actor.name[:2].upper(),
            user_name=actor.name,
            user_role=", ".join(figures.roles) or "no role",
            log_line=_log_line(),
            freshness=_freshness(figures.sampled_at),
            jump=_jump(figures),
        )

    return build


def _nav(request: HttpRequest, figures: Navigation) -> list[NavGroup]:
    def item(label: str, name: str, icon: str, count: int | None = None, *, alert: bool = False) -> NavItem:
        url = reverse(name)
        current = request.path == url if url == "/" else request.path.startswith(url)
        return NavItem(label, url, icon, count, alert, current)

    agents = figures.agents_gone or figures.agents
    return [
        NavGroup(
            "",
            [
                item("Overview", "overview", "layout-dashboard"),
                item("Pools", "pools", "stack-2", figures.pools),
                item("Dead letters", "dead-letters", "mailbox", figures.dead_letters),
                item("Operations", "operations", "player-track-next", figures.operations_running or None),
            ],
        ),
        NavGroup(
            "Hosts and access",
            [
                item("Agents", "agents", "server-2", agents, alert=bool(figures.agents_gone)),
                item("Notifications", "notifications", "bell"),
                item("Secrets", "secrets", "key"),
                item("Access", "access", "users"),
            ],
        ),
        NavGroup("Evidence", [item("Audit", "audit:timeline", "shield-check")]),
    ]


def _log_line() -> str:
    state = log_state()
    written = 0 if state.newest is None else state.newest + 1
    waiting = f", {state.pending} waiting" if state.pending else ""
    return f"Log: {written:,} events{waiting}"


def _freshness(sampled_at: datetime | None) -> Freshness:
    stale = sampled_at is not None and (timezone.now() - sampled_at).total_seconds() > STALE_AFTER
    return Freshness(sampled_at, stale)


def _jump(figures: Navigation) -> list[dict[str, str]]:
    places = [
        ("Overview", "overview"),
        ("Pools", "pools"),
        ("Dead letters", "dead-letters"),
        ("Operations", "operations"),
        ("Agents", "agents"),
        ("Notifications", "notifications"),
        ("Secrets", "secrets"),
        ("Access", "access"),
        ("Audit", "audit:timeline"),
    ]
    pages = [{"label": label, "url": reverse(name), "hint": "page"} for label, name in places]
    pools = [{"label": slug, "url": reverse("pool", args=[slug]), "hint": "pool"} for slug in figures.slugs]
    return pages + pools
