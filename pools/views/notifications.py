"""Who is told of failures, and what became of the messages."""

from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from controlplane.actors import actor_of
from pools.forms.notifications import ChannelChangeForm, ChannelForm
from pools.forms.verbs import ReasonForm
from pools.operations import channel_change, channel_create, channel_remove, channel_test
from pools.permissions import visible_pools
from pools.selectors.notifications import MANAGE, channel_of, channel_rows, recent_deliveries
from pools.selectors.pools import teams_of
from pools.selectors.rights import global_rights
from pools.views._acting import ask


@require_safe
def notifications(request: HttpRequest) -> HttpResponse:
    """Channels with what each tells, and the newest messages with their outcome."""
    actor = actor_of(request)
    context = {
        "rows": channel_rows(actor),
        "deliveries": recent_deliveries(actor),
        "right": global_rights(actor, MANAGE)[MANAGE],
    }
    return render(request, "notifications/notifications.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def notification_new(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    form = ChannelForm(request.POST or None, teams=teams_of(actor), pools=visible_pools(actor))
    page = {"form": form, "right": global_rights(actor, MANAGE)[MANAGE]}
    return ask(
        request,
        form,
        "notifications/edit.html",
        page,
        lambda data: channel_create(actor=actor, name=data["name"], team=data["team"], wanted=form.wanted()),
        done=lambda made: f"{made.name} tells from now on. Send a test message to see that it arrives.",
        to=lambda made: reverse("notifications"),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def notification_edit(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    channel = channel_of(actor, name)
    pools = visible_pools(actor).filter(team=channel.team)
    form = ChannelChangeForm(request.POST or None, pools=pools, initial=ChannelChangeForm.initial_of(channel))
    page = {"form": form, "channel": channel, "right": global_rights(actor, MANAGE)[MANAGE]}
    return ask(
        request,
        form,
        "notifications/edit.html",
        page,
        lambda data: channel_change(
            actor=actor, channel=channel, wanted=form.wanted(), expected_version=data["expected_version"]
        ),
        done=lambda made: f"{name} is changed.",
        to=lambda made: reverse("notifications"),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def notification_remove(request: HttpRequest, name: str) -> HttpResponse:
    actor = actor_of(request)
    channel = channel_of(actor, name)
    form = ReasonForm(request.POST or None)
    page = {"form": form, "channel": channel, "right": global_rights(actor, MANAGE)[MANAGE]}
    return ask(
        request,
        form,
        "notifications/remove.html",
        page,
        lambda data: channel_remove(actor=actor, channel=channel, reason=data["reason"]),
        done=lambda _: f"{name} is removed. What it had not delivered is not delivered any more.",
        to=lambda _: reverse("notifications"),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def notification_test(request: HttpRequest, name: str) -> HttpResponse:
    """Ask for a test message."""
    actor = actor_of(request)
    channel = channel_of(actor, name)
    form = Form(request.POST)
    page = {"form": form, "channel": channel, "right": global_rights(actor, MANAGE)[MANAGE]}
    return ask(
        request,
        form,
        "notifications/test.html",
        page,
        lambda _: channel_test(actor=actor, channel=channel),
        done=lambda _: f"A test message goes out over {name}. What becomes of it is in the list below.",
        to=lambda _: reverse("notifications"),
    )
