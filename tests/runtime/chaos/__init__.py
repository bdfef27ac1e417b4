"""Workers under all faults at once: who does what.

``application`` is the work, ``ledger`` what it really did, ``fleet`` who runs it (managed, or stock ``rq worker``),
``pools`` by which specs, ``console`` the control plane beside them with a ``hand`` that gives orders, ``faults`` what
goes wrong, ``storm`` when, ``judge`` what must hold afterwards for any workers, ``traces`` what else for managed ones,
``round`` one run of it all.
"""
