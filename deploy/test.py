"""Holds what is in deploy/ to what it promises. Run by test.sh.

Helm's own code renders the chart (helm-python-sdk has it as a library), Kubernetes' own schemas check what it rendered, and the
flags and metrics that it names are looked up in the source of Skep. No cluster is asked.
"""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import yaml

HERE = Path(__file__).resolve().parent
CHART = HERE / "kubernetes"
SOURCE = HERE.parent / "crates"
# The oldest that Chart.yaml names, and the newest that there are schemas for.
VERSIONS = ["1.25.0", kubernetes_validate.latest_version()]

NEEDED = {"image": {"repository": "registry.example/skep"}, "domain": "skep.example"}
FILES = {**NEEDED, "tls": {"existingSecret": "skep-tls"}}
ORDERED = {**NEEDED, "acme": {"directory": "letsencrypt"}}
INSIDE = {**NEEDED, "service": {"type": "ClusterIP"}}
EVERYTHING = {
    **FILES,
    "acme": {
        "directory": "https://ca.example/directory",
        "contact": "ops@skep.example",
        "challenges": ["http-01"],
        "rootConfigMap": "company-ca",
    },
    "imagePullSecrets": [{"name": "pull"}],
    "persistence": {"storageClass": "fast", "annotations": {"a": "b"}, "accessMode": "ReadWriteOncePod"},
    "masterKey": {"existingSecret": "skep-key", "formerKeys": "former"},
    "dnsServers": ["192.0.2.53"],
    "threads": 2,
    "isolates": {"spare": 0, "perWorker": 4, "perAccount": 100},
    "extraArgs": ["--allow-loopback"],
    "extraEnv": [{"name": "RUST_BACKTRACE", "value": "1"}],
    "metrics": {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "networkPolicy": {
        "enabled": True,
        "from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}]}],
    },
    "podLabels": {"a": "b"},
    "podAnnotations": {"a": "b"},
    "priorityClassName": "high",
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
}
SCALED = {**FILES, "autoscaling": {"enabled": True}}
LASTING_FOR_NOTHING = {**INSIDE, "persistence": {"enabled": False}, "serviceAccount": {"create": False}}
CASES = [FILES, ORDERED, INSIDE, EVERYTHING, LASTING_FOR_NOTHING]


class Release:
    """What a chart renders: objects by kind, and the notes."""

    def __init__(self, values, chart=CHART, name="skep"):
        with helm.Chart.load(chart) as loaded:
            loaded.validate_schema(values)
            rendered = loaded.render(values, name=name, namespace="platform")
        self.notes = rendered.pop("skep/templates/NOTES.txt")
        documents = [document for text in rendered.values() for document in yaml.safe_load_all(text)]
        self.objects = [document for document in documents if document]

    def get(self, kind, name="skep"):
        found = [it for it in self.objects if it["kind"] == kind and it["metadata"]["name"] == name]
        assert len(found) <= 1, f"{kind} {name} is there {len(found)} times"
        return found[0] if found else None

    def pod(self, name="skep"):
        return self.get("StatefulSet", name)["spec"]["template"]["spec"]

    def arguments(self):
        return self.pod()["containers"][0]["args"]


def with_shared_store(folder):
    """The chart as it will be once nodes can share their state: only that check says something else."""
    chart = Path(folder) / "skep"
    shutil.copytree(CHART, chart)
    checks = chart / "templates" / "_checks.tpl"
    text = checks.read_text()
    lifted = text.replace('{{- define "skep.sharedStore" -}}\n', '{{- define "skep.sharedStore" -}}true\n')
    assert lifted != text
    checks.write_text(lifted)
    return chart


def known_metrics():
    """The series that crates/serve/src/metrics.rs makes, named as prometheus-client names them."""
    told = re.findall(
        r'tell\(\s*"(\w+)",\s*"[^"]*",\s*(?:None|Some\(Unit::(\w+)\)),\s*&(\w+)',
        (SOURCE / "serve/src/metrics.rs").read_text(),
    )
    suffix = {"counter": "_total"}
    return {"skep_" + name + (f"_{unit.lower()}" if unit else "") + suffix.get(kind, "") for name, unit, kind in told}


def known_flags():
    """The flags of `skep serve`."""
    arguments = (SOURCE / "skep/src/commands/serve.rs").read_text().split("struct Arguments {")[1].split("\n}")[0]
    return {"--" + name.replace("_", "-") for name in re.findall(r"^    (\w+): ", arguments, re.MULTILINE)}


class Chart(unittest.TestCase):
    def test_helm_has_nothing_to_say(self):
        for values in [{}, *CASES]:
            report = helm.lint(CHART, values, strict=True)
            said = [message for message in report["messages"] if message["severity"] > 1]
            self.assertEqual((said, report["errors"]), ([], []))

    def test_kubernetes_takes_what_is_rendered(self):
        for values in CASES:
            self.validate(Release(values))

    def validate(self, release):
        for rendered in release.objects:
            if rendered["kind"] == "PodMonitor":
                continue
            for version in VERSIONS:
                kubernetes_validate.validate(rendered, version, strict=True)

    def test_a_pod_keeps_its_state_and_is_one(self):
        stateful = Release(FILES).get("StatefulSet")["spec"]
        self.assertEqual((stateful["replicas"], stateful["serviceName"]), (1, "skep-nodes"))
        self.assertEqual([claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]], ["data"])
        self.assertEqual(Release({**FILES, "replicas": 0}).get("StatefulSet")["spec"]["replicas"], 0)

    def test_a_long_name_leaves_room_for_what_kubernetes_adds(self):
        release = Release(FILES, name="a" * 53)
        names = [rendered["metadata"]["name"] for rendered in release.objects]
        self.assertLessEqual(max(map(len, names)), 56, names)

    def test_what_cannot_work_is_refused_with_what_to_do(self):
        refused = [
            ({"domain": "skep.example", "tls": {"existingSecret": "t"}}, "image.repository"),
            ({**FILES, "domain": ""}, "--set domain="),
            (NEEDED, "tls.existingSecret"),
            ({**NEEDED, "service": {"type": "NodePort"}}, "ClusterIP"),
            ({**FILES, "replicas": 2}, "replicas is 2, but several pods need a store that they share"),
            (SCALED, "autoscaling.enabled is true, but several pods need a store that they share"),
            ({**FILES, "store": {"postgres": "postgres://db/skep"}}, "not supported yet"),
            ({**FILES, "store": {"objects": {"bucket": "skep"}}}, "not supported yet"),
            ({**FILES, "masterKey": {"formerKeys": "former"}}, "masterKey.existingSecret"),
            ({**FILES, "acme": {"contact": "ops@skep.example"}}, "acme.directory"),
            ({**FILES, "resources": {"limits": {"memory": "64Mi"}}}, "less than 64"),
            ({**FILES, "resources": {"limits": {"memory": "2 gigabytes"}}}, "write it as 2Gi"),
            # By the schema.
            ({**FILES, "replcas": 2}, "replcas"),
            ({**FILES, "acme": {"directory": "lets"}}, "/acme/directory"),
            ({**FILES, "metrics": {"port": 443}}, "/metrics/port"),
            ({**FILES, "persistence": {"accessMode": "ReadWriteMany"}}, "/persistence/accessMode"),
        ]
        for values, said in refused:
            with self.assertRaises(helm.HelmError, msg=said) as raised:
                Release(values)
            self.assertIn(said, str(raised.exception))

    def test_the_pod_may_do_what_it_needs_and_nothing_else(self):
        for values in CASES:
            pod = Release(values).pod()
            context = pod["securityContext"]
            self.assertEqual((context["runAsNonRoot"], context["runAsUser"], context["fsGroup"]), (True, 10001, 10001))
            self.assertEqual(context["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertEqual(
                pod["containers"][0]["securityContext"],
                {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            )
            self.assertIs(pod["automountServiceAccountToken"], False)
            self.assertIs(pod["enableServiceLinks"], False)
            # No port below what the sysctl allows.
            lowest = int(context["sysctls"][0]["value"])
            self.assertGreaterEqual(min(port["containerPort"] for port in pod["containers"][0]["ports"]), lowest)

    def test_the_image_runs_as_the_user_that_the_chart_names(self):
        user = yaml.safe_load((CHART / "values.yaml").read_text())["user"]
        self.assertIn(f"USER {user}:{user}\n", (CHART / "Dockerfile").read_text())

    def test_settings_become_arguments(self):
        inside, files, everything = [Release(values).arguments() for values in (INSIDE, FILES, EVERYTHING)]
        self.assertTrue({"--listen=0.0.0.0:80", "--domain=skep.example"} <= set(inside), inside)
        self.assertFalse(any(argument.startswith("--listen-http") for argument in inside), inside)
        self.assertTrue({"--listen=0.0.0.0:443", "--listen-http=0.0.0.0:80"} <= set(files), files)
        self.assertTrue({"--tls-certificate=/etc/skep/tls/tls.crt", "--tls-key=/etc/skep/tls/tls.key"} <= set(files))
        self.assertTrue(
            {
                "--acme-directory=https://ca.example/directory",
                "--acme-challenges=http-01",
                "--acme-root=/etc/skep/acme/ca.crt",
                "--dns-servers=192.0.2.53",
                "--spare-isolates=0",
                "--isolates-per-worker=4",
                "--allow-loopback",
            }
            <= set(everything),
            everything,
        )

    @unittest.skipUnless(SOURCE.exists(), "the source of Skep is not here")
    def test_skep_knows_every_argument(self):
        for values in CASES:
            command, *flags = Release(values).arguments()
            self.assertEqual(command, "serve")
            self.assertEqual({flag.split("=")[0] for flag in flags} - known_flags(), set())

    def test_isolates_get_a_part_of_the_memory(self):
        for values, mib in [
            ({"resources": {"limits": {"memory": "2Gi"}}}, "1536"),
            ({"resources": {"limits": {"memory": "1.5Gi"}}}, "1152"),
            ({"resources": {"limits": {"memory": "512Mi"}}, "memoryPercent": 50}, "256"),
            ({"resources": {"limits": {"memory": "1G"}}}, "715"),
            ({"resources": {"limits": {"memory": 1073741824}}}, "768"),
            ({"memoryMib": 700}, "700"),
            # Not limited: Skep looks for itself.
            ({"resources": {"limits": None}}, None),
        ]:
            told = [it for it in Release({**FILES, **values}).arguments() if it.startswith("--memory-mib")]
            self.assertEqual(told, [f"--memory-mib={mib}"] if mib else [], values)

    def test_kubernetes_waits_longer_than_skep(self):
        release = Release({**FILES, "graceSeconds": 50})
        self.assertIn("--grace-seconds=50", release.arguments())
        self.assertEqual(release.pod()["terminationGracePeriodSeconds"], 65)

    def test_the_master_key_comes_from_a_secret_or_the_data_directory(self):
        self.assertNotIn("env", Release(FILES).pod()["containers"][0])
        self.assertIn("/var/lib/skep/master-key", Release(FILES).notes)
        release = Release(EVERYTHING)
        self.assertNotIn("master-key", release.notes)
        env = {it["name"]: it for it in release.pod()["containers"][0]["env"]}
        self.assertEqual(
            [env[name]["valueFrom"]["secretKeyRef"] for name in ("SKEP_MASTER_KEY", "SKEP_FORMER_MASTER_KEYS")],
            [{"name": "skep-key", "key": "master-key"}, {"name": "skep-key", "key": "former"}],
        )

    def test_metrics_are_not_for_the_public(self):
        for values in CASES:
            release = Release(values)
            names = lambda service: [port["name"] for port in service["spec"]["ports"]]
            self.assertNotIn("metrics", names(release.get("Service")))
            headless = release.get("Service", "skep-nodes")
            self.assertEqual(headless["spec"]["clusterIP"], "None")
            self.assertIn("metrics", names(headless))
        ports = {port["name"]: port["port"] for port in Release(FILES).get("Service")["spec"]["ports"]}
        self.assertEqual(ports, {"https": 443, "http": 80})

    def test_probes_ask_where_health_is_told(self):
        container = Release(FILES).pod()["containers"][0]
        probe = lambda kind: container[kind]["httpGet"]
        self.assertEqual(probe("livenessProbe"), {"path": "/healthz", "port": "metrics"})
        self.assertEqual(probe("readinessProbe"), {"path": "/readyz", "port": "metrics"})

    def test_what_is_optional_is_off(self):
        kinds = {rendered["kind"] for rendered in Release(FILES).objects}
        self.assertEqual(kinds, {"StatefulSet", "Service", "ServiceAccount", "PodDisruptionBudget"})
        kinds = {rendered["kind"] for rendered in Release(EVERYTHING).objects}
        self.assertTrue({"NetworkPolicy", "PodMonitor"} <= kinds, kinds)


class Autoscaling(unittest.TestCase):
    """What the chart renders once nodes can share their state."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.chart = with_shared_store(folder.name)

    def scaled(self, **autoscaling):
        return Release({**FILES, "autoscaling": {"enabled": True, **autoscaling}}, self.chart)

    def metrics(self, release):
        metrics = [metric["pods"] for metric in release.get("HorizontalPodAutoscaler")["spec"]["metrics"]]
        return {metric["metric"]["name"]: metric["target"]["averageValue"] for metric in metrics}

    def test_only_the_check_stands_in_the_way(self):
        several = Release({**FILES, "replicas": 3}, self.chart)
        Chart.validate(self, several)
        self.assertEqual(several.get("StatefulSet")["spec"]["replicas"], 3)
        self.assertIsNone(several.get("HorizontalPodAutoscaler"))
        release = self.scaled()
        Chart.validate(self, release)
        self.assertNotIn("replicas", release.get("StatefulSet")["spec"])
        target = release.get("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
        self.assertEqual(target, {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "skep"})
        # Both go on for a moment while others are told.
        for release in (several, release):
            self.assertIn("preStop", release.pod()["containers"][0]["lifecycle"])

    def test_a_metric_can_be_left_out_and_not_all(self):
        few = self.scaled(targets={"busyShare": 0.5, "memoryShare": None, "coldStartsPerSecond": None})
        self.assertEqual(
            self.metrics(few), {"skep_busy_share": "0.5", "skep_queue_delay_milliseconds": "5"}
        )
        none = dict.fromkeys(["busyShare", "queueDelayMilliseconds", "memoryShare", "coldStartsPerSecond"])
        with self.assertRaises(helm.HelmError) as raised:
            self.scaled(targets=none)
        self.assertIn("give at least one", str(raised.exception))
        with self.assertRaises(helm.HelmError) as raised:
            self.scaled(minReplicas=3, maxReplicas=2)
        self.assertIn("minReplicas is 3", str(raised.exception))

    def test_the_adapter_brings_every_metric_from_series_that_skep_tells(self):
        rules = yaml.safe_load((CHART / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
        self.assertEqual({rule["name"]["as"] for rule in rules}, set(self.metrics(self.scaled())))
        for rule in rules:
            series = rule["seriesQuery"].split("{")[0]
            self.assertEqual(rule["name"]["matches"], f"^{series}$")
            self.assertIn(series, rule["metricsQuery"])
            if SOURCE.exists():
                asked = set(re.findall(r"skep_\w+", rule["metricsQuery"]))
                self.assertEqual(asked - known_metrics(), set())


class Unit(unittest.TestCase):
    """That it is what `skep service install` writes is a test of crates/serve/src/service.rs."""

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed")
    def test_systemd_takes_the_unit(self):
        unit = (HERE / "systemd/skep.service").read_text()
        # The program need not be installed here.
        runnable = unit.replace("ExecStart=/usr/local/bin/skep ", "ExecStart=/bin/sh ")
        self.assertNotEqual(runnable, unit)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "skep.service"
            path.write_text(runnable)
            verify = ["systemd-analyze", "verify", path]
            verified = subprocess.run(verify, capture_output=True, text=True, check=False)
        self.assertEqual(verified.returncode, 0, verified.stderr)
        self.assertNotIn("skep.service", verified.stderr)


if __name__ == "__main__":
    unittest.main()
