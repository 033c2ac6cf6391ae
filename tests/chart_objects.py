"""What the chart's objects must be, whatever its templates look like: tests/chart runs it, `tests/chart objects` runs it alone.

FACTS read objects and the values they were made of. `leaves` changes each value and looks for it in the objects. MUTANTS are faults put into the
templates: the facts must find each, and each fact must find one, or it could not fail.
"""

import base64
import copy
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile

chart = None  # tests/chart, which loads this file and puts itself here
RELEASE = "r"
# Not made on demand: two threads would make two, and one of them would go while it is in use.
WORK = tempfile.TemporaryDirectory()
FOLDER = pathlib.Path(WORK.name)
LABELS = "app.kubernetes.io/"
PROBES = {"startupProbe": "livez", "livenessProbe": "livez", "readinessProbe": "readyz"}


# ---- values and what is made of them ----------------------------------------------------------------------


def read(file: pathlib.Path) -> dict:
    return chart.yaml().load(file.read_text(), Loader=chart.loader()) or {}


def merged(under: dict, over: dict) -> dict:
    """As Helm lays values over others: maps one in the other, a null takes away."""
    result = copy.deepcopy(under)
    for name, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = copy.deepcopy(value)
    return result


def nested(path: str, value) -> dict:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def at(part, path: str, default=None):
    for name in path.split("."):
        if not isinstance(part, dict) or part.get(name) is None:
            return default
        part = part[name]
    return part


def layers(*paths: dict) -> dict:
    """Maps from a path to a value, one over the other."""
    result = {}
    for values in paths:
        for path, value in values.items():
            result = merged(result, nested(path, value))
    return result


@functools.cache
def defaults() -> dict:
    return read(chart.CHART / "values.yaml")


def rendered(values: dict, home: pathlib.Path | None = None) -> list[dict]:
    text = json.dumps(values, sort_keys=True)
    file = FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"
    if not file.exists():
        # Under a name of its own first: others may ask for the same at this moment.
        partial = tempfile.NamedTemporaryFile("w", dir=FOLDER, delete=False)
        with partial:
            partial.write(text)
        os.replace(partial.name, file)
    return chart.render("-f", str(file), chart=home or chart.CHART, release=RELEASE)


class Scene:
    """Values, with the chart's own under them, and the objects that are made of them; without those that the values give whole."""

    def __init__(self, name: str, over: dict, home: pathlib.Path | None = None):
        self.name, self.values = name, merged(defaults(), over)
        foreign = self.value("extraObjects", [])
        self.everything = rendered(over, home)
        self.documents = [document for document in self.everything if document not in foreign]
        self.workers, self.tests = {}, {}
        for document in self.documents:
            name = chart.name_of(document)
            if document["kind"] in ("Deployment", "Job"):
                self.workers[name] = document["spec"]["template"]
            elif document["kind"] == "Pod":
                self.tests[name] = document

    def value(self, path: str, default=None):
        return at(self.values, path, default)

    def of(self, kind: str) -> list[dict]:
        return [document for document in self.documents if document["kind"] == kind]

    @functools.cached_property
    def settings(self) -> dict:
        return chart.yaml().load(chart.settings_of(self.of("ConfigMap")), Loader=chart.loader())

    @functools.cached_property
    def port(self) -> int | None:
        listen = at(self.settings, "admin.listen", "").strip()
        return int(listen.rsplit(":", 1)[1]) if listen else None

    def container(self, pod: dict) -> dict:
        """The chart's own container, the worker's or the test's."""
        (own,) = [container for container in pod["spec"]["containers"] if container["name"] in ("embedstream", "check")]
        return own


@functools.cache
def routes() -> dict[str, str]:
    """The worker's paths, by the name of what answers."""
    found = re.findall(r'\.route\("([^"]+)", get\((\w+)\)\)', (chart.ROOT / "src/admin.rs").read_text())
    assert {"metrics", "livez", "readyz"} <= {name for _, name in found}, f"src/admin.rs: {found}"
    return {name: path for path, name in found}


@functools.cache
def settings() -> dict[str, dict]:
    """Values that bring every branch of the templates, by a name of theirs."""
    ci = {file.name.removesuffix("-values.yaml"): read(file) for file in chart.ci_files()}
    little = layers({"prometheusRule.enabled": False, "dashboard.enabled": False, "config.admin.listen": "0.0.0.0:8081"})
    policy = layers({
        "networkPolicy.enabled": True,
        "networkPolicy.ingressFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
        "networkPolicy.extraIngress": [{"ports": [{"port": 9097, "protocol": "TCP"}]}],
        "networkPolicy.extraEgress": [{"ports": [{"port": 9096, "protocol": "TCP"}]}],
        "topologySpreadConstraints": [{"maxSkew": 3, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}],
    })  # fmt: skip
    full = merged(merged(ci["everything"], little), policy)
    job = layers({"job.enabled": True, "job.backoffLimit": 3, "job.activeDeadlineSeconds": 14400, "job.ttlSecondsAfterFinished": 86400})
    scaled = layers({"keda.pollingInterval": 7, "keda.cooldownPeriod": 70, "keda.minReplicas": 2, "keda.extraTriggers": [{"type": "cron"}]})
    return {
        "full": full,
        "job": merged(merged(full, job), {"sidecars": [], "job": {"args": ["--x"]}}),
        "keda": merged(ci["keda"], scaled),
        "keda-reference": ci["keda-reference"],
        "hpa": ci["hpa"],
        "hpa-metrics": ci["hpa-metrics"],
        "inline-key": ci["inline-key"],
    }


# ---- facts: each gives what is wrong ----------------------------------------------------------------------


def kinds(scene: Scene):
    """Which objects there are"""
    on = lambda name: scene.value(name) is True  # noqa: E731
    job, inline = on("job.enabled"), bool(scene.value("apiKey.value"))
    expected = {
        "ConfigMap": 1 + on("dashboard.enabled"), "Pod": 1, "Deployment": int(not job), "Job": int(job), "Secret": int(inline),
        "ServiceAccount": int(on("serviceAccount.create")), "HorizontalPodAutoscaler": int(on("autoscaling.enabled")),
        "ScaledObject": int(on("keda.enabled")), "TriggerAuthentication": int(on("keda.enabled") and bool(scene.value("keda.triggerAuthentication"))),
        "PodMonitor": int(on("podMonitor.enabled")), "ServiceMonitor": int(on("serviceMonitor.enabled")),
        "Service": int(on("serviceMonitor.enabled")),
        "PrometheusRule": int(on("prometheusRule.enabled")), "NetworkPolicy": 2 * on("networkPolicy.enabled"),
        "PodDisruptionBudget": int(on("podDisruptionBudget.enabled") and not job),
    }  # fmt: skip
    for kind in {document["kind"] for document in scene.documents} | set(expected):
        found = len(scene.of(kind))
        if found != expected.get(kind, 0):
            yield f"{found} objects are a {kind}, not {expected.get(kind, 0)}"


# Where a kind has its selector, and what it must choose. A kind that is not here is to be written here.
SELECTS = {
    "Deployment": ("selector.matchLabels", "workers"), "PodDisruptionBudget": ("selector.matchLabels", "workers"),
    "PodMonitor": ("selector.matchLabels", "workers"), "Service": ("selector", "workers"), "ServiceMonitor": ("selector.matchLabels", "services"),
    "NetworkPolicy": ("podSelector.matchLabels", "either"),
}  # fmt: skip
SELECTS_NOTHING = {
    "ConfigMap", "Secret", "ServiceAccount", "HorizontalPodAutoscaler", "ScaledObject", "TriggerAuthentication", "PrometheusRule", "Pod", "Job",
}  # fmt: skip


