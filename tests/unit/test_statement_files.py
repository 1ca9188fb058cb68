"""Statements as files: whatever their texts hold, programs show it and run nothing."""

import csv
import datetime
import html.parser
import io
import itertools
import uuid
import zoneinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallets_service import addresses, documents
from wallets_service.documents import cells, csv_file, html_page, wording
from wallets_service.instants import Basis
from wallets_service.models import Transaction
from wallets_service.repository.histories import Head
from wallets_service.statements import Period

UTC = zoneinfo.ZoneInfo("UTC")
PORT_AU_PRINCE = zoneinfo.ZoneInfo("America/Port-au-Prince")
DAY = datetime.datetime(2026, 3, 1, 4, 30, tzinfo=datetime.UTC)
MARKS = ["=", "+", "-", "@", "\t", "\r", "\0", "\n", "＝", "＋", "－", "＠"]  # noqa: RUF001
SEPARATORS = [",", ";", "|", "\t", "\r", "\n", "\0"]
COMMANDS = ["1+1", "cmd|'/C calc'!A0", 'HYPERLINK("http://127.0.0.1","x")', "SUM(A1:A9)", "2"]
PAYLOADS = [
    before + mark + command
    for before in ("", " ", '"', "'", "  '", "x,", "x;", "x|", "x\r\n", "x\t", 'x;"', "x, ", "\ufeff")
    for mark in MARKS
    for command in COMMANDS
]
TEXT_FIELDS = ("counterparty", "reference", "description")
ANYTHING = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from([*MARKS, *SEPARATORS, *"'\" "])))


def account(address: str = "user/ana") -> Head:
    return Head(uuid.UUID(int=1), address, "HTG", addresses.user_id(address), 1, None)


def period(**changes: Any) -> Period:
    whole = {"from_time": DAY, "before_time": DAY + datetime.timedelta(days=31), "basis": Basis.EFFECTIVE}
    numbers = {"first_version": 0, "last_version": 1, "known_version": 1}
    amounts = {"opening_balance": -250, "credit_amount": 10_000, "debit_amount": 5}
    return Period(**{**whole, **numbers, **amounts, **changes})


def line(**changes: Any) -> Transaction:
    plain: dict[str, Any] = {
        "id": uuid.UUID(int=2),
        "wallet_id": uuid.UUID(int=1),
        "type": "TRANSFER",
        "direction": "CREDIT",
        "amount": 10_000,
        "currency": "HTG",
        "balance_after": 9_750,
        "version": 1,
        "counterparty": "user/ben",
        "payment_id": None,
        "reference": "r-1",
        "description": "lunch",
        "metadata": {},
        "created_time": DAY,
        "effective_time": DAY,
        "hold_id": None,
        "reverses_id": None,
        "group_id": None,
    }
    return Transaction(**plain | changes)


def rows_of(*lines: Transaction, zone: zoneinfo.ZoneInfo = UTC, **changes: Any) -> list[dict[str, str]]:
    file = csv_file.CsvFile(account(), period(**changes), zone)
    text = file.head() + file.lines(lines) + file.tail()
    assert text.startswith("\ufeffrecord,")
    text = text.removeprefix("\ufeff")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_a_csv_file_has_an_opening_row_its_lines_and_a_closing_row() -> None:
    opening, first, second, closing = rows_of(line(), line(direction="DEBIT", amount=5, balance_after=9_745))
    assert (opening["record"], opening["balance"], opening["recorded_time"]) == ("OPENING", "-2.50", DAY.isoformat())
    shown = ("record", "transaction_id", "type", "counterparty", "currency", "credit_amount", "debit_amount", "balance")
    amounts = ("HTG", "100.00", "", "97.50")
    assert tuple(first[name] for name in shown) == (
        *("TRANSACTION", str(uuid.UUID(int=2)), "TRANSFER", "user/ben"),
        *amounts,
    )
    assert (second["credit_amount"], second["debit_amount"]) == ("", "0.05")
    assert (closing["record"], closing["credit_amount"], closing["debit_amount"], closing["balance"]) == (
        *("CLOSING", "100.00", "0.05"),
        "97.45",
    )


