"""Points to prices. One point is 1/100000 of a price, for every symbol."""

from __future__ import annotations

POINT_DIGITS = 5


def round_points(points: int, digits: int) -> int:
    """``points`` rounded to a symbol's digits, halves away from zero: (104567, 2) -> 105000."""
    if digits >= POINT_DIGITS:
        return points
    step: int = 10 ** (POINT_DIGITS - max(digits, 0))
    magnitude = (abs(points) + step // 2) // step * step
    return magnitude if points >= 0 else -magnitude


def price_text(points: int, digits: int) -> str:
    """A price as a JSON number with exactly the symbol's digits: (104567, 5) -> "1.04567".

    Integer arithmetic, so that no price ever reads 1.1000000000000001.
    """
    shown, scaled = POINT_DIGITS, points
    if digits < POINT_DIGITS:
        shown = max(digits, 0)
        scaled = round_points(points, shown) // 10 ** (POINT_DIGITS - shown)
    if shown == 0:
        return str(scaled)
    sign = "-" if scaled < 0 else ""
    whole, rest = divmod(abs(scaled), 10**shown)
    return f"{sign}{whole}.{rest:0{shown}d}"


def price(points: int, digits: int) -> float:
    """A price as the float nearest to its decimal form."""
    return float(price_text(points, digits))
