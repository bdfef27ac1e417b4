"""Search in the messages of failures: by what whole groups say, and by the words that single jobs have of their own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from django.db import connection
from django.db.models import QuerySet

from pools.models import DeadLetter, FailureGroup, Pool
from pools.search_index import INDEX
from pools.words import words_in

FOUND_LIMIT = 2_000
"""Jobs that a search finds by words of their own: the newest. Groups that say the words are found whole."""
LOOKED_AT, CHUNK = 20_000, 2_000
"""Jobs with the words that are looked at, among them those that the rest of the filter leaves out; at a time."""


@dataclass(frozen=True)
class Found:
    """Primary keys: of groups of which every job is meant, and of jobs of other groups, with their group's."""

    groups: set[int]
    jobs: dict[int, int]


def search(text: str, groups: QuerySet[FailureGroup], letters: QuerySet[DeadLetter]) -> Found:
    """Groups whose title has all words of ``text``, anywhere; jobs that have them, at the beginning of words of their
    message or in their group's title; and the job whose id is ``text``. Only among ``groups`` and ``letters``.
    """
    words = words_in(text)
    titled = {word: set(groups.filter(title__icontains=word).values_list("pk", flat=True)) for word in words}
    whole = set.intersection(*titled.values()) if words else set()
    jobs = _with_words(titled, letters) if words else {}
    brokers = Pool.objects.values("broker").distinct()
    jobs |= dict(letters.filter(broker__in=brokers, job_id=text).values_list("pk", "group_id"))
    return Found(whole, {pk: group for pk, group in jobs.items() if group not in whole})


def _with_words(titled: dict[str, set[int]], letters: QuerySet[DeadLetter]) -> dict[int, int]:
    """Jobs with at least one of the words of their own, and each of the others of their own or in their title."""
    own = [word for word, groups in titled.items() if not groups]
    found = _owning([own] if own else [[word] for word in titled], letters)
    for word, groups in titled.items():
        if groups and not groups.issuperset(found.values()):
            have = _owning([[*own, word]], letters)
            found = {pk: group for pk, group in found.items() if group in groups or pk in have}
    return found


def _owning(any_of: Iterable[Sequence[str]], letters: QuerySet[DeadLetter]) -> dict[int, int]:
    """The newest jobs with all words of one of ``any_of``, with their groups: from the index to the rows, for the
    database might choose to go through all rows."""
    query, found, below = _query(any_of), dict[int, int](), 2**63 - 1
    for _ in range(LOOKED_AT // CHUNK):
        pks = _pks(query, below)
        found |= dict(letters.filter(pk__among=pks).order_by("-pk").values_list("pk", "group_id"))
        if len(pks) < CHUNK or len(found) >= FOUND_LIMIT:
            break
        below = pks[-1]
    return dict(islice(found.items(), FOUND_LIMIT))


def _pks(query: str, below: int) -> list[int]:
    """The highest primary keys below a number of rows with the words."""
    if connection.vendor == "sqlite":
        sql = f"SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s AND rowid < %s ORDER BY rowid DESC LIMIT {CHUNK}"  # noqa: S608
    else:
        # As a sum: for the order of its keys alone PostgreSQL would go through all rows from the newest on.
        sql = f"SELECT id FROM {INDEX} WHERE words @@ %s::tsquery AND id < %s ORDER BY id + 0 DESC LIMIT {CHUNK}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql, [query, below])
        return [pk for (pk,) in cursor.fetchall()]


def _query(any_of: Iterable[Sequence[str]]) -> str:
    """In the database's syntax. Words hold letters and digits alone, so nothing in them is taken for syntax."""
    if connection.vendor == "sqlite":
        return " OR ".join("(" + " AND ".join(f'"{word}"*' for word in words) + ")" for words in any_of)
    return " | ".join("(" + " & ".join(f"'{word}':*" for word in words) + ")" for words in any_of)
