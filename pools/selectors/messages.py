"""What a note to people says: JSON for programs, and the same as text. Never a payload, a value or a message as a job
wrote it: of an error its group's title, from which the data are taken out."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from audit.recorder import rfc3339
from controlplane.wording import count
from pools.models import Criticality, FailureGroup, Held, Notice, NotificationChannel, Occasion
from pools.models.notification import LEAST_FIRST
from pools.selectors.phrases import counted, names

LISTED = 10
TITLE = 150  # characters of a group's title in that of a message
WORDS = {Occasion.NEW: "new failure group", Occasion.REGRESSED: "regression", Occasion.SPIKE: "spike"}
WHY_HELD = {Held.CAP.value: "the limit of messages an hour", Held.QUIET_HOURS.value: "quiet hours"}

type Message = dict[str, Any]


def failures_message(channel: NotificationChannel, notices: Sequence[Notice], now: datetime) -> Message:
    """One message of all these notices, at least one. They come with their groups, those with pool and owner."""
    groups = {notice.group_id: notice.group for notice in notices}
    occasions: dict[int, list[str]] = {pk: [] for pk in groups}
    for notice in notices:
        occasions[notice.group_id].append(notice.occasion)
    listed = sorted(groups.values(), key=_weight, reverse=True)
    held = Counter(notice.held for notice in notices if notice.held)
    return {
        "type": "failures",
        "timestamp": rfc3339(now),
        "data": {
            "title": _title(listed, notices, occasions),
            "channel": channel.name,
            "environment": settings.POOLWARDEN_ENV,
            "url": _link("dead-letters"),
            "groups": [_group(group, occasions[group.pk]) for group in listed[:LISTED]],
            "more": max(len(listed) - LISTED, 0),
            "held_back": {reason: held[reason] for reason in WHY_HELD},
        },
    }


def sample_message(channel: NotificationChannel, asked_by: str, now: datetime) -> Message:
    """To see that messages arrive."""
    return {
        "type": "test",
        "timestamp": rfc3339(now),
        "data": {
            "title": f"A test message over {channel.name}",
            "channel": channel.name,
            "environment": settings.POOLWARDEN_ENV,
            "url": _link("notifications"),
            "asked_by": plain(asked_by),
        },
    }


def as_text(payload: Message) -> str:
    """The message as an e-mail has it."""
    data = payload["data"]
    lines = [data["title"], ""]
    if payload["type"] == "test":
        lines += [f"{data['asked_by']} asked for it. Notes about failures arrive like this one.", ""]
    for group in data.get("groups", []):
        lines += [*_group_lines(group), ""]
    if data.get("more"):
        lines += [f"and {count(data['more'])} more", ""]
    for reason, why in WHY_HELD.items():
        if held := data.get("held_back", {}).get(reason):
            lines += [f"{count(held)} of these waited because of {why}.", ""]
    if data["url"]:
        lines += [data["url"], ""]
    lines.append(f"Poolwarden {data['environment']}, channel {data['channel']}")
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """The text in one line, without characters that nobody would see: strangers wrote it."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _title(groups: Sequence[FailureGroup], notices: Sequence[Notice], occasions: dict[int, list[str]]) -> str:
    """For one group "Regression in payments: TimeoutError: connect to …"; for several "2 new failure groups and 1 spike
    in payments"."""
    if len(groups) == 1:
        (group,) = groups
        words = " and ".join(Occasion(occasion).label.lower() for occasion in occasions[group.pk])
        return f"{words.capitalize()} in {group.pool.slug}: {plain(group.title)[:TITLE]}"
    told = Counter(notice.occasion for notice in notices)
    parts = [counted(told[occasion], noun) for occasion, noun in WORDS.items() if told[occasion]]
    *first, last = parts
    told_of = f"{', '.join(first)} and {last}" if first else last
    return f"{told_of} in {names(sorted({group.pool.slug for group in groups}))}"


def _weight(group: FailureGroup) -> tuple[int, int]:
    """The critical first, then what fails most."""
    return LEAST_FIRST.index(Criticality(group.pool.criticality)), group.total_count


def _group(group: FailureGroup, occasions: list[str]) -> dict[str, Any]:
    return {
        "occasions": occasions,
        "title": plain(group.title),
        "task": plain(group.func),
        "pool": group.pool.slug,
        "criticality": group.pool.criticality,
        "failures": group.total_count,
        "dead_letters": group.open_count,
        "first_seen": rfc3339(group.first_seen),
        "last_seen": rfc3339(group.last_seen),
        "owner": group.owner.get_username() if group.owner else None,
        "url": _link("failure-group", group.pk),
        "runbook_url": group.runbook,
    }


def _group_lines(group: dict[str, Any]) -> list[str]:
    why = " and ".join(Occasion(occasion).label for occasion in group["occasions"])
    facts = f"{counted(group['failures'], 'failure')} in {group['pool']} ({group['criticality']}), {group['task']}"
    lines = [f"{why}: {group['title']}", f"  {facts}"]
    for name, value in (("Owner", group["owner"]), ("Open", group["url"]), ("Runbook", group["runbook_url"])):
        if value:
            lines.append(f"  {name}: {value}")
    return lines


def _link(name: str, *arguments: object) -> str:
    """The page's address for people elsewhere; empty when nobody said where the console is reached."""
    base: str = settings.POOLWARDEN_PUBLIC_URL
    return base + reverse(name, args=arguments) if base else ""
