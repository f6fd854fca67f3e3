"""The rules of an organization that has none of its own yet: what the staff did by hand before."""

from typing import Any

from llegada.events.task import TaskRule

FRONT_DESK, CLEANING, LEGAL, ADMINISTRATION = "Recepción", "Limpieza", "Legal", "Administración"
_ENDED = {"cancelled": "done"}
_BEGINS = {
    "onboarding": "user.created",
    "contract_change": "user.contract_changed",
    "offboarding": "user.offboarding_started",
}


def _booking(key: str, on: str, role: str, es: str, en: str, de: str, **more: Any) -> TaskRule:
    return TaskRule.model_validate({"key": key, "on": on, "role": role, "title": _title(es, en, de), **more})


def _person(step: str, role: str, es: str, en: str, de: str, days: int = 7, phase: str = "onboarding") -> TaskRule:
    return TaskRule.model_validate(
        {
            "key": f"{phase}_{step}",
            "on": _BEGINS[phase],
            "role": role,
            "title": _title(*(f"{words}: {{{{name}}}}" for words in (es, en, de))),
            "due": {"hours": days * 24},
            "follows": {"recorded": "done"},
            "step": step,
        }
    )


def _title(es: str, en: str, de: str) -> dict[str, str]:
    return {"es": es, "en": en, "de": de}


DEFAULT_RULES: tuple[TaskRule, ...] = (
    _booking(
        "check_in",
        "reservation.created",
        FRONT_DESK,
        *["Check-in: {{guest}} - {{checkIn}}"] * 3,
        due={"base": "check_in"},
        follows={"checked_in": "done", **_ENDED},
    ),
    _booking(
        "cleaning",
        "reservation.checked_out",
        CLEANING,
        "Limpieza: habitación {{room}} ({{guest}})",
        "Cleaning: room {{room}} ({{guest}})",
        "Reinigung: Zimmer {{room}} ({{guest}})",
        due={"hours": 4},
        quality_control=True,
    ),
    _booking(
        "unpaid_at_arrival",
        "reservation.checked_in",
        FRONT_DESK,
        "Cobrar: {{guest}} llegó sin haber pagado",
        "Collect: {{guest}} arrived without having paid",
        "Kassieren: {{guest}} ist ohne Zahlung angereist",
        when="unpaid",
        due={"hours": 2},
        follows={"paid": "done"},
    ),
    _booking(
        "failed_automation",
        "job.failed",
        FRONT_DESK,
        "Falló una automatización: {{guest}}. {{reason}}",
        "An automation failed: {{guest}}. {{reason}}",
        "Eine Automatisierung ist fehlgeschlagen: {{guest}}. {{reason}}",
        due={"hours": 2},
    ),
    _booking(
        "sire_deadline",
        "sire.filing_prepared",
        FRONT_DESK,
        "SIRE: el plazo de {{guest}} vence pronto",
        "SIRE: the deadline of {{guest}} is near",
        "SIRE: die Frist für {{guest}} läuft bald ab",
        when="deadline_near",
        due={"base": "deadline"},
        follows={"registered": "done"},
    ),
    _person("arl", LEGAL, "Afiliar a la ARL", "Register with the ARL", "Bei der ARL anmelden"),
    _person("eps", LEGAL, "Afiliar a la EPS", "Register with the EPS", "Bei der EPS anmelden"),
    _person("pension", LEGAL, "Afiliar a pensión", "Register for the pension", "Bei der Rentenkasse anmelden"),
    _person("caja", LEGAL, "Afiliar a la caja", "Register with the caja", "Bei der Familienkasse anmelden"),
    _person("id_document", ADMINISTRATION, "Documento de identidad", "Identity document", "Ausweisdokument"),
    _person("bank_details", ADMINISTRATION, "Datos bancarios", "Bank details", "Bankverbindung"),
    _person("contract", LEGAL, "Contrato firmado", "Signed contract", "Unterschriebener Vertrag"),
    _person(
        "amendment", LEGAL, "Otrosí firmado", "Signed amendment", "Unterschriebener Nachtrag", phase="contract_change"
    ),
    _person(
        "social_security_update",
        LEGAL,
        "Novedad en la seguridad social",
        "Tell social security of the change",
        "Änderung der Sozialversicherung melden",
        phase="contract_change",
    ),
    _person("certificate", LEGAL, "Certificado laboral", "Certificate", "Arbeitszeugnis", phase="offboarding"),
    _person(
        "final_settlement", LEGAL, "Liquidación final", "Final settlement", "Schlussabrechnung", phase="offboarding"
    ),
    _person(
        "social_security_signoff",
        LEGAL,
        "Retiro de la seguridad social",
        "Sign-off from social security",
        "Abmeldung von der Sozialversicherung",
        phase="offboarding",
    ),
)