def test_times_are_of_the_zone_and_say_which() -> None:
    (row,) = [row for row in rows_of(line(), zone=PORT_AU_PRINCE) if row["record"] == "TRANSACTION"]
    assert (row["recorded_time"], row["time_zone"]) == ("2026-02-28T23:30:00-05:00", "America/Port-au-Prince")


def test_a_range_from_the_beginning_of_time_has_no_date_in_some_zones_and_is_shown_in_utc() -> None:
    beginning = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)
    assert rows_of(zone=PORT_AU_PRINCE, from_time=beginning)[0]["recorded_time"] == beginning.isoformat()
    assert html_page.HtmlPage(account(), period(from_time=beginning), PORT_AU_PRINCE).head()


def test_an_offset_with_seconds_is_written_in_whole_minutes_and_the_instant_stays() -> None:
    """Paris was 9 minutes and 21 seconds ahead of UTC until 1911; RFC 3339 has no seconds in offsets."""
    then = datetime.datetime(1900, 1, 1, tzinfo=datetime.UTC)
    row = rows_of(zone=zoneinfo.ZoneInfo("Europe/Paris"), from_time=then)[0]
    assert row["recorded_time"] == "1900-01-01T00:09:00+00:09"
    assert datetime.datetime.fromisoformat(row["recorded_time"]) == then


def test_an_hour_that_comes_twice_is_told_apart_by_its_offset() -> None:
    first, second = [datetime.datetime(2026, 11, 1, hour, 30, tzinfo=datetime.UTC) for hour in (4, 5)]
    lines = [line(created_time=time, effective_time=time) for time in (first, second)]
    rows = rows_of(*lines, zone=zoneinfo.ZoneInfo("America/Havana"))[1:-1]
    assert [row["recorded_time"] for row in rows] == ["2026-11-01T00:30:00-04:00", "2026-11-01T00:30:00-05:00"]


@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_no_cell_of_a_csv_file_begins_like_a_formula_and_every_text_comes_back(field: str) -> None:
    assert len(PAYLOADS) > 200
    rows = rows_of(*(line(**{field: payload}) for payload in PAYLOADS))[1:-1]
    assert [unescaped(row[field]) for row in rows] == PAYLOADS
    for row in rows:
        assert not begins_a_formula(row[field]), row[field]
        others = {value for name, value in row.items() if name != field}
        assert not any(begins_a_formula(other) for other in others)


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_no_other_separator_makes_a_cell_that_begins_like_a_formula(field: str, separator: str) -> None:
    """A program that expects semicolons splits our cells, quotes or not."""
    for row in rows_of(*(line(**{field: payload}) for payload in PAYLOADS))[1:-1]:
        for part in row[field].split(separator):
            assert not begins_a_formula(part), row[field]


def begins_a_formula(cell: str) -> bool:
    """Say it as naively as a spreadsheet: what is behind blanks and quotes counts as the beginning."""
    visible = cell.lstrip(' "\ufeff')
    return visible.startswith(tuple(set(MARKS) - {"\n", "\r", "\t"})) or cell.startswith(("\t", "\r", "\0"))


def unescaped(cell: str) -> str:
    """Return the text behind a cell: without each apostrophe that begins a part which would else be run."""
    kept = ""
    for place, character in enumerate(cell):
        begins = place == 0 or cell[place - 1] in ",;|\t\r\n\v\f\0"
        if not (character == "'" and begins and is_run(cell[place + 1 :])):
            kept += character
    return kept


def is_run(text: str) -> bool:
    """Return whether a program would run a text, after what some of them pass over."""
    passed = "".join(itertools.takewhile(lambda character: character.isspace() or character in "\ufeff\"'`", text))
    return not {"\t", "\r", "\n"}.isdisjoint(passed) or text[len(passed) :].startswith(tuple(MARKS))


@given(ANYTHING)
def test_an_escaped_text_is_no_formula_and_comes_back(text: str) -> None:
    escaped = cells.escape(text)
    assert unescaped(escaped) == text
    assert not escaped.startswith(tuple(MARKS))
    if not any(mark in text for mark in MARKS):
        assert escaped == text


@given(ANYTHING, ANYTHING)
def test_every_text_makes_the_round_trip_through_csv(reference: str, description: str) -> None:
    texts = reference.replace("\0", ""), description.replace("\0", "")  # No text in the ledger has a NUL.
    row = rows_of(line(reference=texts[0], description=texts[1]))[1]
    assert (unescaped(row["reference"]), unescaped(row["description"])) == texts


