"""The command before anything runs: help, what it refuses, and what a dry run says."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import made_up_record, made_up_sweep, made_up_test_set, on_device
from running import Place, opened, write_images, write_space

import mnist_ray
from mnist_ray.data.dataset import load_dataset
from mnist_ray.errors import InputError
from mnist_ray.ledger.identity import digest
from mnist_ray.ledger.ledger import Ledger
from mnist_ray.ledger.results_folder import ResultsFolder
from mnist_ray.plan.dataset_info import DatasetInfo
from mnist_ray.plan.planner import plan
from mnist_ray.space.space import load_space

SPACE = {
    "name": "small",
    "dataset": "small.npz",
    "architectures": {"feed_forward": {"hidden_units": [8]}},
    "variants": {"centered": {}},
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder with a search space of one small cell, and its images."""
    write_space(tmp_path / "small.yaml", SPACE)
    write_images(tmp_path / "small.npz", train=60, test=40)
    with opened(tmp_path) as place:
        yield place


def refusal(place: Place, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What the command says when it refuses, after checking that it does no more than that."""
    before = contents(place.folder)
    ended = place.run(*arguments, environment=environment, limit=60)
    assert ended.code == 2, ended
    assert "Traceback" not in ended.errors
    assert ended.errors.startswith("mnist-ray sweep: "), ended.errors
    assert place.ray_sessions == []
    assert contents(place.folder) == before
    return ended.errors


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in found}


# --- What is quick ---------------------------------------------------------------------------


def modules_after(statement: str) -> set[str]:
    """The top-level modules that are loaded after a statement in a fresh Python."""
    program = f"import sys\n{statement}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


HEAVY = {"tensorflow", "keras", "ray", "pandas", "scipy", "sklearn", "matplotlib", "numpy", "rich"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not HEAVY & modules_after("import mnist_ray")


def test_help_imports_nothing_heavy() -> None:
    statement = (
        "from mnist_ray.sweep import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as ended: assert not ended.code"
    )
    assert not HEAVY & modules_after(statement)


def test_a_dry_run_says_what_would_run_and_leaves_no_trace(place: Place) -> None:
    before = contents(place.folder)
    ended = place.run("small.yaml", "--trials", "5", "--dry-run")
    assert ended.code == 0
    assert "5 trials wanted, 0 already recorded, 5 to run" in ended.output
    assert ended.errors == ""
    assert place.ray_sessions == []
    assert contents(place.folder) == before


OVERCONFIDENT = """
import keras

def build(shape, classes):
    layers = [keras.layers.Flatten(), keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input(shape), *layers])
