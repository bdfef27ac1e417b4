"""Which Ed25519 public keys must not be trusted. Pure."""

# RFC 8032, 5.1: the field's prime, and y of the points whose order divides 8: the identity, order 2, 4 and 8 (twice).
P = 2**255 - 19
_Y8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
LOW_ORDER_Y = frozenset({1, P - 1, 0, _Y8, P - _Y8})


def weakness(public: bytes) -> str:
    """Why ``public`` (the raw bytes of a key) is refused, as a sentence; empty when it is fit for use.

    A y that is not reduced is a second spelling of one point. A point of low order accepts one fixed signature over any
    message, and nobody needs a private key for it.
    """
    if len(public) != 32:
        return f"An Ed25519 public key has 32 bytes, this one {len(public)}."
    y = int.from_bytes(public, "little") & (2**255 - 1)
    if y >= P:
        return f"The public key {public.hex()} is not in its canonical form."
    if y in LOW_ORDER_Y:
        return f"The public key {public.hex()} has low order: anybody could sign for it."
    return ""
