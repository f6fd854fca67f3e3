"""Operators' own kinds, held against the fields that we know of: catches a misspelt or misplaced field, not a mistake
of ours about the operator (docs/operations/verified.md). Run by the tools' own Python: `custom.py objects.json`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # in the tools' own Python

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {"type": "object"}


def record(needed: str = "", **fields: Schema) -> Schema:
    """An object with these fields and no other; `needed` names those that must be there."""
    return {"type": "object", "properties": fields, "additionalProperties": False, "required": needed.split()}


def many(of: Schema) -> Schema:
    return {"type": "array", "items": of}


NAME = record("name", name=TEXT)
# gateway-api.sigs.k8s.io/reference/spec
_HEADERS = record(set=many(record("name value", name=TEXT, value=TEXT)))
_PATH = record("type value", type={"enum": ["Exact", "PathPrefix", "RegularExpression"]}, value=TEXT)
_REDIRECT = record(
    path=record("type", type={"enum": ["ReplaceFullPath", "ReplacePrefixMatch"]}, replaceFullPath=TEXT),
    statusCode={"enum": [301, 302]},
)
_FILTER = record(
    "type",
    type={"enum": ["ResponseHeaderModifier", "RequestRedirect"]},
    responseHeaderModifier=_HEADERS,
    requestRedirect=_REDIRECT,
)
_ROUTE = record(
    "parentRefs rules",
    parentRefs=many(record("name", name=TEXT, namespace=TEXT)),
    hostnames=many(TEXT),
    rules=many(
        record(
            matches=many(record(path=_PATH)),
            filters=many(_FILTER),
            timeouts=record(request={"type": "string", "pattern": "^[0-9]+s$"}),
            backendRefs=many(record("name port", name=TEXT, port=NUMBER)),
        )
    ),
)
# keda.sh/docs: scaling deployments, RabbitMQ scaler, authentication
_SCALED = record(
    "scaleTargetRef triggers",
    scaleTargetRef=NAME,
    minReplicaCount={"type": "integer", "minimum": 1},
    maxReplicaCount=NUMBER,
    pollingInterval=NUMBER,
    cooldownPeriod=NUMBER,
    triggers=many(
        record(
            "type metadata",
            type={"const": "rabbitmq"},
            authenticationRef=NAME,
            metadata=record(
                "protocol mode queueName value host",
                protocol={"const": "http"},
                mode={"const": "QueueLength"},
                **dict.fromkeys(("queueName", "vhostName", "value", "host"), TEXT),
            ),
        )
    ),
)
_AUTHENTICATION = record(
    secretTargetRef=many(record("parameter name key", parameter=TEXT, name=TEXT, key=TEXT)),
)
# prometheus-operator.dev/docs/api-reference
_MONITOR = record(
    "selector endpoints",
    selector=record(matchLabels=ANY),
    endpoints=many(
        record(
            "port",
            port=TEXT,
            path=TEXT,
            interval=TEXT,
            honorLabels=FLAG,
            params={"type": "object", "additionalProperties": many(TEXT)},
            relabelings=many(record("targetLabel", sourceLabels=many(TEXT), targetLabel=TEXT, replacement=TEXT)),
        )
    ),
)
_RULES = record("groups", groups=many(ANY))
# www.rabbitmq.com/kubernetes/operator/using-operator
_BROKER = record(
    "replicas",
    replicas=NUMBER,
    image=TEXT,
    persistence=record(storage=TEXT, storageClassName=TEXT),
    resources=ANY,
    rabbitmq=record(additionalPlugins=many(TEXT), additionalConfig=TEXT),
    affinity=ANY,
)
# cloudnative-pg.io/documentation: ClusterSpec, RoleConfiguration
_DATABASE = record(
    "instances storage",
    instances=NUMBER,
    imageName=TEXT,
    storage=record("size", size=TEXT, storageClass=TEXT),
    resources=ANY,
    minSyncReplicas=NUMBER,
    maxSyncReplicas=NUMBER,
    postgresql=record(parameters={"type": "object", "additionalProperties": TEXT}),
    bootstrap=record(initdb=record("database owner", database=TEXT, owner=TEXT, secret=NAME)),
    managed=record(
        roles=many(
            record(
                "name",
                name=TEXT,
                ensure={"enum": ["present", "absent"]},
                login=FLAG,
                passwordSecret=NAME,
                inRoles=many(TEXT),
            )
        )
    ),
    backup=ANY,
)
SPECS = {
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): _ROUTE,
    ("keda.sh/v1alpha1", "ScaledObject"): _SCALED,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): _AUTHENTICATION,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): _RULES,
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): _BROKER,
    ("postgresql.cnpg.io/v1", "Cluster"): _DATABASE,
}


def main(path: str) -> int:
    wrong = 0
    for one in json.loads(Path(path).read_text()):
        kind = (one["apiVersion"], one["kind"])
        whole = record("apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=ANY, spec=SPECS[kind])
        for error in Draft202012Validator(whole).iter_errors(one):
            wrong += 1
            print(kind, one["metadata"]["name"], error.json_path, error.message)
        print("valid" if not wrong else "", one["metadata"]["name"])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