"""


@pytest.mark.parametrize("dry", [["--dry-run"], []], ids=["dry run", "sweep"])
def test_a_dry_run_refuses_what_a_sweep_refuses(place: Place, dry: list[str]) -> None:
    (place.folder / "overconfident.py").write_text(OVERCONFIDENT)
    mine = {"mine": {"build": "overconfident:build"}}
    write_space(place.folder / "logits.yaml", {**SPACE, "name": "logits", "architectures": mine})
    before = contents(place.folder)
    for arguments, part in [
        (["logits.yaml"], "no probabilities"),
        (["small.yaml", "--cpus-per-trial", "512"], "no machine can hold a trial"),
        (["small.yaml", "--gpus-per-trial", "64"], "no machine can hold a trial"),
        (["small.yaml", "--results", "small.yaml"], "cannot be written"),
    ]:
        assert part in refusal(place, *arguments, *dry)
    if dry:
        assert contents(place.folder) == before


# --- Search spaces ---------------------------------------------------------------------------


def test_a_space_that_does_not_exist_is_refused_with_those_that_do(place: Place) -> None:
    message = refusal(place, "notebok")
    assert '"notebok"; did you mean "notebook"?' in message.replace(" (", "; ")
    for name in ("digits", "notebook"):
        assert name in message


# What else can be wrong with a space is tested in tests/space.
def test_all_faults_of_a_space_are_reported_at_once(place: Place) -> None:
    space = {
        **SPACE,
        "architectures": {"cnn": {"filter": [4]}},
        "variants": {"shifted": {"shift": -1}},
        "training": {"validation_split": 1.0, "epochs": "many"},
        "trials": 0,
        "sed": 1,
    }
    write_space(place.folder / "bad.yaml", space)
    message = refusal(place, "bad.yaml")
    parts = ("bad.yaml", "filters", "shift", "-1", "validation_split", "many", "trials", "seed")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        pytest.param(
            {"variants": {"shifted": {"shift": 4, "canvas": 30}}},
            ["canvas", "30", "at least 32"],
            id="a_canvas_smaller_than_image_and_shift",
        ),
        pytest.param(
            {"architectures": {"mine": {"build": "no_such_module:build"}}},
            ["no_such_module", "beside the search space"],
            id="an_architecture_in_no_module",
        ),
    ],
)
def test_a_space_that_cannot_run_is_refused(
    place: Place, changes: dict[str, object], parts: list[str]
) -> None:
    write_space(place.folder / "bad.yaml", {**SPACE, **changes})
    message = refusal(place, "bad.yaml")
    for part in parts:
        assert part in message


def test_an_architecture_whose_import_fails_is_refused(place: Place) -> None:
    (place.folder / "own.py").write_text("import no_such_thing\n")
    architectures = {"mine": {"build": "own:build", "width": 3}}
    write_space(place.folder / "own.yaml", {**SPACE, "architectures": architectures})
    message = refusal(place, "own.yaml")
    for part in ("own:build", "cannot be imported", "no_such_thing"):
        assert part in message


# --- Options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["--trials", "0"],
        ["--trials", "1.5"],
        ["--seed", "-1"],
        ["--max-concurrent", "0"],
        ["--cpus-per-trial", "none"],
        ["--gpus-per-trial", "1.5"],
        ["--trails", "3"],
    ],
    ids=" ".join,
)
def test_an_option_out_of_range_is_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from mnist_ray.sweep import main

    with pytest.raises(SystemExit) as ended:
        main(["digits", *options])
    assert ended.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_results_that_cannot_be_written_are_refused(place: Place) -> None:
    (place.folder / "occupied").write_text("a file, where a folder would have to be")
    message = refusal(place, "small.yaml", "--results", "occupied/results")
    assert "occupied/results" in message
    assert "--results" in message


def test_results_of_an_unknown_kind_are_refused(place: Place) -> None:
    assert "ftp://host/folder" in refusal(place, "small.yaml", "--results", "ftp://host/folder")


def test_a_cluster_that_does_not_answer_is_refused_within_seconds(place: Place) -> None:
    with socket.socket() as probe:  # a port that nobody listens at
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    begin = time.monotonic()
    assert address in refusal(place, "small.yaml", "--address", address)
    assert time.monotonic() - begin < 20  # Ray itself waits for minutes


@pytest.fixture
def without_network(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A proxy that refuses, and an empty cache of Keras'."""
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    proxies = dict.fromkeys(names, "http://127.0.0.1:1")
    cache = str(tmp_path_factory.mktemp("keras"))
    return {**proxies, "no_proxy": "", "NO_PROXY": "", "KERAS_HOME": cache}


# --- Images ----------------------------------------------------------------------------------


