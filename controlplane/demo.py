"""The demo's accounts. Their password is published: they exist only on loopback, on a start with --demo."""

DEMO_PASSWORD = "poolwarden-demo"  # noqa: S105 - published on purpose
DEMO_ACCOUNTS = {
    "viewer": "sees pools and dead letters",
    "oncall": "also requeues, discards, pauses",
    "operator": "also changes config and scale",
    "approver": "sees; approves config (later)",
    "auditor": "sees; reads the audit log",
    "admin": "everything, and who may do what",
}
