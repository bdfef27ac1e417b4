"""Workers under all faults at once: who does what.

``application`` is the work, ``ledger`` what it really did, ``fleet`` who runs it (managed, or stock ``rq worker``),
``faults`` what goes wrong, ``storm`` when, ``judge`` what must hold afterwards, ``round`` one run of it all.
"""
