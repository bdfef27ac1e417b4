"""Why an agent refused a config, in words. The codes are those of ``pools.signing.errors``."""

REFUSALS = {
    "envelope_too_large": "the envelope is larger than an agent reads",
    "bad_base64": "the envelope is not whole",
    "wrong_payload_type": "the envelope holds something other than a config",
    "bad_envelope": "the envelope is damaged",
    "threshold_not_met": "too few trusted keys signed it",
    "root_expired": "the trust root on that host has expired",
    "root_invalid": "the trust root on that host cannot be used",
    "bad_json": "the signed text is not JSON",
    "not_canonical": "the signed text is not in its canonical form",
    "wrong_environment": "it was signed for another environment",
    "wrong_pool": "it was signed for another pool",
    "version_rollback": "it is not newer than the version that the agent trusts",
    "broken_chain": "it does not follow the version that the agent trusts",
    "not_yet_valid": "it is not valid yet by that host's clock",
    "expired": "its signature has expired",
    "not_allowed": "a rule on that host forbids it",
    "weak_key": "it was signed with a key that cannot be trusted",
}


def refusal_sentence(code: str) -> str:
    """The clause that follows "because"; an unknown code is shown as it is."""
    return REFUSALS.get(code, f"of {code}" if code else "it gave no reason")