def chosen(labels: dict | None, candidates: dict[str, dict]) -> set[str]:
    """None and {} choose all, as they do or nearly do in Kubernetes."""
    return {name for name, own in candidates.items() if (labels or {}).items() <= own.items()}


def with_neighbours(own: dict[str, dict]) -> dict[str, dict]:
    """The same again, of another release: all that differs is what says the release's name."""
    def renamed(labels):
        return {key: "other" if text == RELEASE else text for key, text in labels.items()}

    return {**own, **{f"{name} of another release": renamed(labels) for name, labels in own.items()}}


def selectors(scene: Scene):
    """Each selector chooses the pods of this release, and no others"""
    labels = {name: at(pod, "metadata.labels", {}) for name, pod in {**scene.workers, **scene.tests}.items()}
    candidates = with_neighbours(labels)
    services = with_neighbours({chart.name_of(service): service["metadata"]["labels"] for service in scene.of("Service")})
    workers, policies = set(scene.workers), []
    for document in scene.documents:
        if document["kind"] in SELECTS_NOTHING:
            if "selector" in document.get("spec", {}):
                yield f"{chart.name_of(document)} has a selector"
            continue
        path, what = SELECTS[document["kind"]]
        spec = document["spec"]
        expressions = path.endswith("matchLabels") and at(spec, path.replace("matchLabels", "matchExpressions"))
        if expressions or "namespaceSelector" in spec:
            yield f"{chart.name_of(document)}: more than labels chooses"
        found = chosen(at(spec, path), services if what == "services" else candidates)
        own = {chart.name_of(service) for service in scene.of("Service")}
        expected = {"workers": [workers], "services": [own], "either": [workers, set(scene.tests)]}
        if not at(spec, path) or found not in expected[what]:
            yield f"{chart.name_of(document)}: {at(spec, path)} chooses {sorted(found)}"
        if what == "either":
            policies.append(found)
    if policies and sorted(policies, key=sorted) != sorted([workers, set(scene.tests)], key=sorted):
        yield f"network policies are of {policies}"
    for pod in scene.workers.values():
        wanted, rendered_ones = scene.value("topologySpreadConstraints", []), pod["spec"].get("topologySpreadConstraints", [])
        if len(wanted) != len(rendered_ones):
            yield f"{len(rendered_ones)} topologySpreadConstraints, not {len(wanted)}"
        for want, have in zip(wanted, rendered_ones):
            if merged(have, want) != have:
                yield f"topologySpreadConstraints: {have} is not {want}"
            if "labelSelector" not in want and chosen(at(have, "labelSelector.matchLabels"), candidates) != workers:
                yield f"topologySpreadConstraints: {have} does not choose the workers"


def ports(scene: Scene):
    """Each port is one of the worker's, by its number or its name, and paths are the worker's"""
    for pod in scene.workers.values():
        own = {port.get("name"): port["containerPort"] for port in scene.container(pod).get("ports", [])}
        named = {port.get("name"): port["containerPort"] for container in pod["spec"]["containers"] for port in container.get("ports", [])}
        if list(own.values()) != ([scene.port] if scene.port else []):
            yield f"the container's ports are {own}, the worker listens on {scene.port}"
        for probe, answers in PROBES.items():
            have = scene.container(pod).get(probe)
            if bool(have) != bool(scene.port and scene.value(probe)):
                yield f"{probe}: {have}"
            elif have:
                get = have.get("httpGet", {})
                if resolved(get.get("port"), own) != scene.port or get.get("path") != routes()[answers] or get.get("scheme", "HTTP") != "HTTP":
                    yield f"{probe}: {get} is not {answers} of the worker's port"
        for service in scene.of("Service"):
            for port in service["spec"]["ports"]:
                if resolved(port.get("targetPort", port["port"]), named) != scene.port or port["port"] != scene.port:
                    yield f"Service: {port} is not the worker's port"
        offered = {port.get("name"): scene.port for service in scene.of("Service") for port in service["spec"]["ports"]}
        for kind, field, names in (("PodMonitor", "podMetricsEndpoints", named), ("ServiceMonitor", "endpoints", offered)):
            for monitor in scene.of(kind):
                for endpoint in monitor["spec"].get(field) or [{}]:
                    # By its name only: the Operator reads it so.
                    if names.get(endpoint.get("port")) != scene.port or endpoint.get("path", "/metrics") != routes()["metrics"]:
                        yield f"{kind}: {endpoint.get('port')} {endpoint.get('path')} is not the worker's metrics"
                    if endpoint.get("scheme", "http") != "http":
                        yield f"{kind}: the worker speaks no {endpoint['scheme']}"
        for policy in scene.of("NetworkPolicy"):
            for rule in incoming(scene, policy):
                if [resolved(port.get("port"), named) for port in rule.get("ports", [])] != [scene.port]:
                    yield f"NetworkPolicy: {rule} is not the worker's port"


def resolved(port, named: dict) -> int | None:
    return port if isinstance(port, int) else named.get(port)


def incoming(scene: Scene, policy: dict) -> list[dict]:
    """The chart's own rules."""
    return [rule for rule in policy["spec"].get("ingress", []) if rule not in scene.value("networkPolicy.extraIngress", [])]


def network(scene: Scene):
    """Network policies let in who may scrape, and let out by ports only"""
    for policy in scene.of("NetworkPolicy"):
        spec, name = policy["spec"], chart.name_of(policy)
        if sorted(spec.get("policyTypes", [])) != ["Egress", "Ingress"]:
            yield f"{name}: {spec.get('policyTypes')}"
        scraped = not name.endswith("-check") and scene.port
        expected = scene.value("networkPolicy.ingressFrom", [])
        if [rule.get("from", []) for rule in incoming(scene, policy)] != ([expected] if scraped else []):
            yield f"{name}: in may {spec.get('ingress')}"
        extra = scene.value("networkPolicy.extraEgress", [])
        egress = spec.get("egress", [])
        if extra != egress[len(egress) - len(extra):]:
            yield f"{name}: extraEgress is not there"
        for rule in egress[: len(egress) - len(extra)]:
            if not rule.get("ports") or not all("port" in port for port in rule["ports"]):
                yield f"{name}: out may everything, {rule}"
        out = {(port.get("port"), port.get("protocol", "TCP")) for rule in egress for port in rule.get("ports", [])}
        if not {(53, "UDP"), (53, "TCP")} < out:
            yield f"{name}: no way to DNS, brokers or the provider: {out}"


