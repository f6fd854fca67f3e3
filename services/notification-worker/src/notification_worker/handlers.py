"""What the notification worker does: collects what a message needs, and sends it once it is complete.

What happens after an attempt of which nobody knows what it did:

| channel  | policy     | because                                                                            |
|----------|------------|------------------------------------------------------------------------------------|
| WhatsApp | may double | asked by status webhook first; the guest waits for the link, the code, the check-in |
| e-mail   | may double | nothing can be asked; the stable Message-ID lets clients fold copies               |
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from llegada.events.guest import (
    GuestMessageAnswered,
    GuestMessageHandedOver,
    GuestMessageReceived,
    GuestReplyReady,
)
from llegada.events.lock import PasscodeIssued
from llegada.events.notification import (
    NotificationDelivered,
    NotificationFailed,
    NotificationRead,
    NotificationReady,
    NotificationSent,
    NotificationStatus,
)
from llegada.events.organization import OrganizationConfigured
from llegada.events.payment import PaymentLinkCreated, PaymentSettled, PaymentVoided
from llegada.events.reservation import (
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationCheckedOut,
    ReservationContactUpdated,
    ReservationCreated,
    ReservationInvitationDue,
    ReservationPinRequested,
)
from llegada.events.statement import StatementMailed, StatementMailRequested
from llegada.events.types import Channel
from llegada.messaging.effects import Attempt, Effect, EffectKey, Found, NotWanted, SendAgain
from llegada.messaging.failures import Permanent, Postponed
from llegada.messaging.gate import Way
from llegada.messaging.subscription import Batch
from llegada.messaging.transaction import Transaction
from notification_worker.archive import Archive
from notification_worker.conversation import HandOver, respond
from notification_worker.mail import Mail, Mailer
from notification_worker.messages import take
from notification_worker.quiet import is_urgent
from notification_worker.receipts import find_out, receipt, reservation_of
from notification_worker.replies import GuestReply
from notification_worker.statement_mail import StatementMail
from notification_worker.store import BeforeSending, Store
from notification_worker.texts import Texts, answered, masked, template_name, template_parameters, written
from notification_worker.whatsapp import RE_ENGAGEMENT, UNREACHABLE, Template, WhatsApp

log = structlog.get_logger()
_NO_WINDOW = "no window"
"""Out of it WhatsApp takes approved templates alone: what staff wrote leaves by mail, or not at all."""

GRACE = timedelta(seconds=60)
WINDOW = timedelta(hours=24)
"""How long after a guest wrote text may be sent."""


def _now() -> datetime:
    return datetime.now(UTC)


class Notifications:
    """`sender`: the e-mail's From, `Name <address>`. `grace`: how long WhatsApp may take to tell what it did."""

    def __init__(
        self,
        store: Store,
        whatsapp: WhatsApp,
        mailer: Mailer,
        sender: str,
        grace: timedelta = GRACE,
        archive: Archive | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._grace = grace
        self._archive = archive or Archive()
        self._now = now
        self._store = store
        self._whatsapp = whatsapp
        self._mailer = mailer
        self._sender = sender

    async def collect(
        self,
        batch: Batch[
            ReservationCreated
            | ReservationContactUpdated
            | ReservationCheckedIn
            | ReservationPinRequested
            | ReservationInvitationDue
            | ReservationCancelled
            | ReservationCheckedOut
            | PaymentLinkCreated
            | PaymentSettled
            | PaymentVoided
            | PasscodeIssued
        ],
        tx: Transaction,
    ) -> list[list[NotificationReady]]:
        """Opens a message when its cause arrives, notes facts, whichever comes first; drops what nobody wants."""
        events = [delivered.event for delivered in batch]
        bookings = await self._store.locked(tx, {event.reservation_id: event.organization_id for event in events})
        ready = [take(bookings[event.reservation_id], event) for event in events]
        await self._store.save(tx, bookings)
        return ready

    async def remember_organization(self, event: OrganizationConfigured, tx: Transaction) -> None:
        await self._store.configure(tx, event)

    async def note_status(
        self, batch: Batch[NotificationStatus], tx: Transaction
    ) -> list[NotificationDelivered | NotificationRead | NotificationFailed | NotificationReady | None]:
        """The best status of each attempt; each step forward is told once."""
        events = [delivered.event for delivered in batch]
        news = await self._store.note_statuses(tx, events)
        mine = {number: event.organization_id for event in news if (number := reservation_of(event))}
        bookings = await self._store.locked(tx, mine) if mine else {}
        told = {id(event): receipt(event, bookings[number]) for event in news if (number := reservation_of(event))}
        return [told.get(id(event)) for event in events]

    async def note_message(
        self, event: GuestMessageReceived, tx: Transaction
    ) -> GuestReplyReady | GuestMessageHandedOver:
        """A guest wrote: the 24 hours begin anew, and an answer is worked out, or a person is asked."""
        replies, booking = await self._store.hear(tx, event)
        about = None if booking is None else booking.newest()
        language = "es" if about is None else about.language
        known = {
            "organization_id": event.organization_id,
            "reservation_id": event.reservation_id,
            "provider_message_id": event.provider_message_id,
        }
        answer = respond(event, language, replies)
        if isinstance(answer, HandOver):
            return GuestMessageHandedOver.model_validate({**known, "reason": answer.reason})
        if answer.opt_out is not None:
            await self._store.opt(tx, event, out=answer.opt_out)
        text = answered(answer.text, event.name, about, "" if booking is None else booking.payment_url())
        if text is None:
            reason = f"the rule for {answer.keyword!r} needs a booking, and this number has none"
            return GuestMessageHandedOver.model_validate({**known, "reason": reason})
        ready = {"phone": event.phone, "language": language, "text": text, "keyword": answer.keyword}
        return GuestReplyReady.model_validate({**known, **ready, "until": event.at + WINDOW})

    def reply(self, event: GuestReplyReady) -> Effect[GuestMessageAnswered]:
        return GuestReply(event, self._store, self._whatsapp, self._grace)

    def send_statement(self, event: StatementMailRequested) -> Effect[StatementMailed]:
        return StatementMail(event, self._archive, self._mailer, self._sender)

    async def clean(self) -> None:
        await self._store.clean()

    async def forget(self, organization_id: int) -> None:
        await self._store.forget(organization_id)

    async def not_in_quiet_hours(self, event: NotificationReady) -> None:
        """What is not urgent waits until the organization's quiet hours are over. Raises Postponed."""
        if is_urgent(event.kind):
            return
        now = self._now()
        end = await self._store.quiet_until(event.organization_id, now)
        if end is not None:
            raise Postponed(
                f"It waits for {end:%H:%M}: quiet hours.",
                until=end,
                now=now,
                advice="Nothing has to be done. If it must reach the guest now, call.",
            )

    def send(self, event: NotificationReady) -> Effect[NotificationSent]:
        if event.channel is Channel.EMAIL:
            return EmailMessage(event, self._store, self._mailer, self._sender)
        mail = None
        if event.fallback_email is not None:
            by_mail = event.model_copy(update={"channel": Channel.EMAIL, "recipient": event.fallback_email})
            mail = EmailMessage(by_mail, self._store, self._mailer, self._sender)
        return WhatsAppMessage(event, self._store, self._whatsapp, self._grace, mail)


class _Message:
    """What both channels share: the key, and whether the message is still wanted."""

    def __init__(self, event: NotificationReady, store: Store) -> None:
        self._event = event
        self._store = store
        self._known: BeforeSending | None = None

    def key(self) -> EffectKey:
        event = self._event
        return EffectKey(event.organization_id, f"{event.kind}-{event.channel}", event.subject, event.intent)

    async def still_wanted(self) -> NotWanted | None:
        known = await self._store.before_sending(self._event)
        self._learn(known)
        if known.opted_out and not is_urgent(self._event.kind):
            return NotWanted("the guest does not want such messages")
        return None if known.unwanted is None else NotWanted(known.unwanted)

    async def look_up(self, attempt: Attempt) -> Found | SendAgain:
        return SendAgain(f"attempt {attempt.number - 1} cannot be asked about; this message may double")

    def _learn(self, known: BeforeSending) -> None:
        self._known = known
        if known.paid:  # nobody is asked to pay twice, however late the message leaves
            self._event = self._event.model_copy(update={"payment_url": ""})

    def _before(self) -> BeforeSending:
        assert self._known is not None  # the ledger asks still_wanted first
        return self._known

    def _sent(self, texts: Texts, provider_message_id: str, template: str | None) -> NotificationSent:
        event = self._event
        return NotificationSent(
            organization_id=event.organization_id,
            reservation_id=event.reservation_id,
            kind=event.kind,
            intent=event.intent,
            channel=event.channel,
            recipient=event.recipient,
            text=masked(texts.plain, event),
            template=template,
            provider_message_id=provider_message_id,
            sent_at=datetime.now(UTC),
        )


class WhatsAppMessage(_Message):
    """Text inside the 24 hours after the guest wrote, an approved template outside.

    `instead`: the e-mail for a guest who has no WhatsApp.
    """

    def __init__(
        self,
        event: NotificationReady,
        store: Store,
        whatsapp: WhatsApp,
        grace: timedelta,
        instead: "EmailMessage | None" = None,
    ) -> None:
        super().__init__(event, store)
        self._whatsapp = whatsapp
        self._grace = grace
        self._instead = instead

    async def look_up(self, attempt: Attempt) -> Found | SendAgain:
        """Status webhooks carry the attempt's reference: they tell what an attempt without an answer did."""
        told = await find_out(self._store, attempt, self._grace)
        if isinstance(told, SendAgain):
            return told
        before = self._before()
        texts = written(self._event, before.wording)
        template = None if before.window_open else before.wording.whatsapp_template or template_name(self._event)
        sent = self._sent(texts, told.provider_message_id, template)
        return Found(sent.model_copy(update={"sent_at": told.at}))

    def way(self) -> Way:
        return self._whatsapp.way(self._event.organization_id, self._event.recipient)

    async def perform(self, attempt: Attempt) -> NotificationSent:
        try:
            return await self._send(attempt)
        except Permanent as failure:
            if self._instead is None or failure.code not in UNREACHABLE | {_NO_WINDOW}:
                raise
            log.info("by_email_instead", subject=self._event.subject, kind=self._event.kind, code=failure.code)
            return await self._instead.perform_after(self._before(), attempt)

    async def _send(self, attempt: Attempt) -> NotificationSent:
        event, before = self._event, self._before()
        texts = written(event, before.wording)
        to, organization = event.recipient, event.organization_id
        if before.window_open:
            try:
                message_id = await self._whatsapp.send_text(organization, to, texts.plain, attempt.reference)
            except Permanent as failure:
                if failure.code != RE_ENGAGEMENT:
                    raise
            else:
                return self._sent(texts, message_id, None)
        if event.custom_message is not None:
            raise Permanent(
                "WhatsApp takes words of one's own only within a day after the guest has written",
                code=_NO_WINDOW,
                advice="Send it without words of your own, or give the guest an e-mail address.",
            )
        name = before.wording.whatsapp_template or template_name(event)
        language = before.wording.whatsapp_language or event.language
        template = Template(name, language, template_parameters(event))
        message_id = await self._whatsapp.send_template(organization, to, template, attempt.reference)
        return self._sent(texts, message_id, name)


class EmailMessage(_Message):
    def __init__(self, event: NotificationReady, store: Store, mailer: Mailer, sender: str) -> None:
        super().__init__(event, store)
        self._mailer = mailer
        self._sender = sender

    def way(self) -> Way:
        return Way("smtp", self._mailer.host)

    async def perform_after(self, known: BeforeSending, attempt: Attempt) -> NotificationSent:
        """Send, knowing already what `still_wanted` would find."""
        self._learn(known)
        return await self.perform(attempt)

    async def perform(self, attempt: Attempt) -> NotificationSent:
        texts = written(self._event, self._before().wording)
        mail = Mail(
            message_id=self._message_id(attempt),
            sender=self._sender,
            recipient=self._event.recipient,
            subject=texts.subject,
            plain=texts.plain,
            html=texts.html,
            date=datetime.now(UTC),
        )
        await self._mailer.send(mail)
        return self._sent(texts, mail.message_id, None)

    def _message_id(self, attempt: Attempt) -> str:
        key = self.key()
        domain = self._sender.rpartition("@")[2].rstrip("> ")
        opened = int(attempt.opened_at.timestamp())
        return f"{key.subject.replace('/', '-')}.{key.kind}.{key.intent}.{opened}@{domain}"