# What else can be wrong with images is tested in tests/data.
def test_images_that_cannot_be_read_are_refused(place: Place) -> None:
    whole = (place.folder / "small.npz").read_bytes()
    (place.folder / "bad.npz").write_bytes(whole[: len(whole) // 2])
    message = refusal(place, "notebook", "--data", "bad.npz")
    assert (
        "bad.npz: not an .npz file; it begins as one, but its end is missing or damaged" in message
    )


def test_images_that_a_variable_names_are_looked_at_likewise(place: Place) -> None:
    message = refusal(place, "notebook", environment={"MNIST_RAY_DATA": "nowhere.npz"})
    assert "nowhere.npz" in message


def test_mnist_by_name_without_a_network_is_refused_with_the_ways_out(
    place: Place, without_network: dict[str, str]
) -> None:
    message = refusal(place, "notebook", environment=without_network)
    for way_out in ("--data", "mnist.npz", "digits"):
        assert way_out in message


def test_without_a_name_and_a_network_digits_stand_in_and_it_is_said(
    place: Place, without_network: dict[str, str]
) -> None:
    # Results that cannot be written end it where it would start.
    ended = place.run("--results", "small.npz/results", environment=without_network)
    assert ended.code == 2, ended
    assert "This is not MNIST" in ended.output
    assert "4 cells on digits" in ended.output


# --- The ledger ------------------------------------------------------------------------------


def test_a_ledger_of_a_newer_protocol_is_refused_and_left_alone(place: Place) -> None:
    made_up = made_up_sweep(trials=1)
    record = next(iter(made_up.records.values()))
    identity = {**record.identity, "protocol": 1000}
    folder = ResultsFolder.open(place.folder / "results", "small")
    Ledger(folder).write([replace(record, key=digest(identity), identity=identity)])
    message = refusal(place, "small.yaml")
    assert "protocol 1000" in message
    assert "newer mnist_ray" in message


def recorded(place: Place) -> Path:
    """The ledger of the small space with all its trials recorded, and one file that is damaged."""
    space = load_space(place.folder / "small.yaml")
    dataset = load_dataset(space.dataset, base=place.folder)
    dataset_info = DatasetInfo.of(dataset, sources={})
    folder = ResultsFolder.open(place.folder / "results", space.name)
    records = []
    for trial in plan(space, dataset_info, {}).missing:
        rng = np.random.default_rng(trial.index)
        test_set = made_up_test_set(len(dataset.test_labels))
        records.append(made_up_record(trial, 0.9, test_set=test_set, rng=rng))
    Ledger(folder).write(records)
    folder.write("ledger/broken.parquet", b"PAR1, and then nothing")
    return Path(folder.path) / "ledger"


def test_a_dry_run_changes_nothing_in_a_ledger_with_a_damaged_file(place: Place) -> None:
    recorded(place)
    before = contents(place.folder)
    ended = place.run("small.yaml", "--dry-run")
    assert ended.code == 0, ended
    assert "ledger/broken.parquet is damaged" in ended.errors
    assert contents(place.folder) == before


def test_a_sweep_sets_a_damaged_file_aside(place: Place) -> None:
    ledger = recorded(place)
    ended = place.run("small.yaml")
    assert ended.code == 0, ended
    assert "broken.parquet.damaged" in ended.errors
    assert (ledger / "broken.parquet.damaged").read_bytes() == b"PAR1, and then nothing"
    assert not (ledger / "broken.parquet").exists()


# --- Records of another device ---------------------------------------------------------------

ON_CPUS = ["--gpus-per-trial", "0"]


def recorded_on_a_card(place: Place) -> None:
    """Two trials of the small space."""
    dataset = load_dataset("small.npz", base=place.folder)
    ledger = Ledger(ResultsFolder.open(place.folder / "results", "small"))
    test_set = made_up_test_set(len(dataset.test_labels))
    space = load_space(place.folder / "small.yaml")
    for trial in plan(space, DatasetInfo.of(dataset, sources={}), {}).missing[:2]:
        rng = np.random.default_rng(trial.index)
        record = made_up_record(trial, 0.8 + 0.1 * trial.index, test_set=test_set, rng=rng)
        ledger.write([on_device(record, "NVIDIA H100")])


@pytest.mark.parametrize("dry", [["--dry-run"], []], ids=["dry run", "sweep"])
def test_decisions_that_began_on_a_card_are_not_continued_on_cpus(
    place: Place, dry: list[str]
) -> None:
    recorded_on_a_card(place)
    rule = {"until_ci95": 0.001, "at_least": 2, "at_most": 9}
    write_space(place.folder / "small.yaml", {**SPACE, "trials": rule})
    message = refusal(place, "small.yaml", *ON_CPUS, *dry)
    assert "2 on NVIDIA H100; the next ones would run on CPU" in message


def test_a_dry_run_says_that_recorded_trials_ran_on_a_card(place: Place) -> None:
    recorded_on_a_card(place)
    ended = place.run("small.yaml", *ON_CPUS, "--dry-run")
    assert ended.code == 0, ended
    assert ended.errors.count("2 on NVIDIA H100; the next ones would run on CPU") == 1


# --- From Python -----------------------------------------------------------------------------


def test_from_python_bad_input_is_an_exception(place: Place) -> None:
    with pytest.raises(InputError, match="no search space"):
        mnist_ray.run_sweep("no_such_space")
    with pytest.raises(InputError, match="trials"):
        mnist_ray.run_sweep(place.folder / "small.yaml", trials=0)


def test_from_python_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="trails"):
        mnist_ray.run_sweep("digits", trails=3)