# Values that stand in objects as they are: `pod` is the spec of workers, `pods` that of the test, too; `container` and `containers` likewise.
PLACES = [
    ("imagePullSecrets", "pods", "imagePullSecrets"), ("podSecurityContext", "pods", "securityContext"),
    ("runtimeClassName", "pods", "runtimeClassName"),
    ("nodeSelector", "pods", "nodeSelector"), ("tolerations", "pods", "tolerations"), ("initContainers", "pods", "initContainers"),
    ("serviceAccount.automount", "pods", "automountServiceAccountToken"), ("priorityClassName", "pod", "priorityClassName"),
    ("affinity", "pod", "affinity"), ("terminationGracePeriodSeconds", "pod", "terminationGracePeriodSeconds"),
    ("securityContext", "containers", "securityContext"), ("resources", "containers", "resources"), ("extraEnv", "containers", "env"),
    ("extraEnvFrom", "containers", "envFrom"), ("image.pullPolicy", "containers", "imagePullPolicy"),
    ("annotations", "Deployment", "metadata.annotations"), ("annotations", "Job", "metadata.annotations"),
    ("job.backoffLimit", "Job", "spec.backoffLimit"), ("job.activeDeadlineSeconds", "Job", "spec.activeDeadlineSeconds"),
    ("job.ttlSecondsAfterFinished", "Job", "spec.ttlSecondsAfterFinished"),
    ("autoscaling.minReplicas", "HorizontalPodAutoscaler", "spec.minReplicas"),
    ("autoscaling.maxReplicas", "HorizontalPodAutoscaler", "spec.maxReplicas"),
    ("autoscaling.behavior", "HorizontalPodAutoscaler", "spec.behavior"),
    ("keda.minReplicas", "ScaledObject", "spec.minReplicaCount"), ("keda.maxReplicas", "ScaledObject", "spec.maxReplicaCount"),
    ("keda.pollingInterval", "ScaledObject", "spec.pollingInterval"), ("keda.cooldownPeriod", "ScaledObject", "spec.cooldownPeriod"),
    ("keda.behavior", "ScaledObject", "spec.advanced.horizontalPodAutoscalerConfig.behavior"),
    ("keda.annotations", "ScaledObject", "metadata.annotations"),
    ("keda.triggerAuthentication", "TriggerAuthentication", "spec"),
    ("podDisruptionBudget.maxUnavailable", "PodDisruptionBudget", "spec.maxUnavailable"),
    ("serviceAccount.automount", "ServiceAccount", "automountServiceAccountToken"),
    ("serviceAccount.annotations", "ServiceAccount", "metadata.annotations"),
    *[(f"{name}.{field}", kind, f"spec.{part}.{field}") for name, kind, part in (
        ("podMonitor", "PodMonitor", "podMetricsEndpoints"), ("serviceMonitor", "ServiceMonitor", "endpoints"),
    ) for field in ("interval", "scrapeTimeout", "relabelings", "metricRelabelings")],
]  # fmt: skip


def places(scene: Scene):
    """Values stand where they belong"""
    for path, where, place in PLACES:
        expected = scene.value(path)
        if where in ("pod", "pods"):
            pods = {**scene.workers, **(scene.tests if where == "pods" else {})}
            parts = {name: pod["spec"] for name, pod in pods.items()}
        elif where == "containers":
            parts = {name: scene.container(pod) for name, pod in {**scene.workers, **scene.tests}.items()}
        else:
            parts = {chart.name_of(document): first_of_lists(document, place) for document in scene.of(where)}
        for name, part in parts.items():
            found = at(part, place)
            if found != expected and not (found is None and expected in ("", {}, [])):
                yield f"{path}: {name} has {place}: {found}, not {expected}"


def first_of_lists(part, path: str):
    """The same with the first of each list on the way in place of the list."""
    name, _, rest = path.partition(".")
    if not rest or not isinstance(part, dict) or name not in part:
        return part
    inner = part[name][0] if isinstance(part[name], list) and part[name] else part[name]
    return {**part, name: first_of_lists(inner, rest)}


def pods(scene: Scene):
    """What pods run, hold and mount"""
    tag = scene.value("image.tag") or read(chart.CHART / "Chart.yaml")["appVersion"]
    digest = scene.value("image.digest")
    image = scene.value("image.repository") + (f"@{digest}" if digest else f":{tag}")
    made = {document["kind"]: [] for document in scene.everything}
    for document in scene.everything:
        made[document["kind"]].append(document["metadata"]["name"])
    own = scene.value("serviceAccount.name")
    account = own or (made.get("ServiceAccount", [None])[0] if scene.value("serviceAccount.create") else "default")
    if scene.value("serviceAccount.create") and made.get("ServiceAccount") != [account]:
        yield f"the ServiceAccount is {made.get('ServiceAccount')}, not {account}"
    secret = made["Secret"][0] if scene.value("apiKey.value") else scene.value("apiKey.existingSecret.name")
    key = "api-key" if scene.value("apiKey.value") else scene.value("apiKey.existingSecret.key")
    for name, pod in {**scene.workers, **scene.tests}.items():
        spec, container = pod["spec"], scene.container(pod)
        if container["image"] != image:
            yield f"{name}: image {container['image']}, not {image}"
        if spec.get("serviceAccountName") != account:
            yield f"{name}: serviceAccountName {spec.get('serviceAccountName')}, not {account}"
        if spec.get("enableServiceLinks") is not False:
            yield f"{name}: each Service of the namespace gives it variables"
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        if not {mount["name"] for mount in mounts.values()} <= set(volumes):
            yield f"{name}: mounts of {set(volumes)}: {mounts}"
        for value, there in (("extraVolumes", spec["volumes"]), ("extraVolumeMounts", container["volumeMounts"])):
            if not all(one in there for one in scene.value(value, [])):
                yield f"{name}: {value} are not all there"
        for each in [*spec["containers"], *spec.get("initContainers", [])]:
            if each is container and at(each, "securityContext.readOnlyRootFilesystem"):
                volume = volumes.get(mounts.get("/tmp", {}).get("name"), {})
                if not at(volume, "emptyDir.sizeLimit") or mounts["/tmp"].get("readOnly"):
                    yield f"{name}: its root is read-only, and /tmp cannot be written to, or without an end"
        # The settings, where the arguments say, and the key, where the settings say.
        settings_file = pathlib.PurePath(container["args"][container["args"].index("--config") + 1])
        volume = volumes.get(mounts.get(str(settings_file.parent), {}).get("name"), {})
        if at(volume, "configMap.name") not in made["ConfigMap"] or settings_file.name != "config.yaml":
            yield f"{name}: {settings_file} is no file of {volume}"
        key_file = at(scene.settings, "provider.api_key_file")
        if secret and not at(scene.values, "config.provider.api_key_file"):
            mount = mounts.get(str(pathlib.PurePath(key_file or "/").parent), {})
            expected = {"secretName": secret, "items": [{"key": key, "path": pathlib.PurePath(key_file or "/x").name}]}
            have = at(volumes.get(mount.get("name"), {}), "secret", {})
            if {field: have.get(field) for field in expected} != expected or "subPath" in mount:
                yield f"{name}: {key_file} is no file of {have}, by {mount}"
    for name, pod in scene.workers.items():
        if [c for c in pod["spec"]["containers"] if c is not scene.container(pod)] != (scene.value("sidecars") or []):
            yield f"{name}: sidecars are not those of the values"
        for probe in PROBES:
            have = {field: value for field, value in (scene.container(pod).get(probe) or {}).items() if field != "httpGet"}
            if scene.port and have != (scene.value(probe) or {}):
                yield f"{name}: {probe} {have}, not {scene.value(probe)}"
        if not scene.value("podLabels", {}).items() <= at(pod, "metadata.labels").items():
            yield f"{name}: podLabels are not there"
        annotations = at(pod, "metadata.annotations", {})
        if not scene.value("podAnnotations", {}).items() <= annotations.items():
            yield f"{name}: podAnnotations are not there"


def checksums(scene: Scene):
    """Checksums are of what they name"""
    sums = {"config": chart.settings_of(scene.of("ConfigMap")).strip(), "secret": scene.value("apiKey.value")}
    for name, pod in scene.workers.items():
        for what, text in sums.items():
            have = (at(pod, "metadata.annotations") or {}).get(f"checksum/{what}")
            if have != (hashlib.sha256(text.encode()).hexdigest() if text else None):
                yield f"{name}: checksum/{what} is {have}"
    for secret in scene.of("Secret"):
        if base64.b64decode(secret["data"]["api-key"]).decode() != scene.value("apiKey.value"):
            yield "the Secret does not hold apiKey.value"


