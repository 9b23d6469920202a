"""The README's example of an architecture of one's own does what is shown."""

import re
from pathlib import Path

from running import PROJECT, opened

FILES = re.compile(
    r"^```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
SESSION = re.compile(r"^```console\n\$ mnist-ray (.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def words(text: str) -> list[str]:
    """Without figures: their last digits depend on the kind of processor."""
    return re.sub(r"[-\N{MINUS SIGN}]?[0-9][0-9.]*", "#", text).split()


def test_the_example_runs_and_ends_with_what_is_shown(tmp_path: Path) -> None:
    readme = (PROJECT / "README.md").read_text()
    for name, content in FILES.findall(readme):
        (tmp_path / name).write_text(content)
    sessions = SESSION.findall(readme)
    assert sessions
    with opened(tmp_path) as place:
        for command, shown in sessions:
            ended = place.run(*command.split(), module="mnist_ray")
            assert ended.code == 0, ended.errors
            assert words(ended.output)[-len(words(shown)) :] == words(shown)
