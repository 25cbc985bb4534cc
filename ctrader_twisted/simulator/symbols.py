"""What can be watched at the venue: a fixed table of symbols, and synthetic ones for load.

Volumes are in volume cents (1/100 of a unit). ``start_units``, ``spread_units`` and
``stride_units`` count the symbol's smallest price step, 10**-digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

DAY_S = 86_400

#: Category name -> asset class name; the ids follow the order.
CATEGORIES = {
    "Majors": "Forex",
    "Crosses": "Forex",
    "Metals": "Metals",
    "Indices": "Indices",
    "Crypto": "Crypto currencies",
    "Synthetic": "Synthetic",
}

#: Asset name -> decimals of its amounts; the ids follow the order.
ASSETS = {
    **dict.fromkeys(["EUR", "USD", "GBP", "CHF", "AUD", "NZD", "CAD", "SEK", "NOK"], 2),
    "JPY": 0,
    **dict.fromkeys(["XAU", "XAG", "XPT"], 2),
    **dict.fromkeys(["US500", "US30", "US100", "DE40", "UK100", "FR40", "JP225"], 2),
    **dict.fromkeys(["BTC", "ETH", "LTC", "XRP", "SOL"], 8),
    "SYN": 2,
}


@dataclass(frozen=True, slots=True)
class Hours:
    """When a kind of symbol trades: (start, end) in seconds from Sunday 00:00 of the time zone."""

    time_zone: str
    intervals: tuple[tuple[int, int], ...]


def _weekdays(time_zone: str, start_s: int, end_s: int) -> Hours:
    days = range(1, 6)
    return Hours(time_zone, tuple((day * DAY_S + start_s, day * DAY_S + end_s) for day in days))


_AROUND_THE_CLOCK = Hours("UTC", ((0, 7 * DAY_S),))
HOURS = {
    "Majors": _weekdays("Europe/Moscow", 300, DAY_S - 60),
    "Crosses": _weekdays("Europe/Moscow", 300, DAY_S - 60),
    "Metals": _weekdays("Europe/Moscow", 3_900, DAY_S - 300),
    "Indices": _weekdays("Europe/Moscow", 3_900, DAY_S - 300),
    "Crypto": _AROUND_THE_CLOCK,
    "Synthetic": _AROUND_THE_CLOCK,
}


@dataclass(frozen=True, slots=True)
class Volumes:
    """Lot size and limits in volume cents."""

    lot: int
    minimum: int
    step: int
    maximum: int


VOLUMES = {
    "fx": Volumes(10_000_000, 100_000, 100_000, 10_000_000_000),
    "gold": Volumes(10_000, 100, 100, 10_000_000),
    "silver": Volumes(500_000, 5_000, 5_000, 500_000_000),
    "index": Volumes(100, 1, 1, 100_000),
    "coin": Volumes(100, 1, 1, 100_000),
    "small coin": Volumes(10_000, 100, 100, 10_000_000),
}


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol: what the venue tells about it, and how its price walks.

    ``weight`` is its share of all ticks, relative to the others.
    """

    symbol_id: int
    name: str
    description: str
    category: str
    base: str
    quote: str
    digits: int
    pip_position: int
    volumes: Volumes
    start_units: int
    spread_units: int
    stride_units: int
    weight: float
    enabled: bool = True

    @property
    def hours(self) -> Hours:
        """When it trades."""
        return HOURS[self.category]

    @property
    def points_per_unit(self) -> int:
        """How many points (1/100000 of price) its smallest price step has."""
        return int(10 ** (5 - self.digits))