def harmless(scene: Scene):
    """No pod is privileged or sees its node, whatever linters look at"""
    for name, pod in {**scene.workers, **scene.tests}.items():
        spec = pod["spec"]
        for field in ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"):
            if field in spec:
                yield f"{name}: {field}"
        yield from (f"{name}: {volume}" for volume in spec["volumes"] if "hostPath" in volume)
        if at(spec, "securityContext.sysctls") or not at(spec, "securityContext.runAsNonRoot") or not at(spec, "securityContext.runAsUser"):
            yield f"{name}: {spec.get('securityContext')}"
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            context = container.get("securityContext") or {}
            if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False or "procMount" in context:
                yield f"{name}: {container['name']}: {context}"
            if at(context, "capabilities.drop") != ["ALL"] or at(context, "capabilities.add") or context.get("runAsUser") == 0:
                yield f"{name}: {container['name']}: {context}"
            if context.get("readOnlyRootFilesystem") is not True:
                yield f"{name}: {container['name']} may write to its root"


def verdict(policy: dict, code: int, evicted: bool) -> str:
    """What Kubernetes does about a pod that ended so: the first rule that fits, or it counts against backoffLimit."""
    for rule in policy["rules"]:
        codes = rule.get("onExitCodes")
        if codes and (code in codes["values"]) == (codes["operator"] == "In"):
            return rule["action"]
        conditions = rule.get("onPodConditions") or []
        if evicted and any(one["type"] == "DisruptionTarget" and one.get("status", "True") == "True" for one in conditions):
            return rule["action"]
    return "Count"


def jobs(scene: Scene):
    """A Job ends by itself; a wrong command line or configuration ends it, nothing else does; an eviction does not count"""
    codes = {int(code) for code in re.findall(r"(?m)^  (\d+) +\S", (chart.ROOT / "src/cli.rs").read_text())}
    assert {0, 64, 69, 70, 75, 78} <= codes, f"src/cli.rs: exit codes {codes}"
    for job in scene.of("Job"):
        policy = job["spec"].get("podFailurePolicy") or {"rules": []}
        if any(rule["onExitCodes"].get("containerName") != "embedstream" for rule in policy["rules"] if "onExitCodes" in rule):
            yield "exit codes of other containers mean something else"
        # 137: killed by the kernel or by Kubernetes.
        for code in sorted(codes - {0} | {1, 137}):
            expected = "FailJob" if code in (64, 78) else "Count"
            if verdict(policy, code, False) != expected:
                yield f"exit code {code}: {verdict(policy, code, False)}, not {expected}"
        for code in (75, 137):
            if verdict(policy, code, True) != "Ignore":
                yield f"an evicted pod that ended with {code}: {verdict(policy, code, True)}, not Ignore"
        spec = job["spec"]["template"]["spec"]
        # A policy is refused with any other.
        if spec.get("restartPolicy") != "Never":
            yield f"restartPolicy {spec.get('restartPolicy')}"
    for name, pod in scene.workers.items():
        arguments, further = scene.container(pod)["args"], scene.value("job.args", []) if scene.of("Job") else []
        if arguments[:1] != ["run"] or ("--until-end" in arguments) != bool(scene.of("Job")) or further != arguments[len(arguments) - len(further):]:
            yield f"{name}: {arguments}"
    for pod in scene.tests.values():
        if scene.container(pod)["args"][:2] != ["check", "--connect"] or pod["spec"].get("restartPolicy") != "Never":
            yield f"the test is {scene.container(pod)['args']}, restartPolicy {pod['spec'].get('restartPolicy')}"


def scalers(scene: Scene):
    """Scalers scale the worker, by what the values say"""
    (deployment,) = scene.of("Deployment") or [None]
    for document in [*scene.of("HorizontalPodAutoscaler"), *scene.of("ScaledObject")]:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment and deployment["metadata"]["name"]}
        if document["spec"]["scaleTargetRef"] != target:
            yield f"{chart.name_of(document)} scales {document['spec']['scaleTargetRef']}"
    for autoscaler in scene.of("HorizontalPodAutoscaler"):
        cpu = {"type": "Utilization", "averageUtilization": scene.value("autoscaling.targetCPUUtilizationPercentage")}
        metrics = scene.value("autoscaling.metrics") or [{"type": "Resource", "resource": {"name": "cpu", "target": cpu}}]
        if autoscaler["spec"]["metrics"] != metrics:
            yield f"HorizontalPodAutoscaler: metrics {autoscaler['spec']['metrics']}, not {metrics}"
    for scaled in scene.of("ScaledObject"):
        extra = scene.value("keda.extraTriggers", [])
        triggers = scaled["spec"]["triggers"]
        triggers, further = triggers[: len(triggers) - len(extra)], triggers[len(triggers) - len(extra):]
        if further != extra or [at(trigger, "metadata.topic") for trigger in triggers] != at(scene.settings, "kafka.input_topics"):
            yield f"ScaledObject: triggers are {triggers} and {further}"
        own = scene.value("keda.triggerMetadata", {})
        given, kind = scene.value("keda.authenticationRef"), scene.value("keda.authenticationKind")
        made = [one["metadata"]["name"] for one in scene.of("TriggerAuthentication")]
        reference = {"name": given, "kind": kind} if given else {"name": made[0], "kind": "TriggerAuthentication"} if made else None
        for trigger in triggers:
            metadata = trigger["metadata"]
            # No more replicas than partitions that have lag: the others would take a share of the provider's limits and do nothing.
            capped = {"allowIdleConsumers": "false"}
            if at(scene.settings, "limits.share", "partitions") == "partitions":
                capped["limitToPartitionsWithLag"] = "true"
            expected = {"lagThreshold": str(scene.value("keda.lagThreshold")), **capped, **{name: str(value) for name, value in own.items()}}
            if not expected.items() <= metadata.items():
                yield f"ScaledObject: {metadata} lacks some of {expected}"
            if trigger.get("authenticationRef") != reference:
                yield f"ScaledObject: authenticationRef {trigger.get('authenticationRef')}, not {reference}"


def by_name(scene: Scene):
    """What holds by name: budgets, the Service, the Deployment, the settings and labels"""
    for budget in scene.of("PodDisruptionBudget"):
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow" or "minAvailable" in budget["spec"]:
            yield "PodDisruptionBudget: a worker that is not ready keeps its node from being drained"
    for service in scene.of("Service"):
        if service["spec"].get("publishNotReadyAddresses") is not True or service["spec"].get("clusterIP") != "None":
            yield "Service: it hides pods that are not ready"
    for deployment in scene.of("Deployment"):
        scaled = scene.value("autoscaling.enabled") or scene.value("keda.enabled")
        if deployment["spec"].get("replicas") != (None if scaled else scene.value("replicaCount")):
            yield f"Deployment: {deployment['spec'].get('replicas')} replicas"
        if deployment["spec"].get("strategy") != scene.value("updateStrategy"):
            yield f"Deployment: strategy {deployment['spec'].get('strategy')}"
    written = without_nulls(scene.value("config", {}))
    for secret in ("api_key", "api_key_file"):
        written.get("provider", {}).pop(secret, None)
    have = copy.deepcopy(scene.settings)
    listen = {"admin": {"listen": "0.0.0.0:9464"}}
    if merged(have, written) != have or merged(listen, written) != merged(listen, without(have, "provider.api_key_file")):
        yield f"the settings are not config, with the chart's defaults: {have}"
    named = [(document["kind"], document["metadata"]["name"]) for document in scene.documents]
    if not all(name for _, name in named) or len(set(named)) < len(named):
        yield f"names are missing, or there twice: {named}"
    for name, pod in scene.tests.items():
        annotations = {**scene.value("podAnnotations", {}), "helm.sh/hook": "test"}
        if not annotations.items() <= at(pod, "metadata.annotations", {}).items():
            yield f"{name}: the test is a pod of the release, or without podAnnotations: {at(pod, 'metadata.annotations')}"
    for document in scene.documents:
        labels = document["metadata"].get("labels", {})
        own = {"PodMonitor": "podMonitor.labels", "ServiceMonitor": "serviceMonitor.labels", "PrometheusRule": "prometheusRule.labels"}
        expected = {**scene.value("commonLabels", {}), **scene.value(own.get(document["kind"], "-"), {}), f"{LABELS}instance": RELEASE}
        if not expected.items() <= labels.items():
            yield f"{chart.name_of(document)}: labels {labels}, without some of {expected}"
        if document["metadata"].get("namespace") != chart.NAMESPACE:
            yield f"{chart.name_of(document)}: namespace {document['metadata'].get('namespace')}"


