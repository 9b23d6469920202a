"""What the commands' arguments have in common."""

import argparse
from collections.abc import Callable


def integer(*, least: int) -> Callable[[str], int]:
    """What argparse takes for a type: an integer from `least` on."""

    def parsed(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} given, an integer from {least} on allowed")
        return number

    return parsed
