"""The errors that a person can mend."""


class InputError(ValueError):
    """What a person gave can't be used.

    The message names the place, what came, what is allowed and the remedy. The command shows it
    alone, without a traceback, and ends with exit code 2; nothing has been started by then.
    """