def without(part: dict, path: str) -> dict:
    part = copy.deepcopy(part)
    section, name = path.split(".")
    if section in part:
        part[section].pop(name, None)
        if not part[section]:
            del part[section]
    return part


def without_nulls(part: dict, path=()) -> dict:
    """Maps without their nulls, but in provider.body, where they mean something."""
    keep = path == ("provider", "body")
    return {
        name: without_nulls(value, (*path, name)) if isinstance(value, dict) and not keep else value
        for name, value in part.items() if value is not None or keep
    }  # fmt: skip


FACTS = [kinds, selectors, ports, network, places, pods, checksums, harmless, jobs, scalers, by_name]


def wrong(scene: Scene) -> list[tuple[str, str]]:
    """The facts that do not hold, and what is wrong. What is not there at all is a fact that does not hold, too."""
    found = []
    for fact in FACTS:
        try:
            found += [(fact.__name__, f"{scene.name}: {text}") for text in fact(scene)]
        except (LookupError, TypeError, AttributeError, ValueError) as problem:
            found.append((fact.__name__, f"{scene.name}: {type(problem).__name__}: {problem}"))
    return found


def facts():
    """Facts of the objects: selectors, ports, paths, places of values, checksums, privileges"""
    scenes = {f"ci/{file.name}": read(file) for file in chart.ci_files()} | settings()
    problems = [text for found in chart.both(lambda job: wrong(Scene(*job)), scenes.items()) for _, text in found]
    # The Job's pod is the Deployment's, but for what makes it end.
    bare = merged(settings()["job"], {"job": {"args": []}})
    job, deployment = (next(iter(Scene("", values).workers.values())) for values in (bare, merged(bare, {"job": {"enabled": False}})))
    job["spec"].pop("restartPolicy")
    job["spec"]["containers"][0]["args"].remove("--until-end")
    if job != deployment:
        problems.append(f"the Job's pod is not the Deployment's:\n{chart.first_difference(job, deployment)}")
    assert not problems, "\n".join(problems)
    return f"{len(FACTS)} facts of {len(scenes)} sets of values"


# ---- each value reaches an object -------------------------------------------------------------------------


@dataclasses.dataclass
class Sample:
    """Another value of a leaf, what must be set beside it, and what of it is to be seen if not the value itself."""

    value: object
    beside: dict = dataclasses.field(default_factory=dict)
    shows: str | None = None


KEY = "sk-another"
ALERT = "EmbedstreamDeadLetterRatio"
# What cannot be guessed from the schema: objects of Kubernetes, and values that hold only with others.
SAMPLES = {
    "global": Sample({"imageRegistry": "other"}),
    "enabled": Sample(False),
    "image.digest": Sample("sha256:" + "0" * 64),
    "imagePullSecrets": Sample([{"name": "other"}]),
    "config": Sample({"batch": {"linger": "77ms"}}),
    "apiKey.value": Sample(KEY, {"apiKey.existingSecret.name": ""}, base64.b64encode(KEY.encode()).decode()),
    "autoscaling.metrics": Sample([{"type": "Pods", "pods": {"metric": {"name": "other"}, "target": {"type": "AverageValue", "averageValue": "7"}}}]),
    "keda.minReplicas": Sample(3),
    "keda.authenticationKind": Sample("ClusterTriggerAuthentication", {"keda.authenticationRef": "a"}),
    "keda.triggerAuthentication": Sample({"podIdentity": {"provider": "other"}}),
    "keda.triggerMetadata": Sample({"sasl": "other"}),
    "keda.extraTriggers": Sample([{"type": "cron", "metadata": {"timezone": "other"}}]),
    "job.args": Sample(["--other"]),
    "podMonitor.relabelings": Sample([{"targetLabel": "other"}]),
    "podMonitor.metricRelabelings": Sample([{"targetLabel": "other"}]),
    "serviceMonitor.relabelings": Sample([{"targetLabel": "other"}]),
    "serviceMonitor.metricRelabelings": Sample([{"targetLabel": "other"}]),
    "prometheusRule.thresholds": Sample({ALERT: 0.077}, {}, "0.077"),
    "prometheusRule.disabled": Sample([ALERT]),
    "prometheusRule.kept": Sample(["EmbedstreamNotConsuming"], {"keda.enabled": True, "keda.minReplicas": 0}),
    "networkPolicy.ingressFrom": Sample([{"podSelector": {"matchLabels": {"a": "other"}}}]),
    "networkPolicy.extraIngress": Sample([{"ports": [{"port": 7777}]}]),
    "networkPolicy.extraEgress": Sample([{"ports": [{"port": 7777}]}]),
    "podSecurityContext.seccompProfile.type": Sample("Localhost"),
    "podSecurityContext.fsGroupChangePolicy": Sample("Always"),
    "resources.claims": Sample([{"name": "other"}]),
    "resources.requests.cpu": Sample("77m"),
    "resources.requests.memory": Sample("77Mi"),
    "resources.requests.ephemeral-storage": Sample("77Mi"),
    "resources.limits.memory": Sample("777Mi"),
    "resources.limits.ephemeral-storage": Sample("777Mi"),
    "tolerations": Sample([{"key": "other"}]),
    "affinity": Sample({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}, {}, "nodeAffinity"),
    "topologySpreadConstraints": Sample([{"maxSkew": 7, "topologyKey": "other", "whenUnsatisfiable": "DoNotSchedule"}]),
    "extraEnv": Sample([{"name": "OTHER", "value": "another"}]),
    "extraEnvFrom": Sample([{"secretRef": {"name": "other"}}]),
    "extraVolumes": Sample([{"name": "other", "emptyDir": {}}], {}, "other"),
    "extraVolumeMounts": Sample([{"name": "tmp", "mountPath": "/other"}]),
    "initContainers": Sample([{"name": "other", "image": "another:1"}]),
    "sidecars": Sample([{"name": "other", "image": "another:1"}]),
    "extraObjects": Sample([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "other"}}]),
}
# Values that no object is to show, and why.
UNSEEN = {
    "global": "a parent chart's, taken so that the schema does not refuse it",
    "enabled": "a parent chart's condition, likewise",
}
# The kinds in which a value must show, by the longest name here that it begins with. The rest shows in the Deployment.
SHOWN = {
    "image": {"Deployment", "Pod"}, "imagePullSecrets": {"Deployment", "Pod"}, "config": {"Deployment", "ConfigMap"},
    "apiKey.value": {"Deployment", "Pod", "Secret"}, "apiKey": {"Deployment", "Pod"},
    "commonLabels": {"Deployment", "ConfigMap", "ServiceAccount", "Pod"},
    "nameOverride": {"Deployment", "Pod", "ConfigMap", "ServiceAccount"}, "fullnameOverride": {"Deployment", "Pod", "ConfigMap", "ServiceAccount"},
    "autoscaling": {"HorizontalPodAutoscaler"}, "keda": {"ScaledObject"}, "keda.triggerAuthentication": {"TriggerAuthentication", "ScaledObject"},
    "autoscaling.enabled": {"HorizontalPodAutoscaler", "Deployment"}, "keda.enabled": {"ScaledObject", "Deployment"},
    "job": {"Job"}, "job.enabled": {"Job", "Deployment"}, "podMonitor": {"PodMonitor"}, "serviceMonitor": {"ServiceMonitor"},
    "serviceMonitor.enabled": {"ServiceMonitor", "Service"}, "prometheusRule": {"PrometheusRule"}, "dashboard": {"ConfigMap"},
    "networkPolicy": {"NetworkPolicy"}, "podDisruptionBudget": {"PodDisruptionBudget"}, "serviceAccount": {"ServiceAccount"},
    "serviceAccount.name": {"ServiceAccount", "Deployment", "Pod"}, "serviceAccount.automount": {"ServiceAccount", "Deployment", "Pod"},
    "podAnnotations": {"Deployment", "Pod"}, "podSecurityContext": {"Deployment", "Pod"}, "securityContext": {"Deployment", "Pod"},
    "resources": {"Deployment", "Pod"}, "nodeSelector": {"Deployment", "Pod"}, "tolerations": {"Deployment", "Pod"},
    "runtimeClassName": {"Deployment", "Pod"}, "extraEnv": {"Deployment", "Pod"}, "extraEnvFrom": {"Deployment", "Pod"},
    "extraVolumes": {"Deployment", "Pod"}, "extraVolumeMounts": {"Deployment", "Pod"}, "initContainers": {"Deployment", "Pod"},
    "extraObjects": {"ConfigMap"},
}  # fmt: skip


