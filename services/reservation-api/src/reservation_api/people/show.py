"""People, life cycles and documents as admins see them."""

from typing import Any

import asyncpg

PENDING: dict[str, Any] = {"status": "pending", "progress": 0, "steps": {}, "history": []}
"""The life cycle that the worker has not begun yet."""


def shown(row: asyncpg.Record) -> dict[str, Any]:
    job = row["employment"]
    return {
        "id": row["id"],
        "number": row["number"],
        "name": row["name"],
        "email": row["email"],
        "person": row["person"],
        "language": row["language"],
        "position": job["position"],
        "contractType": job["contract_type"],
        "startsOn": job["starts_on"],
        "endsOn": job.get("ends_on"),
        "active": row["active"],
        "leavesOn": row["leaves_on"] and row["leaves_on"].isoformat(),
        "createdBy": row["created_by"],
        "createdAt": row["created_at"].isoformat(),
    }


def shown_change(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "number": row["number"],
        "effectiveOn": row["effective_on"].isoformat(),
        "before": shown_contract(row["before"]),
        "after": shown_contract(row["after"]),
        "reason": row["reason"],
        "changedBy": row["changed_by"],
        "changedAt": row["changed_at"].isoformat(),
    }


def shown_contract(job: dict[str, Any]) -> dict[str, Any]:
    """`salary`: whole pesos of a month."""
    salary = job.get("salary")
    return {
        "position": job["position"],
        "contractType": job["contract_type"],
        "startsOn": job["starts_on"],
        "endsOn": job.get("ends_on"),
        "salary": salary and salary["amount"],
    }


def shown_lifecycle(found: asyncpg.Record, history: list[asyncpg.Record]) -> dict[str, Any]:
    entries = [
        {
            "at": row["at"].isoformat(),
            "what": row["what"],
            "by": row["by"],
            "status": row["status"],
            "progress": row["progress"],
        }
        for row in history
    ]
    return {
        "status": found["status"],
        "progress": found["progress"],
        "steps": found["steps"],
        "revision": found["revision"],
        "history": entries,
    }


def shown_document(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "key": row["key"],
        "kind": row["kind"],
        "state": row["state"],
        "reason": row["reason"],
        "advice": row["advice"],
        "name": row["name"],
        "sha256": row["sha256"],
        "pages": row["pages"],
        "requestedAt": row["requested_at"].isoformat(),
        "readyAt": row["ready_at"] and row["ready_at"].isoformat(),
    }
