"""Whether sweeps can run here and on a cluster: `mnist-ray doctor`."""

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_ray._command import option, run_command
from mnist_ray.errors import InputError, first_line
from mnist_ray.ledger import versions
from mnist_ray.run import checks, cluster, machine
from mnist_ray.run.checks import Check, NotApplicable, conclude
from mnist_ray.run.cluster_file import ClusterFile, load_cluster_file
from mnist_ray.run.device_trials import DeviceTrials, try_trials
from mnist_ray.run.machine import Machine

NODES_LIMIT_SECONDS = 90.0
"""For all nodes together; importing TensorFlow for the first time can take half of it."""


@dataclass(frozen=True)
class Scope:
    """Check what works on this machine and on a cluster, before a sweep is started.

    Nothing is changed: no Ray is started (and so no token made), nothing is downloaded, and the
    file that is written to see whether results can be stored is deleted again. On a machine with a
    GPU, a few steps of each built-in architecture are trained there, which takes about a minute.
    """

    cluster: Path | None = option("check a cluster.yaml", type=Path, metavar="FILE")
    address: str | None = option("check a running cluster: auto|host:port", metavar="ADDR")
    results: str | None = option("where the sweep shall write", metavar="DIR|URI")
    data: str | None = option("where MNIST lies", metavar="PATH")
    train: str = option(
        "where to train a few steps of each architecture in each precision, with and without "
        "XLA: auto (the default) on the GPU if there is one; cpu takes some minutes",
        default="auto",
        choices=["auto", "cpu", "no"],
    )


def examine(scope: Scope) -> tuple[list[Check], DeviceTrials | None]:
    """Every check, in the order of a person's way from the laptop to a cluster.

    Also what was trained here, if anything was.
    """
    with ThreadPoolExecutor() as pool:  # TensorFlow takes seconds to import; the rest goes on
        here = pool.submit(lambda: Machine(**machine.describe_machine()))
        cluster_check, cluster_file = examine_cluster_file(scope.cluster)
        results = pool.submit(conclude, "results", checks.results, scope.results, cluster_file)
        joined = [cluster_check, *examine_cluster(scope)]
        own = [
            conclude("Python", checks.python),
            conclude("packages", checks.installed_packages),
            conclude("constraints", checks.pins, for_cluster=scope.cluster is not None),
            *examine_machines([here.result()], where="here"),
        ]
        rest = [conclude("data set", checks.mnist, scope.data), results.result()]
    training, trained = examine_training(scope, here.result())
    return [*own, training, *rest, *joined], trained


def examine_training(scope: Scope, here: Machine) -> tuple[Check, DeviceTrials | None]:
    """Whether every architecture trains, where that was asked for or a GPU is there to be tried.

    Also the figures of those that were trained.
    """
    trained = None

    def train() -> str:
        nonlocal trained
        on_gpus = scope.train == "auto" and bool(here.tensorflow_gpus)
        if on_gpus or scope.train == "cpu":
            from mnist_ray.run.connection import this_machine

            trained = try_trials(this_machine(), gpus=on_gpus)
        return checks.training(trained)

    return conclude("training here", train), trained


def examine_machines(machines: Sequence[Machine], *, where: str) -> list[Check]:
    """The checks of what machines have for trials."""
    return [
        conclude(f"{name} {where}", check, machines)
        for name, check in checks.MACHINE_CHECKS.items()
    ]


def examine_cluster_file(path: Path | None) -> tuple[Check, ClusterFile | None]:
    """Whether Ray and this project's rules accept the file; and the file, if they do."""
    file = None

    def load() -> str:
        nonlocal file
        if path is None:
            raise NotApplicable("none given (--cluster cluster.yaml)")
        file = load_cluster_file(path)
        return f"{path}: {file.workers}{file.where_to_launch}"

    return conclude("cluster file", load), file