@functools.cache
def schema() -> dict:
    return json.loads((chart.CHART / "values.schema.json").read_text())


def followed(part: dict) -> dict:
    while "$ref" in part:
        part = schema()["definitions"][part["$ref"].rsplit("/", 1)[1]]
    return part


def all_leaves() -> dict[str, tuple[object, dict]]:
    """Every value, of values.yaml or only of the schema, with its default and its schema. Settings of the worker are one: `by_name` compares them."""
    found = {}

    def walk(value, part, path):
        part = followed(part)
        inner = {**dict.fromkeys(part.get("properties", {})), **(value if isinstance(value, dict) else {})}
        if path == "config" or not inner:
            found[path] = (value, part)
            return
        for name in inner:
            walk(inner[name], part.get("properties", {}).get(name, {}), f"{path}.{name}" if path else name)

    walk(defaults(), schema(), "")
    return found


def guessed(path: str, value, part: dict) -> Sample | None:
    """Another value that the schema takes; none if that takes more than a guess."""
    if path in SAMPLES:
        return SAMPLES[path]
    types = part.get("type", {bool: "boolean", int: "integer", str: "string", list: "array"}.get(type(value)))
    types = [types] if isinstance(types, str) else types or []
    if "enum" in part:
        return next((Sample(other) for other in part["enum"] if other not in (value, None)), None)
    if "boolean" in types:
        return Sample(not value)
    if "integer" in types:
        number = max(value if isinstance(value, int) else 0, part.get("minimum", 0)) + 1
        return Sample(number) if number <= part.get("maximum", number) else None
    if "string" in types:
        return next((Sample(text) for text in ("other", "7s", "7%", "7") if text != value and re.search(part.get("pattern", ""), text)), None)
    if part.get("additionalProperties") == {"type": "string"}:
        return Sample({"example.com/other": "another"})
    if "array" in types and isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return Sample([*value, "OTHER"], {}, "OTHER")
    # Maps that are Kubernetes' own have leaves in values.yaml, or a sample.
    return None


def scalars(part, path: str = ""):
    if isinstance(part, dict):
        for name, inner in part.items():
            yield from scalars(inner, f"{path}/{name}")
        # An empty one is there, too.
        if not part:
            yield path, "{}"
    elif isinstance(part, list):
        for number, inner in enumerate(part):
            yield from scalars(inner, f"{path}/{number}")
        if not part:
            yield path, "[]"
    else:
        yield path, str(part)


def apart(one: list[dict], other: list[dict], kind: str) -> str:
    """Where and in what the objects of a kind differ, one difference a line."""
    sides = [{(path, text) for d in documents if d["kind"] == kind for path, text in scalars(d, d["metadata"]["name"])} for documents in (one, other)]
    return "\n".join(f"{path}: {text}" for path, text in sorted(sides[0] ^ sides[1]))


def parts(sample: Sample) -> list[str]:
    """What of a sample is to be seen: its texts and numbers. Whether a truth is seen only the difference tells."""
    if sample.shows is not None:
        return [sample.shows]
    return [text for _, text in scalars(sample.value) if text not in ("True", "False", "[]", "{}")]


def unreached(path: str, sample: Sample, home: pathlib.Path | None = None) -> str | None:
    """What is wrong with a value that is changed to its sample; nothing if objects show it."""
    switch, beside = f"{path.split('.')[0]}.enabled", dict(sample.beside)
    if path != switch and at(defaults(), switch) is False:
        beside[switch] = True
    base = merged(read(chart.CHART / "ci/minimal-values.yaml"), layers(beside))
    changed = merged(base, nested(path, sample.value))
    try:
        one, other = rendered(base, home), rendered(changed, home)
    except AssertionError as failure:
        return f"{path}: {str(failure).strip().splitlines()[-1]}"
    shown = SHOWN.get(max((name for name in SHOWN if f"{path}.".startswith(f"{name}.")), key=len, default=""), {"Deployment"})
    for kind in sorted(shown):
        difference = apart(one, other, kind)
        if not difference:
            return f"{path}: no {kind} differs with {json.dumps(sample.value)}"
    whole = "\n".join(apart(one, other, kind) for kind in shown)
    for part in parts(sample):
        if not re.search(rf"(?<![\w.]){re.escape(part)}(?![\w])", whole):
            return f"{path}: {part} is nowhere in what differs: {whole[:300]}"
    return None


def leaves():
    """Each value reaches the objects it is for"""
    found = all_leaves()
    samples = {path: guessed(path, *leaf) for path, leaf in found.items()}
    unknown = [path for path, sample in samples.items() if sample is None]
    assert not unknown, f"SAMPLES does not say how to change {unknown}"
    stale = (set(SAMPLES) | set(UNSEEN)) - set(found)
    assert not stale, f"no such values: {sorted(stale)}"
    seen = {path: sample for path, sample in samples.items() if path not in UNSEEN}
    problems = [problem for problem in chart.both(lambda job: unreached(*job), seen.items()) if problem]
    base = read(chart.CHART / "ci/minimal-values.yaml")
    for path in UNSEEN:
        if rendered(base) != rendered(merged(base, nested(path, samples[path].value))):
            problems.append(f"{path} is seen after all: take it out of UNSEEN")
    assert not problems, "\n".join(problems)
    return f"{len(seen)} values, {len(UNSEEN)} are not to be seen"


# ---- mutants: facts that let one pass are worth nothing ---------------------------------------------------


@dataclasses.dataclass
class Mutant:
    """A fault put into a template: what is replaced there, once, by what; the values that bring it out; the value that no longer arrives."""

    name: str
    file: str
    pattern: str
    by: str = ""
    values: str = "full"
    leaf: str | None = None


