"""What the chart promises to the cluster, and to the services that it starts."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from llegada.messaging.rights import OPERATORS_USER, TOPOLOGY_USER
from llegada.runtime.cli import _parser
from llegada.runtime.database import own_role
from llegada.runtime.discovery import installed
from llegada.runtime.settings import RuntimeSettings
from llegada_dev import deploy
from llegada_dev.cluster import ROOT
from llegada_dev.settings_table import of_service, variables

from .conftest import SETS, SITE, Manifest, Rendered, helm

SERVICES = installed()
DRIVERS_OWN = "PGSSLROOTCERT"
"""Read by asyncpg and libpq themselves (postgresql.org/docs/current/libpq-envars.html)."""
CORE = re.compile(r"^(v1|[a-z]+/v[0-9]|[a-z.]+\.k8s\.io/v[0-9]+)$")


def service_of(deployment: Manifest) -> str:
    name: str = deployment["metadata"]["labels"]["app.kubernetes.io/name"]
    return name


def container(deployment: Manifest) -> Manifest:
    found: Manifest = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


def environment(deployment: Manifest) -> dict[str, Manifest]:
    return {entry["name"]: entry for entry in container(deployment)["env"]}


@pytest.mark.parametrize("values", SETS)
def test_helm_finds_nothing_to_mend(chart: Path, values: str) -> None:
    done = helm("lint", "--strict", str(chart), *SETS[values], *SITE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "wrong",
    ["services.payment-worker.replicas=0", "broker.cluster.replicas=2", "queueEnabled=maybe", "imagee.tag=1",
     "database.cluster.enabled=false", "broker.cluster.enabled=false"],
)  # fmt: skip
def test_wrong_values_are_refused(chart: Path, wrong: str) -> None:
    assert helm("template", "llegada", str(chart), *SITE, "--set", wrong).returncode != 0


def test_every_core_object_is_valid_by_kubernetes_own_schema(rendered: Rendered, tmp_path: Path) -> None:
    core = [one for one in rendered.objects if CORE.match(one["apiVersion"]) and "gateway" not in one["apiVersion"]]
    assert len(core) >= 15
    target = tmp_path / "objects.yaml"
    target.write_text("\n---\n".join(json.dumps(one) for one in core))
    command = [str(deploy.PYTHON.parent / "kubernetes-validate"), "--strict", "--version", "1.37", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_custom_object_is_valid_by_its_operators_schema(rendered: Rendered, tmp_path: Path) -> None:
    custom = [one for one in rendered.objects if not CORE.match(one["apiVersion"]) or "gateway" in one["apiVersion"]]
    target = tmp_path / "objects.json"
    target.write_text(json.dumps(custom))
    command = [str(deploy.PYTHON), str(Path(__file__).parent / "custom.py"), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("valid") == len(custom)


def test_one_deployment_per_service(rendered: Rendered) -> None:
    assert sorted(map(service_of, rendered.of("Deployment"))) == sorted(SERVICES)


def test_every_variable_is_a_setting_and_every_needed_one_is_given(rendered: Rendered) -> None:
    for one in rendered.of("Deployment"):
        service, given = service_of(one), environment(one)
        works_for_all = rendered.name == "switched-off" and SERVICES[service].keeps_dead_letters
        theirs = SERVICES if works_for_all else [service]
        known = variables(RuntimeSettings) | {n: f for name in theirs for n, f in of_service(name).items()}
        used = {name for entry in given.values() for name in re.findall(r"\$\(([A-Z_]+)\)", entry.get("value", ""))}
        assert set(given) <= set(known) | used | {DRIVERS_OWN}, service
        needed = {name for name, field in known.items() if field.is_required()}
        assert needed <= set(given), service
        assert len(given) == len(container(one)["env"]), "a variable is given twice"


def test_values_pass_the_services_own_validation(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    """With something plausible for each secret, a process would accept its settings."""
    for one in rendered.of("Deployment"):
        with monkeypatch.context() as environ:
            for name, entry in environment(one).items():
                if "value" in entry:
                    environ.setenv(name, entry["value"])
                elif entry["valueFrom"]["secretKeyRef"].get("optional"):
                    continue  # the process starts without it
                elif any(part in name for part in ("MERCHANTS", "ACCOUNTS", "GATEWAYS", "SECRETS")):
                    environ.setenv(name, "{}")
                else:
                    environ.setenv(name, "x" * 40)
            RuntimeSettings()
            SERVICES[service_of(one)].settings()


def test_secrets_come_by_reference(rendered: Rendered) -> None:
    for one in rendered.of("Deployment"):
        own = deploy.services()[service_of(one)]
        secret = [*own.get("secretSettings", []), *own.get("optionalSecretSettings", [])]
        for name, entry in environment(one).items():
            if name in secret or name.endswith("PASSWORD"):
                assert set(entry["valueFrom"]) == {"secretKeyRef"}
    assert not rendered.of("Secret")


def test_each_service_has_its_own_login_and_broker_user(rendered: Rendered) -> None:
    for one in rendered.of("Deployment"):
        service, given = service_of(one), environment(one)
        assert f"://{own_role(SERVICES[service].package)}:$(" in given["DATABASE_URL"]["value"]
        assert f"://{service}:$(" in given["AMQP_URL"]["value"]
        assert given["DATABASE_PASSWORD"]["valueFrom"]["secretKeyRef"]["key"] == service


def test_probes_ask_for_what_every_process_answers(rendered: Rendered) -> None:
    web = (ROOT / "shared/src/llegada/runtime/web.py").read_text()
    for one in rendered.of("Deployment"):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert f'case "{container(one)[probe]["httpGet"]["path"]}"' in web
        ports = {port["name"]: port["containerPort"] for port in container(one)["ports"]}
        assert str(ports["http"]) == environment(one)["PORT"]["value"]


def test_a_pod_is_given_longer_than_its_drain(rendered: Rendered) -> None:
    for one in rendered.of("Deployment"):
        pod = one["spec"]["template"]["spec"]
        drain = float(environment(one)["DRAIN_SECONDS"]["value"])
        before = container(one)["lifecycle"]["preStop"]["sleep"]["seconds"]
        after = 5 + 5 + 5  # broker's stop, relay, uvicorn (runtime/run.py)
        assert pod["terminationGracePeriodSeconds"] > before + drain + after


def test_nothing_runs_as_root_or_writes_to_its_image(rendered: Rendered) -> None:
    for one in [*rendered.of("Deployment"), *rendered.of("Job")]:
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for part in [*pod["initContainers"], *pod["containers"]]:
            context = part["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"]["drop"] == ["ALL"]
            assert {"requests", "limits"} <= set(part["resources"])


def test_every_command_is_one_that_llegada_has(rendered: Rendered) -> None:
    for one in [*rendered.of("Deployment"), *rendered.of("Job")]:
        pod = one["spec"]["template"]["spec"]
        for part in [*pod["initContainers"], *pod["containers"]]:
            chosen = _parser().parse_args([str(argument) for argument in part["args"]])
            assert set(getattr(chosen, "services", [])) <= set(SERVICES)


def test_a_release_prepares_database_rights_and_queues_in_this_order(rendered: Rendered) -> None:
    (job,) = rendered.of("Job")
    pod = job["spec"]["template"]["spec"]
    assert [part["name"] for part in [*pod["initContainers"], *pod["containers"]]] == ["migrate", "rights", "topology"]
    assert "helm.sh/hook" not in job["metadata"].get("annotations", {})


def test_every_worker_can_scale_and_never_to_nothing(rendered: Rendered) -> None:
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]
        for kind in ("ScaledObject", "HorizontalPodAutoscaler")
        for one in rendered.of(kind)
    }
    if rendered.name != "three-zones":
        assert not scaled
        return
    assert scaled == {f"llegada-{service}" for service in SERVICES}
    for one in rendered.of("ScaledObject"):
        assert one["spec"]["minReplicaCount"] >= 1
        queues = [trigger["metadata"]["queueName"] for trigger in one["spec"]["triggers"]]
        assert queues[1] == f"{queues[0]}.bulk"


def test_pods_reach_database_broker_and_their_providers_alone(rendered: Rendered) -> None:
    policies = {one["metadata"]["name"].removeprefix("llegada-"): one["spec"] for one in rendered.of("NetworkPolicy")}
    assert set(policies) == {*SERVICES, "prepare"}
    for service, own in deploy.services().items():
        spec = policies[service]
        assert spec["policyTypes"] == ["Ingress", "Egress"]
        outside = {port["port"] for rule in spec["egress"] for port in rule["ports"] if "ipBlock" in json.dumps(rule)}
        if rendered.name != "switched-off":
            assert outside == {egress["port"] for egress in own.get("egress", [])}


def test_the_outside_reaches_no_metrics_and_no_operators_part(rendered: Rendered) -> None:
    for route in rendered.of("HTTPRoute"):
        if route["metadata"]["name"].endswith("-maintenance"):
            continue
        leading = [
            m["path"]["value"] for rule in route["spec"]["rules"] if "backendRefs" in rule for m in rule["matches"]
        ]
        assert leading
        assert all(path.startswith("/api/") or path == "/api" for path in leading)
        closed = [rule for rule in route["spec"]["rules"] if rule["matches"][0]["path"]["value"] == "/api/admin"]
        assert closed
        assert "backendRefs" not in closed[0]


def test_the_database_knows_a_login_for_every_service(rendered: Rendered) -> None:
    for cluster in rendered.objects:
        if cluster["apiVersion"].startswith("postgresql.cnpg.io"):
            roles = {role["name"]: role for role in cluster["spec"]["managed"]["roles"]}
            shared = {"llegada_app", "llegada_system", "llegada_embedded"}
            assert set(roles) == shared | {own_role(s.package) for s in SERVICES.values()}
            off = rendered.name == "switched-off"
            for service in SERVICES.values():
                wanted = shared - (set() if off else {"llegada_embedded"}) if service.keeps_dead_letters else set()
                assert set(roles[own_role(service.package)].get("inRoles", [])) == wanted


def test_the_release_lets_the_api_act_for_all_only_with_the_queue_switched_off(rendered: Rendered) -> None:
    [prepare] = rendered.of("Job")
    migrates = prepare["spec"]["template"]["spec"]["initContainers"][0]["args"]
    assert ("--embedded" in migrates) == (rendered.name == "switched-off")


@pytest.mark.parametrize("pools_of_the_api", [2, len(SERVICES) + 1], ids=["queue on", "queue off"])
def test_the_database_has_a_connection_for_every_pool_of_the_most_replicas(
    rendered: Rendered, pools_of_the_api: int
) -> None:
    """One pod more of each while it is replaced (maxSurge 1), and two connections each besides (sizing.md).

    With the queue off the API has a pool for every schema, and one for people.
    """
    clusters = [one for one in rendered.objects if one["apiVersion"].startswith("postgresql.cnpg.io")]
    most = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"].get("maxReplicas") or one["spec"].get("maxReplicaCount")
        for kind in ("ScaledObject", "HorizontalPodAutoscaler")
        for one in rendered.of(kind)
    }
    wanted = 0
    for one in rendered.of("Deployment"):
        pods = 1 + (most.get(one["metadata"]["name"]) or one["spec"]["replicas"])
        pools = pools_of_the_api if SERVICES[service_of(one)].keeps_dead_letters else 1
        wanted += pods * (pools * int(environment(one)["DATABASE_POOL"]["value"]) + 2)
    for cluster in clusters:
        reserved = 5  # the operator's own, and PostgreSQL's for superusers
        assert wanted + reserved <= int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


def test_who_does_everybodys_work_has_the_memory_for_a_statement(rendered: Rendered) -> None:
    found = {service_of(one): one for one in rendered.of("Deployment")}
    limits = {name: container(one)["resources"]["limits"]["memory"] for name, one in found.items()}
    documents = environment(found["reservation-api"]).get("BACKOFFICE_WORKER_PARALLEL_DOCUMENTS")
    if rendered.name == "switched-off":
        assert limits["reservation-api"] == limits["backoffice-worker"] == "1536Mi"
        assert documents is not None
        assert documents["value"] == "1"
    else:
        assert limits["reservation-api"] != limits["backoffice-worker"]
        assert documents is None


def test_the_guide_names_every_secret_that_the_chart_reads(rendered: Rendered) -> None:
    guide = (ROOT / "docs/operations/install.md").read_text()
    for name in re.findall(
        r"(?:secretKeyRef: \{name|secretName|passwordSecret: \{name|secret: \{name): (llegada[a-z-]+)", rendered.text
    ):
        service = next((s for s in SERVICES if name.endswith(s)), "")
        generic = name.replace(service, "<service>") if service else name
        assert name in guide or generic in guide, name
    assert TOPOLOGY_USER in guide
    assert OPERATORS_USER in guide


def test_the_guide_makes_every_key_of_a_service_without_which_its_pod_does_not_start(rendered: Rendered) -> None:
    guide = (ROOT / "docs/operations/install.md").read_text()
    for deployment in rendered.of("Deployment"):
        for name, entry in environment(deployment).items():
            reference = entry.get("valueFrom", {}).get("secretKeyRef", {"optional": True})
            if not reference.get("optional") and reference["key"] == name:
                assert f"--from-literal={name}=" in guide, name


def test_whoever_asks_the_database_reads_the_authority_that_it_shall_trust(rendered: Rendered) -> None:
    pods = [one["spec"]["template"]["spec"] for kind in ("Deployment", "Job") for one in rendered.of(kind)]
    for pod in pods:
        secrets = {volume["name"]: volume.get("secret", {}).get("secretName") for volume in pod["volumes"]}
        for part in [*pod["initContainers"], *pod["containers"]]:
            given = {entry["name"]: entry.get("value", "") for entry in part["env"]}
            trusted = given.get("PGSSLROOTCERT")
            assert (trusted is not None) == ("sslmode=verify-full" in given.get("DATABASE_URL", "")), part["name"]
            if trusted is not None:
                mounted = {mount["mountPath"]: secrets[mount["name"]] for mount in part["volumeMounts"]}
                assert mounted[str(Path(trusted).parent)] == "database-ca", part["name"]


def test_compose_is_valid(tmp_path: Path) -> None:
    """By compose_spec's reading of the specification, after `${…}` was filled in as Compose does."""
    files = []
    for name in ("compose.yaml", "compose.services.yaml"):
        content = re.sub(
            r"\$\{[A-Z_]+(?::-([^}]*)|:\?[^}]*)?\}", lambda found: found[1] or "x", (ROOT / "deploy" / name).read_text()
        )
        (tmp_path / name).write_text(content)
        files.append(str(tmp_path / name))
    check = "import sys, compose_spec\nfor path in sys.argv[1:]: compose_spec.PyCompose.from_yaml(open(path).read())"
    done = subprocess.run([str(deploy.PYTHON), "-c", check, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_gateway_starts_anew_with_the_api_whose_address_it_asked_for() -> None:
    gateway = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["gateway"]
    assert gateway["depends_on"]["reservation-api"] == {"condition": "service_started", "restart": True}


def test_a_packaged_chart_renders_by_itself(tmp_path: Path) -> None:
    package = deploy.package(tmp_path)
    done: Any = helm("template", "llegada", str(package), *SITE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nkind: Deployment\n") == len(SERVICES)
