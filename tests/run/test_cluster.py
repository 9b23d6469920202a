import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_head import free_port, running_head

from mnist_ray.errors import InputError
from mnist_ray.run import cluster
from mnist_ray.run.cluster import (
    answers_without_token,
    check_joinable,
    find_address,
    find_token,
)

TOKEN = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    with running_head({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}) as address:
        yield address


@pytest.fixture(autouse=True)
def _no_cluster_of_the_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("address", ["auto", "10.0.0.5:6379", "head.local:6379", "[::1]:6379"])
def test_addresses_of_a_cluster_are_taken(address: str) -> None:
    assert find_address(address) == address


@pytest.mark.parametrize("address", ["", "head", ":6379", "head:", "h:0", "h:65536", "::1:6379"])
def test_what_is_no_address_is_refused_with_both_forms(address: str) -> None:
    with pytest.raises(InputError, match=r"auto .* or host:port, as in 10\.0\.0\.5:6379"):
        find_address(address)


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265", "https://head:8265/x"])
def test_an_address_of_another_kind_is_refused_with_the_line_to_submit(address: str) -> None:
    line = "ray job submit --address http://head:8265 --working-dir . -- python -m mnist_ray.sweep"
    with pytest.raises(InputError, match=line):
        find_address(address)


def test_without_an_address_the_sweep_has_a_ray_of_its_own() -> None:
    assert find_address(None) is None


def test_the_variable_that_ray_sets_for_jobs_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.5:6379")
    assert find_address(None) == "10.0.0.5:6379"
    assert find_address("auto") == "10.0.0.5:6379"  # as ray.init has it
    assert find_address("10.0.0.6:6379") == "10.0.0.6:6379"
    assert find_address("local") is None


def test_a_variable_meant_for_the_jobs_api_is_named_in_the_refusal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(InputError, match="RAY_ADDRESS http://127"):
        find_address(None)


def test_where_nothing_listens_the_message_says_so() -> None:
    with pytest.raises(InputError, match="nothing answers there"):
        check_joinable(f"127.0.0.1:{free_port()}")


def test_where_something_else_listens_the_answer_is_not_awaited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "PROBE_LIMIT_SECONDS", 2.0)
    message = r"no Ray cluster answers there \(no answer in 2 s\)"
    with silent_server() as address, pytest.raises(InputError, match=message):
        check_joinable(address)


def test_a_cluster_reports_its_versions_to_whoever_has_the_token(
    head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    info = check_joinable(head)
    assert info.address == head
    assert not answers_without_token(info.address)


def test_without_the_token_a_cluster_is_not_joined(head: str) -> None:
    with pytest.raises(InputError, match=r"refuses this machine's token .* Used was none"):
        check_joinable(head)


def test_a_wrong_token_is_named_by_its_place(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)
    with pytest.raises(InputError, match="Used was RAY_AUTH_TOKEN"):
        check_joinable(head)


def test_another_ray_or_python_is_reported_before_ray_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = {"address": "10.0.0.5:6379", "ray_version": "2.9.0", "python_version": "3.9.1"}
    probed = subprocess.CompletedProcess([], 0, stdout=json.dumps(answer), stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: probed)
    with pytest.raises(InputError, match=r"Ray 2\.9\.0 on Python 3\.9\.1, but here is Ray"):
        check_joinable("10.0.0.5:6379")


def test_the_token_is_looked_for_where_ray_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_token().source == str(tmp_path / ".ray" / "auth_token")  # HOME is tmp_path
    file = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    assert not find_token().usable
    file.write_text("x")
    assert find_token().usable
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x")
    assert find_token().source == "RAY_AUTH_TOKEN"


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """`host:port` where connections are taken and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:  # the system takes the connections
        yield f"127.0.0.1:{server.getsockname()[1]}"
