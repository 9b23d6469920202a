"""What a sweep asks of Ray before it starts."""

import json
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import ray
import yaml
from packaging.requirements import Requirement
from packaging.version import Version
from ray.runtime_env.runtime_env import _merge_runtime_env
from running import PROJECT

from mnist_ray.errors import InputError
from mnist_ray.run.connection import connected, runtime_environment, this_machine
from mnist_ray.train.environment import WORKER_ENVIRONMENT


def job_environment(**environment: object) -> dict[str, str]:
    """What Ray leaves in the environment of a job's process."""
    return {"RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps({"runtime_env": environment})}


# A sweep as a job of a cluster


def test_the_job_of_the_docs_and_the_sweep_have_environments_that_ray_can_merge() -> None:
    job = yaml.safe_load((PROJECT / "docs/rayjob.yaml").read_text())
    given = yaml.safe_load(job["spec"]["runtimeEnvYAML"])
    asked = runtime_environment([], variables=job_environment(**given))
    merged = _merge_runtime_env(given, asked)
    assert merged is not None, "Ray refuses to merge them"
    assert merged["env_vars"] == {**WORKER_ENVIRONMENT, **given["env_vars"]}
    assert merged["py_modules"] == [str(PROJECT / "mnist_ray")]


def test_modules_that_the_job_ships_are_kept_beside_those_of_the_sweep() -> None:
    given = {"py_modules": ["gcs://theirs.zip"], "working_dir": "gcs://folder.zip"}
    asked = runtime_environment([Path("mine.py")], variables=job_environment(**given))
    merged = _merge_runtime_env(given, asked, override=True)
    assert merged is not None
    assert merged["py_modules"] == ["gcs://theirs.zip", str(PROJECT / "mnist_ray"), "mine.py"]
    assert merged["working_dir"] == "gcs://folder.zip"


@pytest.mark.parametrize("variables", [{}, {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}])
def test_a_sweep_that_is_no_job_sets_all_that_workers_need(variables: dict[str, str]) -> None:
    assert runtime_environment([], variables=variables)["env_vars"] == WORKER_ENVIRONMENT


# Ray in this process


def test_a_ray_that_already_runs_in_this_process_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    refused = pytest.raises(InputError, match=r"Ray already runs in this process.*ray\.shutdown")
    with refused, connected(None, verbose=False):
        raise AssertionError("it was joined")


# Versions of Ray


def requirement() -> Requirement:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    found = [Requirement(each) for each in project["dependencies"]]
    return next(each for each in found if each.name == "ray")


def test_ray_has_an_upper_bound_that_holds_the_tested_version_and_no_minor_version_after_it() -> (
    None
):
    """What Ray Tune calls, and when, is documented nowhere: a new minor version is untested."""
    constraints = (PROJECT / "constraints.txt").read_text().splitlines()
    [tested] = [Version(line[5:]) for line in constraints if line.startswith("ray==")]
    bounds = requirement().specifier
    assert version("ray") in bounds
    assert tested in bounds
    assert Version(f"{tested.major}.{tested.minor + 1}.0") not in bounds


def test_a_machine_is_described_without_what_is_private_to_ray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_it = this_machine()
    monkeypatch.setitem(sys.modules, "ray._private.resource_and_label_spec", None)
    without = this_machine()
    assert without.cpus >= 1
    assert without.gpus == 0
    assert with_it.memory_bytes / 2 < without.memory_bytes < 2 * with_it.memory_bytes
