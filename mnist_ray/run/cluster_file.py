"""The file for Ray's cluster launcher, checked by Ray's schema and by rules of our own.

Ray's schema says whether `ray up` understands the file; the rules say whether what comes up is a
cluster that this project can use, and that strangers cannot.
"""

import importlib.metadata
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mnist_ray.errors import InputError
from mnist_ray.run.cluster import MAKE_TOKEN
from mnist_ray.run.packages import read_constraints

PLACEHOLDER = "YOUR-BUCKET"
"""Stands in the shipped file where a person's bucket belongs."""

Config = Mapping[str, Any]
Rule = Callable[[Config], Iterator[str]]

_SSH_PORT = 22
_TOKEN_FILE = ".ray/auth_token"  # noqa: S105 - a path
_TOKEN_ON = "RAY_AUTH_MODE=token"  # noqa: S105 - a setting
_MUST_PIN = ("ray", "tensorflow")


@dataclass(frozen=True)
class ClusterFile:
    """A file that Ray accepts and that keeps the rules."""

    path: Path
    config: Config
    """As Ray completes it with its defaults, and with the full paths of what it syncs."""
    syncs_relative_paths: bool = False

    @property
    def results(self) -> str | None:
        """`metadata.results`: where its sweeps write; None until a person has named a bucket."""
        results = (self.config.get("metadata") or {}).get("results")
        return None if results is None or PLACEHOLDER in str(results) else str(results)

    @property
    def workers(self) -> str:
        """Its node types for trials, in words."""
        types = self.config["available_node_types"]
        head = self.config["head_node_type"]
        return ", ".join(
            f"{kind['min_workers']} to {kind['max_workers']} {name}"
            for name, kind in types.items()
            if name != head
        )

    @property
    def where_to_launch(self) -> str:
        """Where `ray up` must be given, as it looks up relative paths in its working folder."""
        folder = self.path.absolute().parent
        is_elsewhere = self.syncs_relative_paths and folder != Path.cwd()
        return f"; give `ray up` in {folder}, where what it syncs lies" if is_elsewhere else ""


def load_cluster_file(path: Path) -> ClusterFile:
    """The file at `path`; what it syncs by a relative path is looked up beside it.

    Raises:
        InputError: it cannot be read, Ray refuses it, or it breaks rules; all of them are reported.
    """
    text, config = _read(path)
    completed = _complete(path, config)
    mounts = {at: Path(local).expanduser() for at, local in completed["file_mounts"].items()}
    absolute = {at: str(path.absolute().parent / local) for at, local in mounts.items()}
    completed = {**completed, "file_mounts": absolute}
    errors = [fault for rule in _RULES for fault in rule(completed)]
    if re.search(r"RAY_AUTH_TOKEN\s*[=:]", text):
        errors.append(
            "RAY_AUTH_TOKEN: the token stands in the file, and would be shared with it. Remove it, "
            "and mount the token's file instead (file_mounts)."
        )
    if errors:
        raise InputError("\n".join(f"{path}: {fault}" for fault in errors))
    has_relative = any(not local.is_absolute() for local in mounts.values())
    return ClusterFile(path, completed, has_relative)


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """The text of the file, and the mapping in it."""
    try:
        text = path.read_text()
        config = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({error}).") from error
    if not isinstance(config, dict) or not isinstance(config.get("provider"), dict):
        raise InputError(f"{path}: no cluster file: it must be a mapping with a `provider`.")
    return text, config


