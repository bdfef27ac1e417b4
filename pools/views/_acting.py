"""From a form to an operation and back: what every page that changes something does."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from audit.recorder import AuditError
from controlplane.http import safe_next
from pools.operations.errors import Conflict, Refused


class Page(Protocol):
    """The form's page, as ``partial(render, request, template, context)`` makes it."""

    def __call__(self, *, status: int) -> HttpResponse: ...


def ask[T](
    request: HttpRequest,
    form: BaseForm,
    template: str,
    page: dict[str, Any],
    run: Callable[[dict[str, Any]], T],
    *,
    done: Callable[[T], str],
    to: Callable[[T], str],
) -> HttpResponse:
    """A page that asks: shows the form, and acts on it when it is sent. As ``act``, which has the parameters."""
    show = partial(render, request, template, page)
    if request.method != "POST":
        return show()
    return act(request, form, run, done=done, to=to, otherwise=show)


def act[T](
    request: HttpRequest,
    form: BaseForm,
    run: Callable[[dict[str, Any]], T],
    *,
    done: Callable[[T], str],
    to: Callable[[T], str],
    otherwise: Page,
) -> HttpResponse:
    """Run an operation with the form's cleaned data; redirect when it was done, show the form again when it was not.

    ``done`` gives the message and ``to`` the address after success; a ``next`` in the request goes first. ``otherwise``
    renders the page again with the status it is given: 422 for input that cannot be, 409 when somebody else was
    quicker; the form then holds the errors and all that was typed. A lacking permission becomes the 403 page: the
    operation has recorded the denial.
    """
    if not form.is_valid():
        return otherwise(status=422)
    try:
        value = run(form.cleaned_data)
    except ObjectDoesNotExist as gone:
        raise Http404 from gone
    except Conflict as conflict:
        form.add_error(None, conflict.message)
        return otherwise(status=409)
    except (Refused, AuditError) as refused:
        form.add_error(refused.field if refused.field in form.fields else None, refused.message)
        return otherwise(status=422)
    messages.success(request, done(value))
    return redirect(safe_next(request, to(value)))
