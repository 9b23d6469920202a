import importlib.metadata
import re
import shutil
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from mnist_ray.errors import InputError
from mnist_ray.run.cluster_file import load_cluster_file

PROJECT = Path(__file__).parent.parent.parent
SHIPPED = PROJECT / "cluster.yaml"
RAY = importlib.metadata.version("ray")

Config = dict[str, Any]


@pytest.fixture
def shipped() -> Config:
    config: Config = yaml.safe_load(SHIPPED.read_text())
    return config


@pytest.fixture
def project(tmp_path: Path, shipped: Config, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped file and all that it syncs, as working directory; and a token."""
    home, folder = tmp_path / "home", tmp_path / "project"
    folder.mkdir()
    for local in shipped["file_mounts"].values():
        path = folder / local.replace("~", str(home))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (folder / "constraints.txt").write_text(f"ray=={RAY}\ntensorflow==2.21.0\n")
    shutil.copy(SHIPPED, folder)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)
    return folder


# --- The shipped file ----------------------------------------------------------------------------


def test_the_shipped_file_is_valid_by_rays_schema_and_our_rules(project: Path) -> None:
    found = load_cluster_file(project / "cluster.yaml")
    assert found.workers == "0 to 8 gpu_worker"
    assert found.config["idle_timeout_minutes"] == 5


def test_only_region_and_bucket_are_to_be_changed() -> None:
    marked = [line for line in SHIPPED.read_text().splitlines() if "CHANGE" in line]
    assert [line.split(":")[0].strip() for line in marked] == ["region", "results"]


def test_everything_that_is_synced_is_in_the_project(shipped: Config) -> None:
    local = [path for path in shipped["file_mounts"].values() if not path.startswith("~")]
    assert [path for path in local if not (PROJECT / path).exists()] == []


def test_the_nodes_get_one_python_and_the_laptops_constraints(shipped: Config) -> None:
    setup = " ".join(shipped["setup_commands"])
    assert re.search(r"--python 3\.1[1-3]\.\d+ ", setup)
    for part in ("head_setup_commands", "worker_setup_commands"):
        (install,) = shipped[part]
        assert "-c ~/mnist-ray/constraints.txt" in install
    assert "[cluster,cuda]" in shipped["worker_setup_commands"][0]


def test_the_token_travels_as_a_file_and_every_ray_asks_for_it(shipped: Config) -> None:
    assert shipped["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for part in ("head_start_ray_commands", "worker_start_ray_commands"):
        assert "RAY_AUTH_MODE=token" in shipped[part][-1]
    assert "RAY_AUTH_TOKEN" not in SHIPPED.read_text()


def test_the_results_are_unknown_until_a_bucket_is_named(project: Path) -> None:
    assert load_cluster_file(project / "cluster.yaml").results is None
    edited = project / "mine.yaml"
    edited.write_text(SHIPPED.read_text().replace("YOUR-BUCKET", "digits"))
    assert load_cluster_file(edited).results == "s3://digits/mnist-ray"


# --- What comes up on AWS ------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """An AWS account, as it is after Ray has set up the cluster and started one node a type."""

    config: Config
    instances: dict[str, Config]
    """By their type, as EC2 describes them."""
    open_ports: list[tuple[str, int | None, str]]
    """Protocol, port and who is let in, of each inbound rule of the cluster's security group."""
    policies: list[str]


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    moto = pytest.importorskip("moto")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # Ray keeps an SSH key there
        patch.setenv("AWS_ACCESS_KEY_ID", "none")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        patch.delenv("AWS_PROFILE", raising=False)
        with moto.mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
            from ray.autoscaler._private.aws import config as aws

            # Ray waits half a minute for AWS to hear of a new role.
            patch.setattr(aws, "time", types.SimpleNamespace(sleep=lambda _: None))
            yield _start_one_of_each()


def _start_one_of_each() -> Account:
    import boto3
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(SHIPPED.read_text()))
    validate_config(config)
    config = AWSNodeProvider.bootstrap_config(config)
    config = AWSNodeProvider.fillout_available_node_types_resources(config)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, kind in config["available_node_types"].items():
        own = config["head_node"] if name == config["head_node_type"] else {}
        provider.create_node({**kind["node_config"], **own}, {"ray-user-node-type": name}, 1)
    region = config["provider"]["region"]
    client = boto3.client("ec2", region_name=region)
    reservations = client.describe_instances()["Reservations"]
    instances = [instance for one in reservations for instance in one["Instances"]]
    (group,) = {group["GroupId"] for one in instances for group in one["SecurityGroups"]}
    rules = boto3.resource("ec2", region_name=region).SecurityGroup(group).ip_permissions
    role = boto3.resource("iam").Role("ray-autoscaler-v1")
    return Account(
        config=config,
        instances={one["InstanceType"]: one for one in instances},
        open_ports=[
            (rule["IpProtocol"], rule.get("FromPort"), who)
            for rule in rules
            for who in [
                *(pair["GroupId"] for pair in rule["UserIdGroupPairs"]),
                *(block["CidrIp"] for block in rule["IpRanges"]),
            ]
        ],
        policies=sorted(policy.policy_name for policy in role.attached_policies.all()),
    )