def _complete(path: Path, config: dict[str, Any]) -> Config:
    """`config` with Ray's defaults, after Ray's own checks."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    from mnist_ray.run.connection import quiet

    said = io.StringIO()  # of defaults that Ray fills in
    try:
        with quiet("ray.autoscaler"), redirect_stdout(said), redirect_stderr(said):
            completed: dict[str, Any] = prepare_config(config)
            validate_config(completed)
    except Exception as error:  # the schema's, ValueError, KeyError, NotImplementedError ...
        place = ".".join(map(str, getattr(error, "absolute_path", ())))
        message = getattr(error, "message", None) or str(error) or type(error).__name__
        raise InputError(
            f"{path}: {place}: Ray refuses it: {message}. Ray's reference of the fields: "
            "https://docs.ray.io/en/latest/cluster/vms/references/ray-cluster-configuration.html"
        ) from error
    return completed


def _head_runs_no_trials(config: Config) -> Iterator[str]:
    name = config["head_node_type"]
    resources = config["available_node_types"][name].get("resources") or {}
    if resources.get("CPU") != 0 or resources.get("GPU", 0) != 0:
        yield (
            f"available_node_types.{name}.resources: {dict(resources)}; a head that runs trials "
            "can run out of memory and take the whole sweep with it. Set {CPU: 0}."
        )


def _workers_tell_their_memory(config: Config) -> Iterator[str]:
    # Ray finds it on AWS by the instance type; machines that are there already tell it themselves.
    if config["provider"]["type"] in ("aws", "local"):
        return
    for name, kind in config["available_node_types"].items():
        if name != config["head_node_type"] and "memory" not in (kind.get("resources") or {}):
            yield (
                f"available_node_types.{name}.resources: no memory; trials ask for some, so none "
                "of these nodes would ever be added. Set {memory: BYTES}, 70 % of the machine's."
            )


def _only_ssh_is_open(config: Config) -> Iterator[str]:
    rules = config["provider"].get("security_group", {}).get("IpPermissions", [])
    for number, rule in enumerate(rules):
        ports = (rule.get("FromPort"), rule.get("ToPort"))
        if rule.get("IpRanges") or rule.get("Ipv6Ranges"):
            if ports == (_SSH_PORT, _SSH_PORT) and rule.get("IpProtocol") == "tcp":
                continue
            yield (
                f"provider.security_group.IpPermissions.{number}: opens ports {ports[0]} to "
                f"{ports[1]} beyond the cluster; allowed is SSH (22). Remove it, and reach the "
                "dashboard by `ray dashboard`."
            )


def _token_is_required(config: Config) -> Iterator[str]:
    everywhere = any(_TOKEN_ON in command for command in config["initialization_commands"])
    for part in ("head", "worker"):
        commands = config[f"{part}_start_ray_commands"]
        starts = [command for command in commands if "ray start" in command]
        if not everywhere and not all(_TOKEN_ON in command for command in starts):
            yield (
                f"{part}_start_ray_commands: Ray starts without {_TOKEN_ON}; anyone who reaches it "
                f"could run code. Write it before `ray start`: {_TOKEN_ON} ray start ..."
            )
    if not any(remote.endswith(_TOKEN_FILE) for remote in config["file_mounts"]):
        yield (
            f"file_mounts: the token does not reach the nodes. Add ~/{_TOKEN_FILE}: ~/{_TOKEN_FILE}"
        )


def _mounts_exist(config: Config) -> Iterator[str]:
    for remote, local in config["file_mounts"].items():
        if Path(local).exists():
            continue
        is_token = remote.endswith(_TOKEN_FILE)
        remedy = f"Make it: {MAKE_TOKEN}" if is_token else "Put it there, or correct the path."
        yield f"file_mounts.{remote}: there is no {local}. {remedy}"


def _versions_are_pinned(config: Config) -> Iterator[str]:
    # Ray has put `setup_commands` before both of these.
    for part in ("head", "worker"):
        for command in config[f"{part}_setup_commands"]:
            if "pip install" in command and not re.search(r"\s(-c|--constraints?)[\s=]", command):
                yield (
                    f"{part}_setup_commands: {command!r} takes whatever is newest that day. Pin "
                    "it: pip install -c constraints.txt ..."
                )
    mounts = map(Path, config["file_mounts"].values())
    constraints = [local for local in mounts if local.name == "constraints.txt"]
    if not constraints:
        yield "file_mounts: no constraints.txt, so nothing pins the nodes' versions. Add it."
    elif constraints[0].is_file():
        yield from _pin_faults(constraints[0])


def _pin_faults(constraints: Path) -> Iterator[str]:
    try:
        pins = read_constraints(constraints)
    except InputError as error:
        yield str(error)
        return
    for name in _MUST_PIN:
        if name not in pins:
            yield f"{constraints}: does not pin {name}. Add {name}==VERSION."
    here = importlib.metadata.version("ray")
    if pins.get("ray", here) != here:
        yield (
            f"{constraints}: pins Ray {pins['ray']}, but here is Ray {here}, and `ray up` must be "
            f"of the nodes' version. Install it here: pip install -c {constraints} ray"
        )


_RULES: tuple[Rule, ...] = (
    _head_runs_no_trials,
    _workers_tell_their_memory,
    _only_ssh_is_open,
    _token_is_required,
    _mounts_exist,
    _versions_are_pinned,
)
