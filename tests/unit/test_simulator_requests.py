"""Every request that the simulated venue serves, answered."""

from __future__ import annotations

from typing import Any

from ctrader_twisted.pb import api_pb2, model_pb2
from ctrader_twisted.simulator.answers import FOR_ACCOUNTS, FOR_APPLICATIONS, FOR_STRANGERS
from ctrader_twisted.simulator.service import Credentials
from ctrader_twisted.wire.codec import HEARTBEAT, REGISTRY
from tests.unit.joined_client import ACCOUNT, VenueCase
from tests.unit.wire_samples import sample


class Authorisation(VenueCase):
    """Being somebody."""

    def test_application_then_account(self) -> None:
        """Both authorisations are acknowledged, the second with the account's id."""
        client = self.connect()
        self.assertIsInstance(client.application_auth(), api_pb2.ProtoOAApplicationAuthRes)
        answer = client.account_auth()
        self.assertIsInstance(answer, api_pb2.ProtoOAAccountAuthRes)
        self.assertEqual(answer.ctidTraderAccountId, ACCOUNT)

    def test_replies_leave_the_inner_payload_type_unset(self) -> None:
        """The real venue does not set it, and an application's acknowledgement is empty."""
        answer = self.connect().application_auth()
        self.assertFalse(answer.HasField("payloadType"))

    def test_strangers_may_ask_for_the_version(self) -> None:
        """The version is a string, before any authorisation."""
        answer = self.connect().ask(api_pb2.ProtoOAVersionReq())
        self.assertEqual(answer.version, "93")

    def test_the_account_list_shows_both_worlds(self) -> None:
        """The list names every account of the token, live ones too, and the scope."""
        client = self.connect()
        client.application_auth()
        answer = client.ask(
            api_pb2.ProtoOAGetAccountListByAccessTokenReq(accessToken="simulator-token")
        )
        self.assertEqual(answer.permissionScope, model_pb2.SCOPE_TRADE)
        listed = {one.ctidTraderAccountId: one.isLive for one in answer.ctidTraderAccount}
        self.assertEqual(listed, {1000001: False, 1000002: False, 2000001: True})
        logins = {one.traderLogin for one in answer.ctidTraderAccount}
        self.assertFalse(logins & set(listed), "a login is never an account id")

    def test_the_profile_is_a_user_id(self) -> None:
        """A token's owner has a number."""
        client = self.connect()
        client.application_auth()
        answer = client.ask(api_pb2.ProtoOAGetCtidProfileByTokenReq(accessToken="simulator-token"))
        self.assertGreater(answer.profile.userId, 0)

    def test_two_accounts_on_one_connection(self) -> None:
        """Each account is authorised by itself, and answers as itself."""
        client = self.logged_in()
        client.account_auth(1000002)
        for account_id in (1000001, 1000002):
            answer = client.ask(api_pb2.ProtoOATraderReq(ctidTraderAccountId=account_id))
            self.assertEqual(answer.trader.ctidTraderAccountId, account_id)

    def test_logout_is_answered_and_followed_by_a_disconnect(self) -> None:
        """After the answer comes the event, and the account is closed."""
        client = self.logged_in()
        client.send(api_pb2.ProtoOAAccountLogoutReq(ctidTraderAccountId=ACCOUNT))
        answer, event = client.heard()
        self.assertIsInstance(answer.message, api_pb2.ProtoOAAccountLogoutRes)
        self.assertIsInstance(event.message, api_pb2.ProtoOAAccountDisconnectEvent)
        self.assertIsNone(event.client_message_id)
        self.refused(
            client.ask(api_pb2.ProtoOATraderReq(ctidTraderAccountId=ACCOUNT)), "INVALID_REQUEST"
        )

    def test_a_refresh_gives_a_pair_that_works_once(self) -> None:
        """A stranger may refresh; the new token opens accounts, the old pair is void."""
        client = self.connect()
        refresh = api_pb2.ProtoOARefreshTokenReq(refreshToken="simulator-refresh")
        answer = client.ask(refresh)
        self.assertEqual((answer.tokenType, answer.expiresIn), ("bearer", 2_628_000))
        client.application_auth()
        self.refused(client.account_auth(), "CH_ACCESS_TOKEN_INVALID")
        self.refused(client.ask(refresh), "CH_ACCESS_TOKEN_INVALID")
        opened = client.account_auth(token=answer.accessToken)
        self.assertIsInstance(opened, api_pb2.ProtoOAAccountAuthRes)

    def test_own_credentials(self) -> None:
        """The venue accepts what it was told to accept."""
        self.open_venue(
            credentials=Credentials(client_secret="another", access_token="mine", account_id=7)
        )
        client = self.connect()
        client.application_auth("another")
        self.assertEqual(client.account_auth(7, "mine").ctidTraderAccountId, 7)