def test_the_head_is_small_on_demand_and_without_trials(account: Account) -> None:
    head = account.instances["m5.large"]
    assert "InstanceLifecycle" not in head
    kind = account.config["available_node_types"]["head"]
    assert kind["resources"] == {"CPU": 0}
    assert kind["max_workers"] == 0


def test_the_workers_are_spot_with_a_gpu_and_scale_from_zero(account: Account) -> None:
    assert account.instances["g4dn.xlarge"]["InstanceLifecycle"] == "spot"
    kind = account.config["available_node_types"]["gpu_worker"]
    assert kind["resources"]["GPU"] == 1  # found by Ray, from the instance type
    assert kind["resources"]["CPU"] == 4
    assert (kind["min_workers"], kind["max_workers"]) == (0, 8)
    assert account.config["idle_timeout_minutes"] == 5


def test_no_port_but_sshs_is_open_beyond_the_cluster(account: Account) -> None:
    (group,) = {
        identity
        for kind in account.config["available_node_types"].values()
        for identity in kind["node_config"]["SecurityGroupIds"]
    }
    beyond = [rule for rule in account.open_ports if rule[2] != group]
    assert beyond == [("tcp", 22, "0.0.0.0/0")]


def test_head_and_workers_may_write_to_s3(account: Account) -> None:
    profiles = {one["IamInstanceProfile"]["Arn"] for one in account.instances.values()}
    assert [arn.partition("/")[2] for arn in profiles] == ["ray-autoscaler-v1"]
    assert account.policies == ["AmazonEC2FullAccess", "AmazonS3FullAccess"]


# --- Our rules -----------------------------------------------------------------------------------


def _open_dashboard(config: Config) -> None:
    config["provider"]["security_group"]["IpPermissions"] = [
        {
            "FromPort": 8265,
            "ToPort": 8265,
            "IpProtocol": "tcp",
            "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
        }
    ]


def _trials_on_head(config: Config) -> None:
    config["available_node_types"]["head"]["resources"] = {}


def _no_auth(config: Config) -> None:
    config["initialization_commands"] = []
    config["worker_start_ray_commands"] = ["ray start --address=$RAY_HEAD_IP:6379"]


def _no_token(config: Config) -> None:
    del config["file_mounts"]["~/.ray/auth_token"]


def _token_in_file(config: Config) -> None:
    config["setup_commands"].append("export RAY_AUTH_TOKEN=0123456789")


def _missing_folder(config: Config) -> None:
    config["file_mounts"]["~/more"] = "more"


def _unpinned(config: Config) -> None:
    config["setup_commands"].append("pip install ray")


