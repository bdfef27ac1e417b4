"""The words of a failure's message that its group's title does not have: the data, by which one job is found.

A title is one for a whole group, so what it says is looked for among the groups. Only the rest is kept for each job.
"""

import re

WORD = re.compile(r"[^\W_]+")
LENGTH, COUNT = 64, 32
"""Characters of a word, and words of a message, that are kept."""


def words_in(text: str) -> list[str]:
    """Runs of letters and digits, in lower case, each once."""
    return list(dict.fromkeys(word[:LENGTH] for word in WORD.findall(text.lower())))


def own_words(message: str, title: str) -> str:
    """With a space between them; at most ``COUNT``."""
    known = title.lower()
    return " ".join([word for word in words_in(message) if word not in known][:COUNT])
