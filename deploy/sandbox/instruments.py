"""The test cards and test bank accounts, and what each one does."""

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Challenge(Enum):
    """When a card asks its holder for 3-D Secure."""

    OPTIONAL = "only when the request asks for it"
    ALWAYS = "every payment, whatever was set up"
    ON_SESSION = "unless off session and set up before"
    SAVED = "unless off session"
    UNSUPPORTED = "never"


@dataclass(frozen=True, slots=True)
class Decline:
    """Why the issuer says no."""

    code: str
    reason: str | None
    message: str

    def error(self) -> dict[str, Any]:
        """The members that a card error carries."""
        error: dict[str, Any] = {"type": "card_error", "code": self.code, "message": self.message}
        error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.reason is not None:
            error["decline_code"] = self.reason
        return error


def _declined(reason: str, message: str = "Your card was declined.") -> Decline:
    return Decline("card_declined", reason, message)


GENERIC = _declined("generic_decline")
INSUFFICIENT = _declined("insufficient_funds", "Your card has insufficient funds.")
LOST = _declined("lost_card")
STOLEN = _declined("stolen_card")
VELOCITY = _declined("card_velocity_exceeded", "Your card was declined for making repeated attempts too frequently.")
FRAUD = _declined("fraudulent")
UNKNOWN_CARD = _declined("test_mode_live_card", "Your card was declined. The sandbox accepts only test cards.")
EXPIRED = Decline("expired_card", "expired_card", "Your card has expired.")
WRONG_CVC = Decline("incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect.")
PROCESSING = Decline("processing_error", "processing_error", "An error occurred while processing your card.")
WRONG_YEAR = Decline("invalid_expiry_year", None, "Your card's expiration year is invalid.")
WRONG_MONTH = Decline("invalid_expiry_month", None, "Your card's expiration month is invalid.")
WRONG_NUMBER = Decline("incorrect_number", None, "Your card number is incorrect.")
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction needs authentication.",
)
BANK_CLOSED = Decline("account_closed", None, "The customer's bank account has been closed.")
BANK_UNKNOWN = Decline("no_account", None, "The customer's bank account could not be located.")
BANK_INSUFFICIENT = Decline("insufficient_funds", None, "The customer's account has insufficient funds.")
BANK_UNAUTHORIZED = Decline("debit_not_authorized", None, "The customer says that this debit was not authorized.")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One test number. `token` is the ready-made PaymentMethod id that stands for it."""

    token: str
    number: str
    brand: str = "visa"
    type: str = "card"
    funding: str = "credit"
    country: str = "US"
    decline: Decline | None = None
    saves: bool = False
    """It can be attached to a customer although its payments are declined."""
    challenge: Challenge = Challenge.OPTIONAL
    dispute: str | None = None
    inquiry: bool = False
    refund: str = "succeeded"
    """What becomes of a refund: succeeded, pending (then succeeded) or failed (after it succeeded)."""
    settled: bool = False
    """Its funds are available at once."""
    delayed: bool = False
    """The outcome comes later: payments are `processing` until then."""

    @property
    def last4(self) -> str:
        """What receipts show."""
        return self.number[-4:]

    @property
    def fingerprint(self) -> str:
        """The same for every PaymentMethod with this number."""
        return fingerprint(self.number)


def fingerprint(number: str) -> str:
    """Names a number without showing it."""
    return hashlib.sha256(number.encode()).hexdigest()[:16]


def _bank(token: str, number: str, decline: Decline | None = None) -> Instrument:
    return Instrument(token, number, brand="", type="us_bank_account", decline=decline, delayed=True)


INSTRUMENTS = (
    Instrument("pm_card_visa", "4242424242424242"),
    Instrument("pm_1234567890", "4000000000000010"),
    Instrument("pm_card_visa_debit", "4000056655665556", funding="debit"),
    Instrument("pm_card_mastercard", "5555555555554444", "mastercard"),
    Instrument("pm_card_mastercard_series_2", "2223003122003222", "mastercard"),
    Instrument("pm_card_mastercard_debit", "5200828282828210", "mastercard", funding="debit"),
    Instrument("pm_card_mastercard_prepaid", "5105105105105100", "mastercard", funding="prepaid"),
    Instrument("pm_card_amex", "378282246310005", "amex", challenge=Challenge.UNSUPPORTED),
    Instrument("pm_card_amex_threeDSecureNotSupported", "371449635398431", "amex", challenge=Challenge.UNSUPPORTED),
    Instrument("pm_card_discover", "6011111111111117", "discover"),
    Instrument("pm_card_diners", "3056930009020004", "diners"),
    Instrument("pm_card_jcb", "3566002020360505", "jcb"),
    Instrument("pm_card_unionpay", "6200000000000005", "unionpay"),
    Instrument("pm_card_bypassPending", "4000000000000077", settled=True),
    Instrument("pm_card_visa_chargeDeclined", "4000000000000002", decline=GENERIC),
    Instrument("pm_card_visa_chargeDeclinedInsufficientFunds", "4000000000009995", decline=INSUFFICIENT),
    Instrument("pm_card_visa_chargeDeclinedLostCard", "4000000000009987", decline=LOST),
    Instrument("pm_card_visa_chargeDeclinedStolenCard", "4000000000009979", decline=STOLEN),
    Instrument("pm_card_chargeDeclinedExpiredCard", "4000000000000069", decline=EXPIRED),
    Instrument("pm_card_chargeDeclinedIncorrectCvc", "4000000000000127", decline=WRONG_CVC),
    Instrument("pm_card_chargeDeclinedProcessingError", "4000000000000119", decline=PROCESSING),
    Instrument("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "4000000000006975", decline=VELOCITY),
    Instrument("pm_card_radarBlock", "4100000000000019", decline=FRAUD),
    Instrument("pm_card_chargeCustomerFail", "4000000000000341", decline=GENERIC, saves=True),
    Instrument("pm_card_authenticationRequired", "4000002760003184", challenge=Challenge.ALWAYS),
    Instrument("pm_card_threeDSecure2Required", "4000000000003220", challenge=Challenge.ALWAYS),
    Instrument("pm_card_threeDSecureRequired", "4000000000003063", challenge=Challenge.ALWAYS),
    Instrument("pm_card_authenticationRequiredOnSetup", "4000002500003155", challenge=Challenge.ON_SESSION),
    Instrument("pm_card_authenticationRequiredSetupForOffSession", "4000003800000446", challenge=Challenge.SAVED),
    Instrument(
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
        "4000008260003178",
        decline=INSUFFICIENT,
        saves=True,
        challenge=Challenge.ALWAYS,
    ),
    Instrument(
        "pm_card_threeDSecureRequiredChargeDeclined", "4000008400001629", decline=GENERIC, challenge=Challenge.ALWAYS
    ),
    Instrument("pm_card_threeDSecureOptional", "4000000000003055"),
    Instrument("pm_card_createDispute", "4000000000000259", dispute="fraudulent"),
    Instrument("pm_card_createDisputeProductNotReceived", "4000000000002685", dispute="product_not_received"),
    Instrument("pm_card_createDisputeInquiry", "4000000000001976", dispute="fraudulent", inquiry=True),
    Instrument("pm_card_pendingRefund", "4000000000007726", refund="pending"),
    Instrument("pm_card_refundFail", "4000000000005126", refund="failed"),
    _bank("pm_usBankAccount_success", "000123456789"),
    _bank("pm_usBankAccount_accountClosed", "000111111113", BANK_CLOSED),
    _bank("pm_usBankAccount_noAccount", "000111111116", BANK_UNKNOWN),
    _bank("pm_usBankAccount_insufficientFunds", "000222222227", BANK_INSUFFICIENT),
    _bank("pm_usBankAccount_debitNotAuthorized", "000333333335", BANK_UNAUTHORIZED),
    _bank("pm_usBankAccount_processing", "000000000009"),
)

BY_TOKEN = {instrument.token: instrument for instrument in INSTRUMENTS}
ALIASES = {"pm_1234567890": "pm_card_visa"}
"""Ids that examples of the API show."""
BY_NUMBER = {(instrument.type, instrument.number): instrument for instrument in INSTRUMENTS}
_BY_FINGERPRINT = {instrument.fingerprint: instrument for instrument in INSTRUMENTS}


def of(payment_method: dict[str, Any]) -> Instrument:
    """The test instrument behind a PaymentMethod."""
    return _BY_FINGERPRINT[payment_method[payment_method["type"]]["fingerprint"]]