def _no_memory(config: Config) -> None:
    config["provider"]["type"] = "gcp"
    config["available_node_types"]["gpu_worker"]["resources"] = {"CPU": 4, "GPU": 1}


def _misspelt(config: Config) -> None:
    config["max_worker"] = 3


def _unknown_provider(config: Config) -> None:
    config["provider"]["type"] = "awsome"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_open_dashboard, r"opens ports 8265 to 8265 beyond the cluster; allowed is SSH \(22\)"),
        (_trials_on_head, r"head\.resources: \{\}; .* Set \{CPU: 0\}"),
        (_no_auth, r"worker_start_ray_commands: Ray starts without RAY_AUTH_MODE=token"),
        (_no_token, r"file_mounts: the token does not reach the nodes"),
        (_token_in_file, r"RAY_AUTH_TOKEN: the token stands in the file"),
        (_missing_folder, r"file_mounts\.~/more: there is no .*/more"),
        (_unpinned, r"'pip install ray' takes whatever is newest that day"),
        (_no_memory, r"gpu_worker\.resources: no memory; .* Set \{memory: BYTES\}"),
        (_misspelt, r"Ray refuses it: .*'max_worker' was unexpected"),
        (_unknown_provider, r"Ray refuses it: .*awsome"),
    ],
)
def test_a_file_that_would_bring_up_a_bad_cluster_is_refused(
    project: Path, shipped: Config, change: Callable[[Config], None], message: str
) -> None:
    change(shipped)
    edited = project / "mine.yaml"
    edited.write_text(yaml.safe_dump(shipped))
    with pytest.raises(InputError, match=message):
        load_cluster_file(edited)


def test_all_broken_rules_are_reported_at_once(project: Path, shipped: Config) -> None:
    for change in (_open_dashboard, _trials_on_head, _no_auth):
        change(shipped)
    edited = project / "mine.yaml"
    edited.write_text(yaml.safe_dump(shipped))
    with pytest.raises(InputError) as refusal:
        load_cluster_file(edited)
    assert len(str(refusal.value).splitlines()) == 3


def test_a_missing_token_is_reported_with_the_command_that_makes_it(project: Path) -> None:
    Path("~/.ray/auth_token").expanduser().unlink()
    with pytest.raises(InputError, match="ray get-auth-token --generate"):
        load_cluster_file(project / "cluster.yaml")


def test_constraints_of_another_ray_than_the_one_here_are_refused(project: Path) -> None:
    (project / "constraints.txt").write_text("ray==2.9.0\ntensorflow==2.21.0\n")
    with pytest.raises(InputError, match=f"pins Ray 2.9.0, but here is Ray {RAY}"):
        load_cluster_file(project / "cluster.yaml")


def test_constraints_that_leave_tensorflow_open_are_refused(project: Path) -> None:
    (project / "constraints.txt").write_text(f"ray=={RAY}\ntensorflow>=2.20\n")
    with pytest.raises(InputError, match="does not pin tensorflow"):
        load_cluster_file(project / "cluster.yaml")


def test_from_another_folder_the_file_is_examined_and_where_to_launch_it_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_cluster_file(Path("cluster.yaml")).where_to_launch == ""
    monkeypatch.chdir(tmp_path)
    found = load_cluster_file(project / "cluster.yaml")
    assert f"give `ray up` in {project}" in found.where_to_launch


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "cluster_name: x\n"])
def test_what_is_no_cluster_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"cluster\.yaml: "):
        load_cluster_file(path)


# --- GCP and Kubernetes --------------------------------------------------------------------------