def block(value: str) -> str:
    """What renders one value, from its `with` to the `end`."""
    return rf"(?m)^ *\{{\{{- with [$.\w]*\.{re.escape(value)} \}}\}}\n(?:.*\n)*?^ *\{{\{{- end \}}\}}\n"


SELECTOR = r"{}:\n +matchLabels:\n.*\n"
POD, POLICY, KEDA, HPA, JOB = "_pod.tpl", "networkpolicy.yaml", "scaledobject.yaml", "hpa.yaml", "job.yaml"
WINDOW = "behavior.scaleDown.stabilizationWindowSeconds"
MUTANTS = [
    # Which objects there are.
    Mutant("a Job gets a budget", "pdb.yaml", r"and \.Values\.podDisruptionBudget\.enabled .*\}\}", ".Values.podDisruptionBudget.enabled }}", "job"),
    Mutant("the Service is never made", "service.yaml", r"\.Values\.serviceMonitor\.enabled", ".Values.job.enabled", leaf="serviceMonitor.enabled"),
    Mutant("an empty Secret is made", "secret.yaml", r"with \.Values\.apiKey\.value", 'with "x"'),
    # Who is chosen.
    Mutant("the NetworkPolicy is of every pod", POLICY, SELECTOR.format("podSelector"), "podSelector: {}\n"),
    Mutant("the worker's policy is the test's", POLICY, r'"embedstream.selectorLabels" (?="embedstream.checkLabels")', '"embedstream.checkLabels" '),
    Mutant("the budget has no selector", "pdb.yaml", r"  " + SELECTOR.format("selector")),
    Mutant("the budget's selector is empty", "pdb.yaml", SELECTOR.format("selector"), "selector: {}\n"),
    Mutant("the PodMonitor is of every pod", "podmonitor.yaml", SELECTOR.format("selector"), "selector: {}\n"),
    Mutant("the PodMonitor is of every namespace", "podmonitor.yaml", r"\n  podMetricsEndpoints:", "\n  namespaceSelector: {any: true}\\g<0>"),
    Mutant("the ServiceMonitor is of every Service", "servicemonitor.yaml", SELECTOR.format("selector"), "selector: {}\n"),
    Mutant("the Service has no selector", "service.yaml", r"  selector:\n.*\n"),
    Mutant("selectors forget the release", "_names.tpl", r'(?<=include "embedstream.name" \. \| quote \}\}\n)app\.kubernetes\.io/instance: .*\n'),
    Mutant("the test's pod has the worker's labels", "_names.tpl", r'"%s-check"', '"%s"'),
    Mutant("replicas are spread by a label of nobody", POD, r'(dict "matchLabels").*\) \}\}', r'\1 (dict "a" "b")) }}'),
    Mutant("replicas are not spread", POD, r"    \{\{- range \. \}\}\n.*merge .*\n.*\n", "    []\n", leaf="topologySpreadConstraints"),
    Mutant("the autoscaler scales something else", HPA, r"(scaleTargetRef:\n.*\n.*\n    name: ).*", r"\1other", "hpa"),
    Mutant("KEDA scales something else", KEDA, r"(scaleTargetRef:\n.*\n.*\n    name: ).*", r"\1other", "keda"),
    # Ports and paths.
    Mutant("monitors ask another port", "_monitor.tpl", "port: admin", "port: http"),
    Mutant("monitors ask for another path", "_monitor.tpl", "path: /metrics", "path: /metric"),
    Mutant("the container's port has another name", POD, "- name: admin", "- name: web"),
    Mutant("the container's port is fixed", POD, r"containerPort: \{\{ \$port \}\}", "containerPort: 9464"),
    Mutant("the Service leads to another port", "service.yaml", "targetPort: admin", "targetPort: http"),
    Mutant("the Service's port has another name", "service.yaml", "- name: admin", "- name: web"),
    Mutant("probes ask another port", POD, "port: admin", "port: 8080"),
    Mutant("what is not ready is restarted", POD, '"livenessProbe" "/livez"', '"livenessProbe" "/readyz"'),
    Mutant("readiness is liveness", POD, '"readinessProbe" "/readyz"', '"readinessProbe" "/livez"'),
    Mutant("the policy lets in to another port", POLICY, r"\{port: \{\{ \$port \}\}, protocol", "{port: 9464, protocol"),
    Mutant("the policy lets in everybody", POLICY, block("Values.networkPolicy.ingressFrom"), leaf="networkPolicy.ingressFrom"),
    Mutant("the policy lets out everything", POLICY, r"\n  egress:\n", "\n  egress:\n    - {}\n"),
    Mutant("the policy knows no extraEgress", POLICY, block("Values.networkPolicy.extraEgress"), leaf="networkPolicy.extraEgress"),
    Mutant("the policy is of ingress only", POLICY, r"\[Ingress, Egress\]", "[Ingress]"),
    # What holds by name.
    Mutant("unready workers keep nodes from being drained", "pdb.yaml", r"  unhealthyPodEvictionPolicy: .*\n"),
    Mutant("the budget is fixed", "pdb.yaml", r"maxUnavailable: \{\{.*\}\}", "maxUnavailable: 1", leaf="podDisruptionBudget.maxUnavailable"),
    Mutant("a pod that is not ready is not scraped", "service.yaml", r"  publishNotReadyAddresses: .*\n"),
    Mutant("a drain that was cut short fails the Job", JOB, r"values: \[64, 78\]", "values: [64, 75, 78]", "job"),
    Mutant("a wrong configuration is tried again", JOB, r"values: \[64, 78\]", "values: [64]", "job"),
    Mutant("all but a wrong configuration fails the Job", JOB, "operator: In", "operator: NotIn", "job"),
    Mutant("codes of other containers count", JOB, r" +containerName: embedstream\n", "", "job"),
    Mutant("evictions count as failures", JOB, "action: Ignore", "action: Count", "job"),
    Mutant("the Job does not end", POD, r' "--until-end"', "", "job"),
    Mutant("the Job ignores its arguments", POD, r"\(default list \.Values\.job\.args\)", "list", "job", "job.args"),
    Mutant("the Job knows no backoffLimit", JOB, r"  backoffLimit: .*\n", "", "job", "job.backoffLimit"),
    Mutant("the Job knows no deadline", JOB, r"  activeDeadlineSeconds: .*\n", "", "job", "job.activeDeadlineSeconds"),
    Mutant("the Job stays for ever", JOB, r"  ttlSecondsAfterFinished: .*\n", "", "job", "job.ttlSecondsAfterFinished"),
    Mutant("the autoscaler's behavior is gone", HPA, block("Values.autoscaling.behavior"), "", "hpa", f"autoscaling.{WINDOW}"),
    Mutant("the autoscaler stays at the fewest", HPA, r"(maxReplicas: .*)maxReplicas", r"\1minReplicas", "hpa", "autoscaling.maxReplicas"),
    Mutant("the autoscaler heeds only the CPU", HPA, r"if \.Values\.autoscaling\.metrics", "if false", "hpa-metrics", "autoscaling.metrics"),
    Mutant("KEDA's behavior is gone", KEDA, block("Values.keda.behavior"), "", "keda", f"keda.{WINDOW}"),
    Mutant("KEDA goes up to 100", KEDA, r"maxReplicaCount: .*", "maxReplicaCount: 100", "keda", "keda.maxReplicas"),
    Mutant("KEDA goes beyond the partitions", KEDA, r'"allowIdleConsumers" "false"', '"allowIdleConsumers" "true"', "keda"),
    Mutant("KEDA counts partitions without lag", KEDA, r'(?m)^.*set \$metadata "limitToPartitionsWithLag".*\n', "", "keda"),
    Mutant("KEDA's two times are exchanged", KEDA, r"\.pollingInterval \}\}", ".cooldownPeriod }}", "keda", "keda.pollingInterval"),
    Mutant("KEDA gets no authentication", KEDA, block("authentication").replace(r"[$.\w]*\.", r"\$"), "", "keda-reference", "keda.authenticationRef"),
    Mutant("KEDA's further triggers are gone", KEDA, block("Values.keda.extraTriggers"), "", "keda", "keda.extraTriggers"),
    Mutant("replicas beside the autoscaler", "deployment.yaml", r"or \.Values\.autoscaling\.enabled ", "or ", "hpa"),
    Mutant("the Deployment knows no strategy", "deployment.yaml", block("Values.updateStrategy"), "", leaf="updateStrategy.type"),
    Mutant("the settings forget what is written", "_settings.tpl", r"default dict \.Values\.config\)", "pick .Values.config `kafka`)", leaf="config"),
    # The pod.
    Mutant("the grace is Kubernetes' own", POD, r"  terminationGracePeriodSeconds: .*\n", leaf="terminationGracePeriodSeconds"),
    Mutant("probes have Kubernetes' own timings", POD, r"(?<=port: admin\n)        \{\{- toYaml .*\n", leaf="livenessProbe.periodSeconds"),
    Mutant("another key restarts nothing", POD, block("Values.apiKey.value"), "", "inline-key"),
    Mutant("other settings restart nothing", POD, r'include "embedstream.settings" \.context \| sha256sum', '"" | sha256sum', leaf="config"),
    Mutant("nowhere to write to", POD, r"  - name: tmp\n    mountPath: /tmp\n"),
    Mutant("/tmp has no limit", POD, r"emptyDir:\n +sizeLimit: .*\n", "emptyDir: {}\n"),
    Mutant("/tmp is a Secret", POD, r"emptyDir:\n      sizeLimit: 64Mi", "secret:\n      secretName: a"),
    Mutant("the settings are of another release", POD, r'(configMap:\n      name: ).*', r"\1other"),
    Mutant("the settings are elsewhere", POD, r'\{\{ include "embedstream.configPath" \.context \| dir \}\}', "/etc/other"),
    Mutant("the key is another one", POD, r"\$\.Values\.apiKey\.existingSecret\.key", '"api-key"', leaf="apiKey.existingSecret.key"),
    Mutant("a rotated key never arrives", POD, r'(mountPath: \{\{ include "embedstream.apiKeyPath" .*\n)', r"\1    subPath: api-key\n"),
    Mutant("the pod has another account", POD, r'serviceAccountName: .*', "serviceAccountName: default", leaf="serviceAccount.name"),
    Mutant("pods get a token", POD, r"automountServiceAccountToken: .*", "automountServiceAccountToken: true", leaf="serviceAccount.automount"),
    Mutant("Services of the namespace become variables", POD, r"enableServiceLinks: false\n"),
    Mutant("privileged", POD, r"\.Values\.securityContext \}\}\nsecurityContext:\n", "\\g<0>  privileged: true\n"),
    Mutant("on the node's network", POD, r"enableServiceLinks: false\n", "\\g<0>hostNetwork: true\n"),
    Mutant("no security context", POD, block("context.Values.securityContext"), leaf="securityContext.readOnlyRootFilesystem"),
    *[Mutant(f"{value} does not arrive", POD, block(f"Values.{value}"), leaf=value) for value in (
        "tolerations", "nodeSelector", "affinity", "priorityClassName", "runtimeClassName", "imagePullSecrets", "extraEnv", "extraEnvFrom",
        "extraVolumes", "extraVolumeMounts", "initContainers", "sidecars", "podAnnotations",
    )],
    Mutant("resources do not arrive", POD, block("Values.resources"), leaf="resources.limits.memory"),
    Mutant("podLabels do not arrive", POD, r"\(default dict \.context\.Values\.podLabels\)", "dict", leaf="podLabels"),
    Mutant("commonLabels do not arrive", "_names.tpl", r"\(default dict \.Values\.commonLabels\)", "dict", leaf="commonLabels"),
    Mutant("the digest is taken for a tag", "_names.tpl", r'"@%s"', '":%s"'),
    Mutant("the test is no hook", "tests/check.yaml", r'"helm.sh/hook" "test" ', ""),
    Mutant("two policies of one name", POLICY, r'include "embedstream.named" \(list \$ "check"\)', 'include "embedstream.fullname" $'),
    Mutant("the test runs without init containers", "tests/check.yaml", block("Values.initContainers"), leaf="initContainers"),
    # Monitors and the account.
    *[Mutant(f"monitors know no {value}", "_monitor.tpl", block(value), leaf=f"podMonitor.{value}") for value in (
        "scrapeTimeout", "relabelings", "metricRelabelings",
    )],
    Mutant("monitors ask every 30 s", "_monitor.tpl", r"interval: .*", "interval: 30s", leaf="podMonitor.interval"),
    Mutant("Prometheus does not find the monitor", "podmonitor.yaml", r"\.Values\.podMonitor\.labels", "dict", leaf="podMonitor.labels"),
    Mutant("the account has no annotations", "serviceaccount.yaml", block("Values.serviceAccount.annotations"), leaf="serviceAccount.annotations"),
]  # fmt: skip


