"""A venue of our own: the other end of the real protocol, over real TLS, with mischief switches.

It shares only ``wire``, ``pb`` and ``errors`` with the rest; its arithmetic is its own, because a
mirror cannot find its own error. The entrance is ``service.Simulator``.
"""
