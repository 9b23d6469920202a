"""What Ray reports of a process that is gone."""

import re
from pathlib import Path

from ray.tune.experiment import Trial as TuneTrial


def account_of(trial: TuneTrial) -> str:
    """What Ray reported when it lost the process of a trial."""
    # Ray Tune's own `get_error` looks where the file is copied to only later.
    path = trial.error_file
    text = Path(path).read_text() if path and Path(path).is_file() else ""
    return text.partition("\n")[2] if text.startswith("Failure #") else text


def reason_in(account: str) -> str:
    """Why the process was lost, in one line; for people only."""
    account = account.strip()
    if re.match(r"The actor \w+ is unavailable", account):
        return "it can't be reached"
    death = re.search(r"The actor (?:is dead|died) because (.*?)\.(?:\s|$)", account)
    return death[1] if death else next(iter(account.splitlines()), "unknown")
