"""Statements as staff see them."""

from typing import Any

import asyncpg


def shown(row: asyncpg.Record, *, lines: bool = False) -> dict[str, Any]:
    """`totalAmount`: minor units of `currency`. `mailState`: of this edition's last e-mail; `sentTo`: of any one's."""
    found = {
        "id": row["id"],
        "number": row["number"],
        "userId": row["user_id"],
        "consultant": row["consultant"],
        "month": f"{row['month']:%Y-%m}",
        "periodStart": row["period_start"].isoformat(),
        "periodEnd": row["period_end"].isoformat(),
        "edition": row["edition"],
        "status": row["status"],
        "recipient": row["recipient"],
        "language": row["language"],
        "currency": row["currency"],
        "hourlyRate": row["hourly_rate"],
        "totalMinutes": row["minutes"],
        "consultations": row["consultations"],
        "carriedMinutes": row["carried_minutes"],
        "totalAmount": row["amount"],
        "pages": row["pages"],
        "sha256": row["sha256"],
        "reason": row["reason"],
        "advice": row["advice"],
        "mailState": row["mail_state"],
        "mailReason": row["mail_reason"],
        "mailAdvice": row["mail_advice"],
        "sentTo": row["sent_to"],
        "sentAt": row["sent_at"] and row["sent_at"].isoformat(),
        "createdAt": row["created_at"].isoformat(),
    }
    return {**found, "lines": [_line(line) for line in row["lines"] or []]} if lines else found


def shown_edition(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "edition": row["edition"],
        "state": row["state"],
        "createdBy": row["created_by"],
        "createdAt": row["created_at"].isoformat(),
        "totalMinutes": row["minutes"],
        "totalAmount": row["amount"],
        "currency": row["currency"],
        "pages": row["pages"],
        "sha256": row["sha256"],
        "reason": row["reason"],
    }


def shown_run(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "userId": row["user_id"],
        "name": row["name"],
        "month": f"{row['month']:%Y-%m}",
        "outcome": row["outcome"],
        "statementId": row["statement_id"],
        "beganAt": row["began_at"].isoformat(),
    }


def _line(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "clientId": line["client_id"],
        "clientName": line["client_name"],
        "totalMinutes": line["minutes"],
        "consultationCount": line["consultations"],
        "amount": line["amount"],
    }