# name, description, category, base, quote, digits, pip, volumes, price, spread, stride, weight
_TABLE = """
EURUSD|Euro vs US Dollar                      |Majors |EUR  |USD|5|4|fx        |1.08432  |8  |4 |10
GBPUSD|British Pound vs US Dollar             |Majors |GBP  |USD|5|4|fx        |1.27115  |11 |5 |8
USDJPY|US Dollar vs Japanese Yen              |Majors |USD  |JPY|3|2|fx        |151.274  |10 |5 |8
AUDUSD|Australian Dollar vs US Dollar         |Majors |AUD  |USD|5|4|fx        |0.65384  |9  |4 |5
USDCHF|US Dollar vs Swiss Franc               |Majors |USD  |CHF|5|4|fx        |0.88231  |12 |4 |4
USDCAD|US Dollar vs Canadian Dollar           |Majors |USD  |CAD|5|4|fx        |1.36208  |12 |4 |4
NZDUSD|New Zealand Dollar vs US Dollar        |Majors |NZD  |USD|5|4|fx        |0.60177  |11 |4 |3
EURGBP|Euro vs British Pound                  |Crosses|EUR  |GBP|5|4|fx        |0.85302  |11 |3 |3
EURJPY|Euro vs Japanese Yen                   |Crosses|EUR  |JPY|3|2|fx        |164.031  |14 |6 |4
GBPJPY|British Pound vs Japanese Yen          |Crosses|GBP  |JPY|3|2|fx        |192.288  |19 |8 |4
EURCHF|Euro vs Swiss Franc                    |Crosses|EUR  |CHF|5|4|fx        |0.95671  |14 |3 |2
AUDJPY|Australian Dollar vs Japanese Yen      |Crosses|AUD  |JPY|3|2|fx        |98.909   |15 |5 |2
CADJPY|Canadian Dollar vs Japanese Yen        |Crosses|CAD  |JPY|3|2|fx        |111.062  |17 |5 |2
EURAUD|Euro vs Australian Dollar              |Crosses|EUR  |AUD|5|4|fx        |1.65840  |19 |6 |2
EURCAD|Euro vs Canadian Dollar                |Crosses|EUR  |CAD|5|4|fx        |1.47691  |18 |6 |2
GBPCHF|British Pound vs Swiss Franc           |Crosses|GBP  |CHF|5|4|fx        |1.12154  |21 |6 |1
USDSEK|US Dollar vs Swedish Krona             |Crosses|USD  |SEK|5|4|fx        |10.43216 |310|60|1
USDNOK|US Dollar vs Norwegian Krone           |Crosses|USD  |NOK|5|4|fx        |10.61538 |330|60|1
XAUUSD|Gold vs US Dollar                      |Metals |XAU  |USD|2|0|gold      |2342.61  |18 |14|9
XAGUSD|Silver vs US Dollar                    |Metals |XAG  |USD|3|2|silver    |27.418   |22 |6 |4
XPTUSD|Platinum vs US Dollar                  |Metals |XPT  |USD|2|1|gold      |931.77   |95 |18|1
US500 |US large caps                          |Indices|US500|USD|1|0|index     |5187.4   |5  |3 |6
US30  |US blue chips                          |Indices|US30 |USD|1|0|index     |38905.6  |24 |18|5
US100 |US technology                          |Indices|US100|USD|1|0|index     |18133.2  |12 |14|6
DE40  |German blue chips                      |Indices|DE40 |EUR|1|0|index     |18384.9  |11 |9 |4
UK100 |British blue chips                     |Indices|UK100|GBP|1|0|index     |7952.5   |10 |4 |2
FR40  |French blue chips                      |Indices|FR40 |EUR|1|0|index     |8151.6   |10 |5 |2
JP225 |Japanese blue chips                    |Indices|JP225|JPY|0|0|index     |40369    |7  |6 |2
BTCUSD|Bitcoin vs US Dollar                   |Crypto |BTC  |USD|2|0|coin      |70318.44 |1500|900|8
ETHUSD|Ether vs US Dollar                     |Crypto |ETH  |USD|2|0|coin      |3561.08  |180|95|5
LTCUSD|Litecoin vs US Dollar                  |Crypto |LTC  |USD|2|0|coin      |98.37    |12 |5 |2
XRPUSD|Ripple vs US Dollar                    |Crypto |XRP  |USD|5|4|small coin|0.61527  |95 |22|2
SOLUSD|Solana vs US Dollar                    |Crypto |SOL  |USD|3|1|coin      |184.716  |90 |40|2
"""

#: A symbol that was taken off the list: (id, name).
ARCHIVED = ((900, "EURSKK"),)
FIRST_SYNTHETIC_ID = 10_000


def _read(symbol_id: int, line: str) -> Instrument:
    row = [cell.strip() for cell in line.split("|")]
    name, description, category, base, quote, digits, pip, volumes, price, spread, stride, share = (
        row
    )
    return Instrument(
        symbol_id=symbol_id,
        name=name,
        description=description,
        category=category,
        base=base,
        quote=quote,
        digits=int(digits),
        pip_position=int(pip),
        volumes=VOLUMES[volumes],
        start_units=int(Decimal(price).scaleb(int(digits))),
        spread_units=int(spread),
        stride_units=int(stride),
        weight=float(share),
    )


def _synthetic(count: int) -> Iterator[Instrument]:
    for number in range(count):
        yield Instrument(
            symbol_id=FIRST_SYNTHETIC_ID + number,
            name=f"SYM{number:03d}",
            description=f"Synthetic symbol {number}",
            category="Synthetic",
            base="SYN",
            quote="USD",
            digits=5,
            pip_position=4,
            volumes=VOLUMES["fx"],
            start_units=100_000 + number * 137,
            spread_units=10,
            stride_units=5,
            weight=1.0,
        )


def instruments(synthetic: int = 0) -> tuple[Instrument, ...]:
    """The table, then ``synthetic`` symbols called SYM000, SYM001, ..."""
    lines = (line for line in _TABLE.splitlines() if line)
    return (*(_read(number, line) for number, line in enumerate(lines, 1)), *_synthetic(synthetic))