def found(mutant: Mutant) -> tuple[Mutant, set[str], str]:
    """What finds a mutant, or why it is none."""
    home = FOLDER / f"mutant-{hashlib.sha256(mutant.name.encode()).hexdigest()[:8]}" / "embedstream"
    shutil.copytree(chart.CHART, home)
    # It is most of what there is to render, and no mutant's.
    (home / "files/dashboard.json").write_text("{}\n")
    template = home / "templates" / mutant.file
    text, number = re.subn(mutant.pattern, mutant.by, template.read_text())
    if number != 1 or text == template.read_text():
        return mutant, set(), f"it no longer applies, {number} places fit: write it anew"
    template.write_text(text)
    try:
        finders = {name for name, _ in wrong(Scene(mutant.values, settings()[mutant.values], home))}
        if mutant.leaf:
            problem = unreached(mutant.leaf, guessed(mutant.leaf, *all_leaves()[mutant.leaf]), home)
            if not problem:
                return mutant, finders, f"`leaves` does not miss {mutant.leaf}"
            finders.add("leaves")
    except AssertionError as failure:
        return mutant, set(), f"it does not render: {failure}"
    finally:
        shutil.rmtree(home.parent)
    return mutant, finders, "" if finders else f"nothing finds it: write a fact that does ({mutant.file})"


def mutants():
    """Faults put into the templates are found"""
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names), "two mutants of one name"
    used = {mutant.values for mutant in MUTANTS}
    # What is found without a fault would be found in every mutant.
    clean = [text for name in used for _, text in wrong(Scene(name, settings()[name]))]
    assert not clean, "\n".join(clean)
    began, finders = os.times(), dict.fromkeys([fact.__name__ for fact in FACTS] + ["leaves"], 0)
    problems = []
    for mutant, by, problem in chart.both(found, MUTANTS):
        for name in by:
            finders[name] += 1
        if problem:
            problems.append(f"{mutant.name}: {problem}")
    ended = os.times()
    print(f"        {sum(ended[:4]) - sum(began[:4]):.0f} s of CPU; found by {', '.join(f'{name} {number}' for name, number in finders.items())}")
    problems += [f"{name} finds no mutant: write one, or it may be a check that cannot fail" for name, number in finders.items() if not number]
    assert not problems, "\n".join(problems)
    return f"{len(MUTANTS)} mutants"


CHECKS = [facts, leaves, mutants]
