"""A Twisted daemon between the cTrader Open API and everything built on it."""

import os


def hold_standard_descriptors() -> None:
    """Open the null device where standard input, output or error is closed.

    Otherwise a socket gets that number: what a library writes to standard error goes there, and
    twistd, when it goes to the background, puts the null device in its place.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken.
            os.open(os.devnull, os.O_RDWR)


# First of all, since importing some libraries creates the reactor, which opens descriptors.
hold_standard_descriptors()
