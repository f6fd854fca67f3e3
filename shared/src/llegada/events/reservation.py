"""What happens to a reservation, published by reservation-api."""

from datetime import date, datetime, time
from typing import ClassVar, Final

from llegada.events.event import ReservationEvent
from llegada.events.types import Channel, Contact, Guest, Intent, Language, Money, Stay

PAYMENT_LINK: Final = "paymentLink"
PASSCODE: Final = "passcode"
PASSCODE_REVOKED: Final = "passcodeRevoked"
SIRE_ENTRY: Final = "sire"
SIRE_EXIT: Final = "sireExit"

CONFIRMATION: Final = "confirmation"
WELCOME: Final = "welcome"
CHECK_IN_CONFIRMATION: Final = "check_in_confirmation"
PIN: Final = "pin"
INVITATION: Final = "invitation"
"""Messages for the guest; the name of the message is the name of its step."""


class BookingEvent(ReservationEvent):
    """A booking as it is at this moment: what links, door codes and messages need, so that no worker asks back.

    `channels` are the ones that the organization has switched on, in order of preference. Each subclass names the
    intents that it wants; an intent of None means that nobody wants that effect (no lock at the door, for example).
    `contact_version` counts the guest's contacts: a message for an older one is not sent any more. `message`: the one
    for the guest that it opens.
    """

    message: ClassVar[str] = ""

    guest_name: str
    contact: Contact
    language: Language = "es"
    amount: Money
    check_in_date: date
    check_out_date: date
    arrival_time: time | None = None
    property_name: str
    check_in_url: str
    channels: tuple[Channel, ...] = (Channel.WHATSAPP, Channel.EMAIL)
    contact_version: Intent = 1

    @property
    def step(self) -> str | None:
        return self.message or None


class ReservationCreated(BookingEvent):
    """Somebody booked."""

    type: ClassVar[str] = "reservation.created"
    message: ClassVar[str] = CONFIRMATION

    payment_link_intent: Intent = 1
    confirmation_intent: Intent = 1

    def wanted(self) -> dict[str, int | None]:
        return {PAYMENT_LINK: self.payment_link_intent, CONFIRMATION: self.confirmation_intent}


class ReservationContactUpdated(BookingEvent):
    """The guest is reached in another way now: link, door code and message are wanted anew, for the new contact.

    No link is wanted once the guest has paid.
    """

    type: ClassVar[str] = "reservation.contact_updated"
    message: ClassVar[str] = WELCOME

    stay: Stay
    payment_link_intent: Intent | None = None
    passcode_intent: Intent | None = None
    welcome_intent: Intent

    def wanted(self) -> dict[str, int | None]:
        return {
            PAYMENT_LINK: self.payment_link_intent,
            PASSCODE: self.passcode_intent,
            WELCOME: self.welcome_intent,
        }


class ReservationCheckedIn(BookingEvent):
    """The guest stands at the desk. `guests`: the one who booked first; `sire_intent` None: no SIRE here."""

    type: ClassVar[str] = "reservation.checked_in"
    message: ClassVar[str] = CHECK_IN_CONFIRMATION

    stay: Stay
    passcode_intent: Intent | None = None
    check_in_confirmation_intent: Intent
    sire_intent: Intent | None = None
    checked_in_on: date
    guests: tuple[Guest, ...] = ()

    def wanted(self) -> dict[str, int | None]:
        return {
            PASSCODE: self.passcode_intent,
            CHECK_IN_CONFIRMATION: self.check_in_confirmation_intent,
            SIRE_ENTRY: self.sire_intent,
        }


class ReservationPinRequested(BookingEvent):
    """Staff want a new door code, and it sent; the old one goes."""

    type: ClassVar[str] = "reservation.pin_requested"
    message: ClassVar[str] = PIN

    stay: Stay
    passcode_intent: Intent
    pin_intent: Intent

    def wanted(self) -> dict[str, int | None]:
        return {PASSCODE: self.passcode_intent, PIN: self.pin_intent}


class ReservationInvitationDue(BookingEvent):
    """The guest shall be invited to check in online: by the clock on the evening before a late arrival, or by hand.

    `custom_message`: staff's own words, with `{{guestName}} {{checkInLink}} {{paymentLink}}`.
    """

    type: ClassVar[str] = "reservation.invitation_due"
    message: ClassVar[str] = INVITATION

    payment_link_intent: Intent | None = None
    invitation_intent: Intent
    custom_message: str | None = None

    def wanted(self) -> dict[str, int | None]:
        return {PAYMENT_LINK: self.payment_link_intent, INVITATION: self.invitation_intent}


class StayEnded(ReservationEvent):
    """The booking wants nothing more: codes are revoked, what was not sent yet is dropped."""

    property_name: str
    passcode_revoked_intent: Intent | None = None

    def wanted(self) -> dict[str, int | None]:
        return {PASSCODE_REVOKED: self.passcode_revoked_intent}


class ReservationCancelled(StayEnded):
    """The guest does not come."""

    type: ClassVar[str] = "reservation.cancelled"

    cancelled_at: datetime
    reason: str | None = None


class ReservationCheckedOut(StayEnded):
    """The guest has left. `sire_intent` None: no SIRE at this property."""

    type: ClassVar[str] = "reservation.checked_out"

    checked_out_at: datetime
    checked_out_on: date
    sire_intent: Intent | None = None
    guests: tuple[Guest, ...] = ()

    def wanted(self) -> dict[str, int | None]:
        return {**super().wanted(), SIRE_EXIT: self.sire_intent}