def examine_cluster(scope: Scope) -> list[Check]:
    """The token; whether a running cluster answers, is closed to strangers, and has fit nodes."""
    try:
        address, refusal = cluster.find_address(scope.address), None
    except InputError as error:
        address, refusal = None, error
    is_needed = bool(scope.cluster or address or refusal)
    sent = conclude("token", checks.token, is_needed=is_needed)
    if refusal:
        return [sent, Check("cluster", False, str(refusal))]
    answer = conclude("cluster", checks.reachable, address)
    if not (answer.ok and address):
        return [sent, answer]
    closed = conclude("cluster's auth", checks.closed, address)
    return [sent, answer, closed, *_examine_nodes(address)]


def _examine_nodes(address: str) -> list[Check]:
    try:
        nodes = describe_nodes(address)
    except Exception as error:  # Ray's own kinds are many; each means that it does not work.
        remedy = "Run this on a machine of the cluster: ray exec cluster.yaml '...'"
        return [Check("nodes", False, first_line(error), remedy)]
    same = conclude("nodes' versions", checks.node_versions, nodes)
    return [same, *examine_machines(nodes, where="on nodes")]


def describe_nodes(address: str) -> list[Machine]:
    """Every living node of the cluster, described by a task of its own on it.

    Raises:
        Exception: Ray cannot be joined, or a node does not answer in time.
    """
    import ray

    from mnist_ray.run import connection

    # Ray then sends the functions themselves: the project need not be installed on the nodes.
    for module in (machine, versions):
        ray.cloudpickle.register_pickle_by_value(module)
    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    try:
        nodes = [*connection.resources_by_node()]
        asked = connection.ask_nodes(machine.describe_machine, nodes, max_retries=0)
        answers: list[dict[str, Any]] = ray.get([*asked], timeout=NODES_LIMIT_SECONDS)
    finally:
        ray.shutdown()
        for module in (machine, versions):
            ray.cloudpickle.unregister_pickle_by_value(module)
    return [Machine(**answer) for answer in answers]


def show_trials(trained: DeviceTrials) -> None:
    """Print the figures of what was trained."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, heading in enumerate(trained.trials[0].row):
        table.add_column(heading, justify="left" if number < 3 else "right")
    for trial in trained.trials:
        table.add_row(*trial.row.values())
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    console.print()
    console.print(table)
    console.print(trained.explanation, markup=False)


def show(concluded: Sequence[Check]) -> None:
    """Print the checks, one below the other; in colours on a terminal, plainly elsewhere."""
    if sys.stdout.isatty():
        _show_in_colours(concluded)
    else:
        _show_plainly(concluded)


def _show_plainly(concluded: Sequence[Check]) -> None:
    marks = _marks()
    for check in concluded:
        remedy = f"\nremedy: {check.remedy}" if check.remedy else ""
        text = f"{marks[check.ok]} {check.name}: {check.found}{remedy}"
        print(text.replace("\n", "\n    "))


def _show_in_colours(concluded: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    marks = _marks()
    styles = {True: "green", False: "bold red", None: "dim"}
    table = Table.grid(padding=(0, 2))
    for check in concluded:
        found = Text(check.found, style="dim" if check.ok is None else "")
        if check.remedy:
            found.append(f"\nremedy: {check.remedy}", style="yellow")
        table.add_row(Text(marks[check.ok], style=styles[check.ok]), check.name, found)
    Console().print(table)


def _marks() -> dict[bool | None, str]:
    """A sign for each conclusion that standard output can write."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return {True: "ok  ", False: "FAIL", None: "-   "}
    return {True: "✓", False: "✗", None: "-"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 where nothing is wrong, else 1."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before anything imports Ray
    return run_command("doctor", Scope, _run, arguments=arguments)


def _run(scope: Scope) -> int:
    if scope.train == "cpu" and sys.stderr.isatty():
        print("Training a few steps of each architecture: some minutes ...", file=sys.stderr)
    concluded, trained = examine(scope)
    show(concluded)
    if trained:
        show_trials(trained)
    wrong = sum(check.ok is False for check in concluded)
    found = f"{wrong} problem{'s' * (wrong > 1)} found" if wrong else "No problem found"
    print(f"{found}. Lines with - do not apply here.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
