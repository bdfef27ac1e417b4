"""What a note says, as JSON and as text; and what it never says."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from pools.models import Criticality, FailureGroup, Held, Notice, NotificationChannel, Occasion, Pool, Team
from pools.selectors.messages import as_text, failures_message, plain
from tests.docs.test_documents import read
from tests.support import factories as make


def notice(channel: NotificationChannel, group: FailureGroup, occasion: str = "new", **more: Any) -> Notice:
    return Notice.objects.create(channel=channel, group=group, occasion=occasion, **more)


def test_one_group(pool: Pool, channel: NotificationChannel, settings: Settings) -> None:
    Pool.objects.update(runbook_url="https://runbooks.example/payments")
    pool.refresh_from_db()
    group = make.failure_group(pool, "TimeoutError: connect to …", total_count=10_000, open_count=9_990)
    group.owner = User.objects.create(username="nina")
    message = failures_message(channel, [notice(channel, group)], timezone.now())
    (told,) = message["data"]["groups"]
    link = f"https://console.example.com/dead-letters/groups/{group.pk}/"
    assert message["type"] == "failures"
    assert message["data"]["title"] == "New failure group in payments: TimeoutError: connect to …"
    assert (told["failures"], told["dead_letters"], told["owner"], told["url"]) == (10_000, 9_990, "nina", link)
    assert told["occasions"] == ["new"] and told["runbook_url"] == "https://runbooks.example/payments"
    text = as_text(message)
    for part in ("10,000 failures in payments (standard)", "Owner: nina", f"Open: {link}", "Runbook: https://runbooks"):
        assert part in text


def test_the_guide_shows_what_is_sent(pool: Pool, channel: NotificationChannel) -> None:
    message = failures_message(channel, [notice(channel, make.failure_group(pool))], timezone.now())
    (example,) = re.findall(r"```json\n(.*?)```", read("notifications.md"), re.DOTALL)
    assert shape(json.loads(example)) == shape(message)


def shape(value: Any) -> Any:
    """The names in it, and nothing else."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) and value and isinstance(value[0], dict) else None


def test_many_groups_are_ten_and_a_number(pool: Pool, team: Team, channel: NotificationChannel) -> None:
    critical = make.pool(team, "ledger", criticality=Criticality.CRITICAL)
    groups = [make.failure_group(pool, f"Error{n}", total_count=n) for n in range(223)]
    groups.append(make.failure_group(critical, "Rare", total_count=1))
    notices = [notice(channel, group) for group in groups]
    notices += [notice(channel, groups[0], "spike"), notice(channel, groups[1], "regressed")]
    message = failures_message(channel, notices, timezone.now())
    data = message["data"]
    assert data["title"] == "224 new failure groups, 1 regression and 1 spike in ledger and payments"
    assert [told["title"] for told in data["groups"]] == ["Rare"] + [f"Error{n}" for n in range(222, 213, -1)]
    assert data["more"] == 214
    assert "and 214 more\n" in as_text(message)


def test_what_was_held_back_is_said(pool: Pool, channel: NotificationChannel) -> None:
    by = [Held.CAP, Held.CAP, Held.QUIET_HOURS, Held.NOTHING]
    notices = [notice(channel, make.failure_group(pool, f"E{n}"), held=held) for n, held in enumerate(by)]
    message = failures_message(channel, notices, timezone.now())
    assert message["data"]["held_back"] == {"cap": 2, "quiet_hours": 1}
    text = as_text(message)
    assert "2 of these waited because of the limit of messages an hour." in text
    assert "1 of these waited because of quiet hours." in text


def test_it_holds_nothing_that_a_job_held(pool: Pool, channel: NotificationChannel) -> None:
    group = make.failure_group(pool, "ValueError: card …")
    make.dead_letter(group, message="card 4111 1111 1111 1111 of eve@example.com", arguments="(card=••••)")
    message = failures_message(channel, [notice(channel, group)], timezone.now())
    assert not any(part in str(message) + as_text(message) for part in ("4111", "eve@", "••", "job-1"))


@pytest.mark.parametrize("hostile", ["a\r\nBcc: x", "a\u202ebc", "a\x00b\x1b[31m", "\u2028a", "a\u200bb"])
def test_what_strangers_wrote_is_one_plain_line(pool: Pool, channel: NotificationChannel, hostile: str) -> None:
    group = make.failure_group(pool, "T", func="shop.x")
    group.title, group.func = hostile, hostile
    assert plain(hostile).isprintable()
    message = failures_message(channel, [Notice(channel=channel, group=group, occasion=Occasion.NEW)], timezone.now())
    for text in (message["data"]["title"], message["data"]["groups"][0]["title"], message["data"]["groups"][0]["task"]):
        assert text.isprintable()


def test_without_a_public_address_there_are_no_links(
    pool: Pool, channel: NotificationChannel, settings: Settings
) -> None:
    settings.POOLWARDEN_PUBLIC_URL = ""
    message = failures_message(channel, [notice(channel, make.failure_group(pool))], timezone.now())
    assert message["data"]["url"] == "" and message["data"]["groups"][0]["url"] == ""
    assert "Open:" not in as_text(message)