def test_the_parts_for_gcp_make_a_file_that_ray_and_our_rules_accept(
    project: Path, shipped: Config
) -> None:
    page = (PROJECT / "docs" / "cluster.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    edited = project / "gcp.yaml"
    edited.write_text(yaml.safe_dump({**shipped, **yaml.safe_load(block)}))
    assert load_cluster_file(edited).config["provider"]["type"] == "gcp"


# The fields of KubeRay's custom resources that a person sets, as its API reference (v1.6) has them:
# https://ray-project.github.io/kuberay/reference/api/
RAY_JOB_SPEC = {
    "activeDeadlineSeconds": int,
    "backoffLimit": int,
    "rayClusterSpec": dict,
    "submitterPodTemplate": dict,
    "metadata": dict,
    "clusterSelector": dict,
    "submitterConfig": dict,
    "managedBy": str,
    "deletionStrategy": dict,
    "entrypoint": str,
    "runtimeEnvYAML": str,
    "jobId": str,
    "submissionMode": str,
    "entrypointResources": str,
    "entrypointNumCpus": float,
    "entrypointNumGpus": float,
    "ttlSecondsAfterFinished": int,
    "shutdownAfterJobFinishes": bool,
    "suspend": bool,
}
RAY_CLUSTER_SPEC = {
    "suspend": bool,
    "managedBy": str,
    "authOptions": dict,
    "autoscalerOptions": dict,
    "headServiceAnnotations": dict,
    "enableInTreeAutoscaling": bool,
    "gcsFaultToleranceOptions": dict,
    "headGroupSpec": dict,
    "rayVersion": str,
    "workerGroupSpecs": list,
}
HEAD_GROUP_SPEC = {
    "template": dict,
    "headService": dict,
    "enableIngress": bool,
    "rayStartParams": dict,
    "serviceType": str,
}
WORKER_GROUP_SPEC = {
    "suspend": bool,
    "groupName": str,
    "replicas": int,
    "minReplicas": int,
    "maxReplicas": int,
    "idleTimeoutSeconds": int,
    "rayStartParams": dict,
    "template": dict,
    "scaleStrategy": dict,
    "numOfHosts": int,
}
AUTOSCALER_OPTIONS = {
    "resources": dict,
    "image": str,
    "imagePullPolicy": str,
    "securityContext": dict,
    "idleTimeoutSeconds": int,
    "upscalingMode": str,
    "version": str,
    "env": list,
    "envFrom": list,
    "volumeMounts": list,
}
AUTH_OPTIONS = {"mode": str, "secretName": str, "enableK8sTokenAuth": bool}


@pytest.fixture
def job() -> Config:
    manifest: Config = yaml.safe_load((PROJECT / "docs" / "rayjob.yaml").read_text())
    return manifest


def test_the_ray_job_has_only_fields_that_the_custom_resource_knows(job: Config) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    _assert_fields(job["spec"], RAY_JOB_SPEC)
    _assert_fields(cluster, RAY_CLUSTER_SPEC)
    _assert_fields(cluster["authOptions"], AUTH_OPTIONS)
    _assert_fields(cluster["autoscalerOptions"], AUTOSCALER_OPTIONS)
    _assert_fields(cluster["headGroupSpec"], HEAD_GROUP_SPEC)
    for group in cluster["workerGroupSpecs"]:
        _assert_fields(group, WORKER_GROUP_SPEC)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        # The operator passes them on as text; a number here is refused by Kubernetes.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert set(group["template"]) <= {"metadata", "spec"}
    assert isinstance(yaml.safe_load(job["spec"]["runtimeEnvYAML"]), dict)


def test_the_ray_job_is_the_same_cluster_as_on_aws(job: Config, shipped: Config) -> None:
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    assert spec["shutdownAfterJobFinishes"]
    assert spec["entrypoint"].startswith("python -m mnist_ray.sweep --results s3://")
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["enableInTreeAutoscaling"]
    idle = cluster["autoscalerOptions"]["idleTimeoutSeconds"]
    assert idle == 60 * shipped["idle_timeout_minutes"]
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert (workers["minReplicas"], workers["maxReplicas"]) == (0, shipped["max_workers"])
    limits = workers["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == "1"


def _assert_fields(given: Config, known: dict[str, type]) -> None:
    wrong = [name for name, value in given.items() if not isinstance(value, known.get(name, ()))]
    assert wrong == []
