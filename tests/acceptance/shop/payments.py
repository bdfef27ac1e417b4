"""A shop's own task, as its stock RQ workers run it: some captures fail until the gateway answers again."""

import os
from pathlib import Path


class CardDeclined(Exception):
    pass


class DuplicateCharge(Exception):
    pass


def capture(order: int, trouble: str = "") -> str:
    """``trouble``: ``card`` or ``twice`` fail for good; ``gateway`` as long as no file stands where GATEWAY says."""
    if trouble == "card":
        raise CardDeclined(f"the card of order {order} was declined")
    if trouble == "twice":
        raise DuplicateCharge(f"order {order} is captured already")
    if trouble == "gateway" and not Path(os.environ["GATEWAY"]).exists():
        raise TimeoutError(f"the gateway did not answer within 30 s for order {order}")
    return f"order {order} captured"
