"""The symbols, assets and classes as protobuf tells them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from ctrader_twisted.pb import model_pb2
from ctrader_twisted.simulator.symbols import ARCHIVED, ASSETS, CATEGORIES, Instrument

ASSET_IDS = {name: number for number, name in enumerate(ASSETS, 1)}
CATEGORY_IDS = {name: number for number, name in enumerate(CATEGORIES, 1)}
ASSET_CLASS_IDS = {
    name: number for number, name in enumerate(dict.fromkeys(CATEGORIES.values()), 1)
}
#: 2024-01-01, in ms: when the archived symbols were last touched.
_ARCHIVED_AT_MS = 1_704_067_200_000


class Catalogue:
    """What can be listed, by id and by name; only ``change`` alters it."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.by_id = {instrument.symbol_id: instrument for instrument in instruments}
        self._id_of = {instrument.name: instrument.symbol_id for instrument in self.by_id.values()}

    def named(self, name: str) -> Instrument:
        """The symbol of that name; LookupError with the name otherwise."""
        try:
            return self.by_id[self._id_of[name]]
        except KeyError:
            raise LookupError(f"no symbol is called {name!r}") from None

    def change(self, name: str, *, enabled: bool | None, minimum_cents: int | None) -> Instrument:
        """Alter a symbol's settings; what is None stays."""
        known = self.named(name)
        volumes = known.volumes
        if minimum_cents is not None:
            volumes = replace(volumes, minimum=minimum_cents)
        changed = replace(
            known, volumes=volumes, enabled=known.enabled if enabled is None else enabled
        )
        self.by_id[known.symbol_id] = changed
        return changed

    def between(self, first_asset_id: int, last_asset_id: int) -> list[Instrument]:
        """The shortest chain of symbols from one asset to the other, in order; [] if none."""
        waiting: deque[tuple[int, list[Instrument]]] = deque([(first_asset_id, [])])
        seen = {first_asset_id}
        while waiting:
            asset_id, chain = waiting.popleft()
            if asset_id == last_asset_id:
                return chain
            for instrument in self.by_id.values():
                ends = {ASSET_IDS[instrument.base], ASSET_IDS[instrument.quote]}
                for other in ends - seen if asset_id in ends else ():
                    seen.add(other)
                    waiting.append((other, [*chain, instrument]))
        return []


def light_symbol(instrument: Instrument) -> model_pb2.ProtoOALightSymbol:
    """The entry of the symbols list."""
    return model_pb2.ProtoOALightSymbol(
        symbolId=instrument.symbol_id,
        symbolName=instrument.name,
        enabled=instrument.enabled,
        baseAssetId=ASSET_IDS[instrument.base],
        quoteAssetId=ASSET_IDS[instrument.quote],
        symbolCategoryId=CATEGORY_IDS[instrument.category],
        description=instrument.description,
        sortingNumber=float(instrument.symbol_id),
    )


def full_symbol(instrument: Instrument) -> model_pb2.ProtoOASymbol:
    """The details of one symbol: every field that a real venue was seen to send, zeros too."""
    volumes, hours = instrument.volumes, instrument.hours
    is_currency = instrument.category in ("Majors", "Crosses")
    return model_pb2.ProtoOASymbol(
        symbolId=instrument.symbol_id,
        digits=instrument.digits,
        pipPosition=instrument.pip_position,
        enableShortSelling=True,
        guaranteedStopLoss=False,
        swapRollover3Days=model_pb2.WEDNESDAY,
        swapLong=-0.62,
        swapShort=0.21,
        lotSize=volumes.lot,
        minVolume=volumes.minimum,
        stepVolume=volumes.step,
        maxVolume=volumes.maximum,
        maxExposure=volumes.maximum,
        schedule=[
            model_pb2.ProtoOAInterval(startSecond=start, endSecond=end)
            for start, end in hours.intervals
        ],
        scheduleTimeZone=hours.time_zone,
        # The commission in two fields: in cents for old clients, and times 10^8.
        commission=250,
        commissionType=model_pb2.USD_PER_LOT,
        preciseTradingCommissionRate=250_000_000,
        minCommission=0,
        preciseMinCommission=0,
        minCommissionType=model_pb2.CURRENCY,
        minCommissionAsset="USD",
        rolloverCommission=0,
        rolloverCommission3Days=model_pb2.WEDNESDAY,
        skipRolloverDays=3,
        pnlConversionFeeRate=70,
        slDistance=0,
        tpDistance=0,
        gslDistance=0,
        gslCharge=0,
        distanceSetIn=model_pb2.SYMBOL_DISTANCE_IN_POINTS,
        tradingMode=model_pb2.ENABLED if instrument.enabled else model_pb2.CLOSE_ONLY_MODE,
        leverageId=1,
        swapPeriod=24,
        swapTime=1259,
        skipSWAPPeriods=0,
        chargeSwapAtWeekends=False,
        measurementUnits="" if is_currency else "Contracts",
    )


def archived_symbols() -> list[model_pb2.ProtoOAArchivedSymbol]:
    """Symbols that were taken off the list."""
    return [
        model_pb2.ProtoOAArchivedSymbol(
            symbolId=symbol_id, name=name, utcLastUpdateTimestamp=_ARCHIVED_AT_MS
        )
        for symbol_id, name in ARCHIVED
    ]


def assets() -> list[model_pb2.ProtoOAAsset]:
    """Every asset, with the decimals of its amounts."""
    return [
        model_pb2.ProtoOAAsset(assetId=ASSET_IDS[name], name=name, displayName=name, digits=digits)
        for name, digits in ASSETS.items()
    ]


def asset_classes() -> list[model_pb2.ProtoOAAssetClass]:
    """Every asset class."""
    return [
        model_pb2.ProtoOAAssetClass(id=number, name=name, sortingNumber=float(number))
        for name, number in ASSET_CLASS_IDS.items()
    ]


def categories() -> list[model_pb2.ProtoOASymbolCategory]:
    """Every symbol category."""
    return [
        model_pb2.ProtoOASymbolCategory(
            id=CATEGORY_IDS[name],
            assetClassId=ASSET_CLASS_IDS[asset_class],
            name=name,
            sortingNumber=float(CATEGORY_IDS[name]),
        )
        for name, asset_class in CATEGORIES.items()
    ]