class Page(html.parser.HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        assert {name for name, _ in attrs} <= {
            "class",
            "lang",
            "charset",
            "colspan",
            "name",
            "content",
            "data-name",
            "datetime",
        }

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_of(*lines: Transaction, zone: zoneinfo.ZoneInfo = UTC, address: str = "user/ana") -> str:
    page = html_page.HtmlPage(account(address), period(), zone)
    return page.head() + page.lines(lines) + page.tail()


def test_a_page_says_whose_it_is_and_what_it_comes_to_and_repeats_its_head_on_paper() -> None:
    text = page_of(line(), zone=PORT_AU_PRINCE)
    shown = " ".join(Page(text).texts)
    for expected in (
        *("Statement of ana in HTG", "America/Port-au-Prince", "28 Feb 2026, 23:30"),
        *("Opening balance", "-2.50", "Closing balance", "97.45 HTG", "100.00", "lunch", "From ben"),
        *("Money in (HTG)", "Money out (HTG)", "Balance (HTG)"),
    ):
        assert expected in shown
    assert "thead { display: table-header-group }" in text
    assert "@page" in text
    assert text.startswith("<!DOCTYPE html>")
    assert text.endswith("</html>\n")


@given(ANYTHING)
def test_no_text_makes_an_element_of_a_page(text: str) -> None:
    hostile = f"<script>{text}</script><img src=x onerror=y>&amp;\"'{text}"
    plain = Page(page_of(line())).elements
    found = Page(page_of(line(description=hostile, reference=f"{hostile}r", counterparty=hostile)))
    assert found.elements == plain
    assert "script" not in found.elements


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "DEPOSIT", "counterparty": "provider/stripe"}, "Card top-up"),
        ({"type": "DEPOSIT", "counterparty": "provider/moncash"}, "Top-up"),
        ({"direction": "DEBIT"}, "To ben"),
        ({"counterparty": "agent/cap-haitien"}, "From agent cap-haitien"),
        ({"type": "FEE", "direction": "DEBIT", "counterparty": "fees"}, "Fee"),
        ({"type": "CONVERSION", "counterparty": "fx/liquidity"}, "Currency conversion"),
        ({"type": "ADJUSTMENT", "counterparty": "provider/bank"}, "Correction"),
        ({"type": "WITHDRAWAL", "direction": "DEBIT", "counterparty": "provider/bank"}, "Withdrawal, bank"),
        ({"type": "REFUND", "reverses_id": uuid.UUID(int=9)}, "Returned from ben"),
        (
            {
                "type": "REFUND",
                "reverses_id": uuid.UUID(int=9),
                "direction": "DEBIT",
                "counterparty": "provider/stripe",
            },
            "Returned to card",
        ),
        ({"type": "REFUND", "reverses_id": uuid.UUID(int=9), "counterparty": "fees"}, "Returned from KobKlein"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_customer_reads_words_and_no_addresses_of_the_system(fields: dict[str, Any], said: str) -> None:
    texts = Page(page_of(line(**fields))).texts
    assert said in texts
    assert not any("provider/" in text or "user/" in text or "fx/" in text for text in texts)


def test_staff_who_read_another_account_see_the_addresses() -> None:
    texts = Page(page_of(line(type="DEPOSIT", direction="DEBIT"), address="provider/stripe")).texts
    assert "Statement of provider/stripe in HTG" in texts
    assert "Deposit, user/ben" in texts


def test_a_reference_that_the_description_has_is_said_once() -> None:
    texts = Page(page_of(line(description="Payment KP-1", reference="KP-1"))).texts
    assert [text for text in texts if "KP-1" in text] == ["Payment KP-1"]
    assert {"lunch", "r-1"} <= set(Page(page_of(line())).texts)


@pytest.mark.parametrize(
    ("description", "reference", "said"),
    [
        ("Rent", "Rent", ["Rent"]),
        ("Room 12", "12", ["Room 12"]),
        ("Rent (KP-1), May", "KP-1", ["Rent (KP-1), May"]),
        ("Order A 7: shoes", "A 7", ["Order A 7: shoes"]),
        ("Room 12", "1", ["Room 12", "1"]),
        ("Rent KP-1-2", "KP-1", ["Rent KP-1-2", "KP-1"]),
        ("1.5 kg", "1", ["1.5 kg", "1"]),
        ("Rent", "Rent May", ["Rent", "Rent May"]),
        ("", "r-1", ["r-1"]),
        ("lunch", "", ["lunch"]),
        ("", "", []),
    ],
)
def test_a_reference_is_left_out_only_where_the_description_has_it_as_a_whole(
    description: str, reference: str, said: list[str]
) -> None:
    assert wording.notes(line(description=description, reference=reference)) == said


@pytest.mark.parametrize(
    ("from_time", "before_time", "range_", "opening", "closing"),
    [
        ("2026-11-01T04:00Z", "2026-11-28T05:00Z", "1 November 2026 to 27 November 2026", "1 Nov 2026", "27 Nov 2026"),
        (
            *("2026-11-01T00:00Z", "2026-11-28T00:00Z"),
            "31 October 2026, 20:00 to 27 November 2026, 19:00",
            *("31 Oct 2026, 20:00", "27 Nov 2026, 19:00"),
        ),
        (
            *("2026-11-01T04:00Z", "2026-11-01T04:00Z"),
            "1 November 2026, 00:00 to 1 November 2026, 00:00",
            *("1 Nov 2026, 00:00", "1 Nov 2026, 00:00"),
        ),
    ],
)
def test_a_customer_reads_days_and_times_and_the_zone_once(
    from_time: str, before_time: str, range_: str, opening: str, closing: str
) -> None:
    times = {"from_time": from_time, "before_time": before_time}
    whole = period(**{name: datetime.datetime.fromisoformat(time) for name, time in times.items()})
    page = html_page.HtmlPage(account(), whole, PORT_AU_PRINCE)
    texts = Page(page.head() + page.lines([line()]) + page.tail()).texts
    assert f"From {range_}" in texts
    assert [text for text in texts if text in (opening, closing)] == [opening, closing]
    assert [text for text in texts if "Port-au-Prince" in text] == ["America/Port-au-Prince"]
    assert not any("before" in text or "05:00" in text for text in texts[1:] if "{" not in text)


@pytest.mark.parametrize(
    ("minor_units", "currency", "shown"),
    [
        (123_456_789, "HTG", "1,234,567.89"),
        (-100_000, "USD", "-1,000.00"),
        (-50, "USD", "-0.50"),
        (99_999, "USD", "999.99"),
        (1_234_567, "JPY", "1,234,567"),
        (1_234_567, "KWD", "1,234.567"),
    ],
)
def test_a_page_has_commas_between_thousands(minor_units: int, currency: str, shown: str) -> None:
    assert wording.amount(minor_units, currency) == shown


def test_a_page_is_escaped_wherever_an_address_stands() -> None:
    assert Page(page_of(address="user/<b>&")).elements == Page(page_of()).elements


def test_the_name_of_a_file_is_letters_digits_and_dashes() -> None:
    assert documents.file_name(account(), period(), UTC, "csv") == "statement-00000000-HTG-20260301-20260401.csv"


@pytest.mark.parametrize(
    ("from_time", "before_time", "zone", "days"),
    [
        ("2026-11-01T05:00Z", "2026-11-28T01:00Z", "America/Port-au-Prince", "20261101-20261127"),
        ("2026-10-31T15:00Z", "2026-11-30T15:00Z", "Asia/Tokyo", "20261101-20261130"),
        ("2026-11-01T00:00Z", "2026-12-01T00:00Z", "UTC", "20261101-20261130"),
        ("2026-11-01T00:00Z", "2026-11-01T00:00Z", "UTC", "20261101-20261101"),
        ("0001-01-01T00:00Z", "2026-12-01T00:00Z", "America/Port-au-Prince", "00010101-20261130"),
    ],
)
def test_the_name_of_a_file_has_the_days_of_the_zone_the_last_one_with_it(
    from_time: str, before_time: str, zone: str, days: str
) -> None:
    times = {"from_time": from_time, "before_time": before_time}
    whole = period(**{name: datetime.datetime.fromisoformat(time) for name, time in times.items()})
    name = documents.file_name(account(), whole, zoneinfo.ZoneInfo(zone), "csv")
    assert name == f"statement-00000000-HTG-{days}.csv"
