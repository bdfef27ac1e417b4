"""``python -m tests.api.race N``: N threads send one request with one key at the same moment, on an own database.

Prints JSON: the statuses, the distinct bodies, how many answers were repeats, and what the database holds.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

BODY = {"workers": 9, "reason": "Month-end"}


def main(count: int) -> None:
    call_command("migrate", verbosity=0)
    from audit.models import Event
    from controlplane.models import ApiToken
    from pools.models import ConfigVersion, IdempotencyKey
    from tests.api.calling import Caller
    from tests.support import factories as make
    from tests.support.cast import make_cast

    cast = make_cast()
    make.pool(cast.payments)
    caller, together = Caller(cast.alice), threading.Barrier(count)
    ApiToken.objects.update(used_from="")  # so that each request finds that it is the first

    def send(_: int) -> Any:
        together.wait(timeout=30)
        try:
            return caller.post("pools/payments/scale", BODY, key="k")
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(send, range(count)))
    told = {
        "statuses": [answer.status_code for answer in answers],
        "bodies": list({json.dumps(answer.json(), sort_keys=True) for answer in answers}),
        "replayed": sum("Idempotent-Replayed" in answer for answer in answers),
        "versions": ConfigVersion.objects.count(),
        "keys": IdempotencyKey.objects.count(),
        "events": Event.objects.filter(action="pool.scaled").count(),
        "uses": Event.objects.filter(action="token.used").count(),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    django.setup()
    main(int(sys.argv[1]))