class Reference(VenueCase):
    """Symbols, assets and classes."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.logged_in()

    def test_some_thirty_symbols_of_four_kinds(self) -> None:
        """The list is light: names, assets and categories."""
        answer = self.client.ask(api_pb2.ProtoOASymbolsListReq(ctidTraderAccountId=ACCOUNT))
        names = {one.symbolName for one in answer.symbol}
        self.assertTrue({"EURUSD", "XAUUSD", "US500", "BTCUSD"} <= names)
        self.assertGreaterEqual(len(names), 30)
        self.assertEqual(len(names), len(answer.symbol))
        self.assertEqual(len(answer.archivedSymbol), 0)

    def test_archived_symbols_on_demand(self) -> None:
        """They come in a list of their own, and by id as well."""
        listed = self.client.ask(
            api_pb2.ProtoOASymbolsListReq(ctidTraderAccountId=ACCOUNT, includeArchivedSymbols=True)
        )
        (archived,) = listed.archivedSymbol
        found = self.client.ask(
            api_pb2.ProtoOASymbolByIdReq(ctidTraderAccountId=ACCOUNT, symbolId=[archived.symbolId])
        )
        self.assertEqual((len(found.symbol), found.archivedSymbol[0].name), (0, archived.name))

    def test_recorded_numbers(self) -> None:
        """Digits, pips and volumes are those that were recorded from the real venue."""
        names = {one.name: one.symbol_id for one in self.venue.catalogue.by_id.values()}
        wanted = [names[name] for name in ("EURUSD", "XAUUSD", "US500")]
        answer = self.client.ask(
            api_pb2.ProtoOASymbolByIdReq(ctidTraderAccountId=ACCOUNT, symbolId=wanted)
        )
        euro, gold, index = answer.symbol
        self.assertEqual((euro.digits, euro.pipPosition, euro.lotSize), (5, 4, 10_000_000))
        self.assertEqual((euro.minVolume, euro.stepVolume), (100_000, 100_000))
        self.assertEqual(euro.maxVolume, 10_000_000_000)
        self.assertEqual((gold.digits, gold.pipPosition, gold.lotSize), (2, 0, 10_000))
        self.assertEqual((gold.minVolume, gold.stepVolume), (100, 100))
        self.assertEqual((index.lotSize, index.minVolume, index.stepVolume), (100, 1, 1))
        self.assertEqual(euro.scheduleTimeZone, "Europe/Moscow")
        self.assertEqual(len(euro.schedule), 5)

    def test_every_field_of_the_details(self) -> None:
        """All fields that were recorded are there for every symbol, and the same each time."""
        names = (
            "symbolId digits pipPosition enableShortSelling guaranteedStopLoss swapRollover3Days "
            "swapLong swapShort maxVolume minVolume stepVolume maxExposure schedule commission "
            "commissionType slDistance tpDistance gslDistance gslCharge distanceSetIn "
            "minCommission minCommissionType minCommissionAsset rolloverCommission "
            "skipRolloverDays scheduleTimeZone tradingMode rolloverCommission3Days lotSize "
            "leverageId swapPeriod preciseTradingCommissionRate preciseMinCommission "
            "pnlConversionFeeRate swapTime skipSWAPPeriods chargeSwapAtWeekends measurementUnits"
        )
        recorded = set(names.split())
        ask = api_pb2.ProtoOASymbolByIdReq(
            ctidTraderAccountId=ACCOUNT, symbolId=list(self.venue.catalogue.by_id)
        )
        answer = self.client.ask(ask)
        for one in answer.symbol:
            self.assertEqual({field.name for field, _ in one.ListFields()}, recorded)
        self.assertEqual(self.client.ask(ask), answer)

    def test_unknown_ids_are_left_out_of_the_details(self) -> None:
        """The known ones come, each once."""
        answer = self.client.ask(
            api_pb2.ProtoOASymbolByIdReq(ctidTraderAccountId=ACCOUNT, symbolId=[1, 4242, 1])
        )
        self.assertEqual([one.symbolId for one in answer.symbol], [1])

    def test_synthetic_symbols(self) -> None:
        """A setting adds as many as one likes."""
        self.open_venue(synthetic=200)
        listed = self.logged_in().ask(api_pb2.ProtoOASymbolsListReq(ctidTraderAccountId=ACCOUNT))
        names = [one.symbolName for one in listed.symbol if one.symbolName.startswith("SYM")]
        self.assertEqual((len(names), names[0], names[-1]), (200, "SYM000", "SYM199"))

    def test_conversion_chains(self) -> None:
        """From the first asset to the last, in order; nothing between an asset and itself."""
        assets = self.client.ask(api_pb2.ProtoOAAssetListReq(ctidTraderAccountId=ACCOUNT)).asset
        ids = {one.name: one.assetId for one in assets}

        def chain(first: str, last: str) -> list[str]:
            answer = self.client.ask(
                api_pb2.ProtoOASymbolsForConversionReq(
                    ctidTraderAccountId=ACCOUNT, firstAssetId=ids[first], lastAssetId=ids[last]
                )
            )
            return [one.symbolName for one in answer.symbol]

        self.assertEqual(chain("USD", "JPY"), ["USDJPY"])
        self.assertEqual(chain("BTC", "SEK"), ["BTCUSD", "USDSEK"])
        self.assertEqual(chain("EUR", "EUR"), [])

    def test_assets_classes_and_categories_fit_together(self) -> None:
        """Every symbol's assets and category are listed, every category's class as well."""
        client = self.client
        listed = client.ask(api_pb2.ProtoOASymbolsListReq(ctidTraderAccountId=ACCOUNT)).symbol
        assets = client.ask(api_pb2.ProtoOAAssetListReq(ctidTraderAccountId=ACCOUNT)).asset
        classes = client.ask(api_pb2.ProtoOAAssetClassListReq(ctidTraderAccountId=ACCOUNT))
        categories = client.ask(api_pb2.ProtoOASymbolCategoryListReq(ctidTraderAccountId=ACCOUNT))
        asset_ids = {one.assetId for one in assets}
        self.assertTrue({one.baseAssetId for one in listed} <= asset_ids)
        self.assertTrue({one.quoteAssetId for one in listed} <= asset_ids)
        category_ids = {one.id for one in categories.symbolCategory}
        self.assertTrue({one.symbolCategoryId for one in listed} <= category_ids)
        class_ids = {one.id for one in classes.assetClass}
        self.assertEqual({one.assetClassId for one in categories.symbolCategory}, class_ids)

    def test_trader_and_reconcile(self) -> None:
        """An account with money and leverage, and without positions."""
        answer = self.client.ask(api_pb2.ProtoOATraderReq(ctidTraderAccountId=ACCOUNT))
        self.assertEqual((answer.trader.moneyDigits, answer.trader.leverageInCents), (2, 10_000))
        book = self.client.ask(api_pb2.ProtoOAReconcileReq(ctidTraderAccountId=ACCOUNT))
        self.assertEqual((len(book.position), len(book.order)), (0, 0))


class Served(VenueCase):
    """What is not served is refused, by name."""

    def test_the_rest_is_unsupported(self) -> None:
        """A sound request that nobody serves is refused with its id, and nothing else happens."""
        served = {**FOR_STRANGERS, **FOR_APPLICATIONS, **FOR_ACCOUNTS}
        self.assertNotIn(api_pb2.ProtoOAGetTrendbarsReq, served)
        client = self.logged_in()
        answer = client.ask(
            api_pb2.ProtoOAGetTrendbarsReq(
                ctidTraderAccountId=ACCOUNT, period=model_pb2.M1, symbolId=1
            )
        )
        self.assertIsInstance(answer, api_pb2.ProtoOAErrorRes)
        self.assertEqual(answer.ctidTraderAccountId, ACCOUNT)
        self.assertIn("ProtoOAGetTrendbarsReq", self.refused(answer, "UNSUPPORTED_MESSAGE"))
        self.assertFalse(client.closed)

    def test_what_is_unsupported_is_said_behind_the_gates(self) -> None:
        """For every type that we know and do not serve, requests or not: first the application is
        asked for, then the account, and only then is it said, with the account's id.
        """
        served = {**FOR_STRANGERS, **FOR_APPLICATIONS, **FOR_ACCOUNTS}
        stranger, application = self.connect(), self.connect()
        application.application_auth()
        account = self.logged_in()
        for entry in REGISTRY:
            if entry.message_class in served or entry.payload_type == HEARTBEAT:
                continue
            message: Any = entry.message_class.FromString(sample(entry.message_class.DESCRIPTOR))
            owned = "ctidTraderAccountId" in entry.message_class.DESCRIPTOR.fields_by_name
            if owned:
                message.ctidTraderAccountId = ACCOUNT
            codes = []
            for client in (stranger, application, account):
                client.send(message, "mine")
                (answer,) = client.heard()
                self.assertIsInstance(answer.message, api_pb2.ProtoOAErrorRes)
                self.assertEqual(answer.client_message_id, "mine")
                codes.append(getattr(answer.message, "errorCode", ""))
            last: Any = answer.message
            self.assertEqual(last.ctidTraderAccountId, ACCOUNT if owned else 0)
            behind = "INVALID_REQUEST" if owned else "UNSUPPORTED_MESSAGE"
            expected = ["CH_CLIENT_NOT_AUTHENTICATED", behind, "UNSUPPORTED_MESSAGE"]
            self.assertEqual(codes, expected, entry.class_name)
            self.clock.advance(0.25)
