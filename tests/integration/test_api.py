"""The wire: what is written for Blnk, through its own SDK and with plain HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.harness import Cluster, Installation, wait_until
from tests.integration.serving import NUMBERS, Api, refused, served

from daybook.api.guard import BODY_BYTES_MAX
from daybook.api.routes.unbuilt import PATHS
from daybook.store.read import counts

MISSING = "bln_00000000-0000-4000-8000-000000000000"
ZERO_TIME = "0001-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def api(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    installation = Installation(cluster, 2, Path(tmp_path_factory.mktemp("api")))
    installation.workers(1)
    try:
        with served(installation) as url:
            yield Api(url)
    finally:
        installation.close()


def test_the_flow_of_the_sdk_s_own_page(api: Api) -> None:
    """A ledger, a balance, a deposit, a hold, a commit of a part, a refund."""
    sdk, wallet, shop = api.sdk, api.wallet(), api.wallet()
    _, paid = api.pay("@World", wallet, 10_000, allow_overdraft=True)
    assert (paid["status"], paid["precise_amount"], paid["amount_string"]) == (
        *("APPLIED", 10_000, "100"),
    )
    hold = sdk.transactions.create(api.body(wallet, shop, 4_000, inflight=True)).data
    assert (hold["status"], hold["inflight"]) == ("INFLIGHT", True)
    assert api.figures(wallet) == (10_000, -4_000)
    too_much = {"status": "commit", "precise_amount": 4_001}
    path = f"/transactions/inflight/{hold['transaction_id']}"
    refused(api.call("PUT", path, too_much), 400, "TXN_COMMIT_AMOUNT_EXCEEDED", "USD40")
    part = {"status": "commit", "precise_amount": 1_500, "skip_queue": True}
    committed = sdk.transactions.update_status(hold["transaction_id"], part).data
    assert (committed["status"], committed["parent_transaction"]) == (
        *("APPLIED", hold["transaction_id"]),
    )
    rest = {"status": "void", "skip_queue": True}
    assert sdk.transactions.update_status(hold["transaction_id"], rest).data["status"] == "VOID"
    assert api.figures(wallet) == (8_500, 0)
    again = api.call("PUT", f"/transactions/inflight/{hold['transaction_id']}", rest)
    refused(again, 409, "TXN_ALREADY_VOIDED")
    given_back = sdk.transactions.refund(committed["transaction_id"], {"skip_queue": True})
    assert given_back.status == 201
    assert api.figures(wallet) == (10_000, 0)
    path = f"/refund-transaction/{committed['transaction_id']}"
    refused(api.call("POST", path), 409, "TXN_ALREADY_REFUNDED")
    refused(api.call("POST", f"/refund-transaction/{hold['transaction_id']}"), 400,
            "TXN_VALIDATION_ERROR")  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "precision", "minor"),
    [("19.99", 100, 1999), ("0.29", 100, 29), ("1.005", 100, 101), ("0.1", 10**8, 10**7)],
)
def test_amounts_never_pass_through_a_float(
    api: Api, amount: str, precision: int, minor: int
) -> None:
    """Rounded half up, as the wire does."""
    currency = f"X{precision}"
    wallet = api.wallet(currency=currency)
    more = {"precision": precision, "currency": currency, "allow_overdraft": True}
    body = api.body("@World", wallet, None, **more)
    text = json.dumps(body)[:-1] + f', "amount": {amount}}}'
    answer = api.http.post("/transactions", content=text)
    assert answer.status_code == 201
    assert json.loads(answer.text)["precise_amount"] == minor
    assert api.figures(wallet)[0] == minor


def test_numbers_of_any_length_stay_exact(api: Api) -> None:
    """In both directions, also in meta_data."""
    wallet, large = api.wallet(), 9 * 10**30 + 7
    more = {"meta_data": {"n": 999_999_999_999_999_999}, "allow_overdraft": True}
    _, paid = api.pay("@World", wallet, None, precise_amount=f" {large} ", **more)
    assert paid["precise_amount"] == large
    assert int(paid["amount_string"].replace(".", "")) == large
    assert api.figures(wallet)[0] == large
    _, found = api.call("GET", f"/transactions/{paid['transaction_id']}")
    assert found["meta_data"]["n"] == 999_999_999_999_999_999
    assert str(found["amount"]) == paid["amount_string"]


def test_what_is_queued_is_found_from_the_first_moment(api: Api) -> None:
    """By its id and its reference; its id stays the same for life."""
    wallet = api.wallet()
    for _ in range(5):
        status, sent = api.pay("@World", wallet, 5, allow_overdraft=True, skip_queue=False)
        assert (status, sent["status"], sent["source"]) == (201, "QUEUED", "@World")
        for path in (sent["transaction_id"], f"reference/{sent['reference']}"):
            status, found = api.call("GET", f"/transactions/{path}")
            assert (status, found["transaction_id"]) == (200, sent["transaction_id"])
    own = f"/transactions/{sent['transaction_id']}"
    wait_until(lambda: api.call("GET", own)[1]["status"] == "APPLIED", "it is applied")
    status, found = api.call("GET", f"/transactions/reference/{sent['reference']}_q")
    assert found["transaction_id"] == sent["transaction_id"]


def test_the_same_request_is_answered_as_the_first(api: Api) -> None:
    """Another one under its reference is a conflict, which says what differs."""
    wallet = api.wallet()
    body = api.body("@World", wallet, 5, allow_overdraft=True)
    first, second = (api.call("POST", "/transactions", body) for _ in range(2))
    assert first[1]["transaction_id"] == second[1]["transaction_id"]
    assert (second[0], second[1]["status"], api.figures(wallet)[0]) == (201, "APPLIED", 5)
    other = api.call("POST", "/transactions", body | {"precise_amount": 6})
    details = refused(other, 409, "TXN_DUPLICATE_REFERENCE")["error_detail"]["details"]
    assert details == {"original_id": first[1]["transaction_id"], "fields": ["precise_amount"]}


@pytest.mark.parametrize(
    ("more", "code", "text"),
    [
        ({"precise_amount": None, "amount": 0}, "TXN_VALIDATION_ERROR", "amount is required"),
        ({"precise_amount": 0}, "TXN_VALIDATION_ERROR", "must be positive"),
        ({"precise_amount": -1}, "TXN_VALIDATION_ERROR", "cannot be negative"),
        ({"amount": 5}, "TXN_VALIDATION_ERROR", "not both"),
        ({"precision": -1}, "TXN_VALIDATION_ERROR", "cannot be negative"),
        ({"reference": " "}, "TXN_VALIDATION_ERROR", "reference: cannot be blank"),
        ({"description": None}, "TXN_VALIDATION_ERROR", "description: cannot be blank"),
        ({"destination": None}, "TXN_VALIDATION_ERROR", "either destination or destinations"),
        ({"destination": "@World"}, "TXN_VALIDATION_ERROR", "same balance"),
        ({"scheduled_for": "2030-01-01T00:00:00Z"}, "TXN_VALIDATION_ERROR", "skip_queue"),
        ({"effective_date": "tomorrow"}, "TXN_VALIDATION_ERROR", "effective_date"),
        ({"overdraft_limit": -1}, "TXN_VALIDATION_ERROR", "cannot be negative"),
        ({"precise_amount": "1.5"}, "GEN_MALFORMED_REQUEST", "Invalid input"),
        ({"allow_overdraft": "perhaps"}, "GEN_MALFORMED_REQUEST", "Invalid input"),
        (
            {"destination": None, "destinations": [{"identifier": "@A", "distribution": "x%"}]},
            "TXN_INVALID_DISTRIBUTION",
            "destinations[0].distribution",
        ),
    ],
)
def test_bad_transactions_name_their_field(
    api: Api, more: dict[str, Any], code: str, text: str
) -> None:
    """At once, and nothing is accepted."""
    body = api.body("@World", "@Shop", 5, allow_overdraft=True) | more
    found = api.call("POST", "/transactions", body)
    refused(found, 400, code, text)


def test_a_fraction_as_precision_has_the_text_that_clients_look_for(api: Api) -> None:
    found = api.pay("@World", "@Shop", 5, precision=10.5)
    assert found[1]["errors"] == "precision: precision must be an integer value."


def test_what_can_be_known_is_refused_before_it_is_accepted(api: Api) -> None:
    """A balance that nobody knows, another currency, another precision."""
    wallet = api.wallet(100)
    for more in ({"skip_queue": True}, {"skip_queue": False}, {"dry_run": True}):
        refused(api.pay(wallet, MISSING, 5, **more), 404, "BAL_NOT_FOUND", MISSING)
    euros = api.wallet(currency="EUR")
    refused(api.pay(wallet, euros, 5), 400, "TXN_VALIDATION_ERROR", "currency")
    refused(api.pay(wallet, "@Shop", 5, precision=1000), 400, "TXN_VALIDATION_ERROR", "precision")


def test_a_rejection_is_answered_to_who_waits_for_it(api: Api) -> None:
    """With the ledger's reason; without waiting it is found later."""
    wallet = api.wallet(100)
    found = refused(api.pay(wallet, "@Shop", 101), 400, "TXN_INSUFFICIENT_FUNDS",
                    "insufficient funds in source balance")  # fmt: skip
    assert found["error_detail"]["details"]["reason"] == "insufficient_funds"
    limited = api.pay(wallet, "@Shop", 301, overdraft_limit=2)
    refused(limited, 400, "TXN_VALIDATION_ERROR", "exceeds overdraft limit")
    _, queued = api.pay(wallet, "@Shop", 101, skip_queue=False)
    own = f"/transactions/{queued['transaction_id']}"
    wait_until(lambda: api.call("GET", own)[1]["status"] == "REJECTED", "it is refused")
    assert "insufficient funds" in api.call("GET", own)[1]["meta_data"]["blnk_rejection_reason"]
    waited = api.call(
        "POST", "/transactions?wait=5", api.body(wallet, "@Shop", 99, skip_queue=False)
    )
    assert (waited[0], waited[1]["status"]) == (201, "APPLIED")


def test_legs_take_effect_together(api: Api) -> None:
    """Their ids are told; the request has one of its own, by which all are refunded."""
    wallet, first, second = api.wallet(1000), api.wallet(), api.wallet()
    legs = [
        {"identifier": first, "distribution": "33%"},
        {"identifier": second, "distribution": "left"},
    ]
    body = api.body(wallet, "", 100)
    del body["destination"]
    _, made = api.call("POST", "/transactions", body | {"destinations": legs})
    assert [leg["identifier"] for leg in made["destinations"]] == [first, second]
    _, leg = api.call("GET", f"/transactions/{made['destinations'][0]['transaction_id']}")
    assert (leg["precise_amount"], leg["parent_transaction"]) == (33, made["transaction_id"])
    asked = [{"field": "parent_transaction", "operator": "eq", "value": made["transaction_id"]}]
    _, rows = api.call("POST", "/transactions/filter", {"filters": asked})
    assert [row["precise_amount"] for row in rows] == [67, 33]
    refund = api.sdk.transactions.refund(made["transaction_id"], {"skip_queue": True})
    assert (refund.status, api.figures(wallet)[0]) == (201, 1000)


def test_a_bulk_is_posted_in_order(api: Api) -> None:
    """All of it or none where it is atomic; else the rest is posted, and failures are told."""
    wallet = api.wallet(100)

    def items(*amounts: int) -> list[dict[str, Any]]:
        return [api.body(wallet, "@Shop", amount) for amount in amounts]

    made = api.sdk.transactions.create_bulk({"transactions": items(40, 10), "skip_queue": True})
    assert (made.status, made.data["status"], made.data["transaction_count"]) == (201, "applied", 2)
    assert api.figures(wallet)[0] == 50
    asked = [{"field": "parent_transaction", "operator": "eq", "value": made.data["batch_id"]}]
    _, rows = api.call("POST", "/transactions/filter", {"filters": asked})
    assert [row["meta_data"]["sequence"] for row in rows] == [2, 1]
    bulk = {"transactions": items(20, 60), "atomic": True, "skip_queue": True}
    found = refused(api.call("POST", "/transactions/bulk", bulk), 400, "TXN_INSUFFICIENT_FUNDS")
    assert found["batch_id"] == found["error_detail"]["details"]["batch_id"]
    assert api.figures(wallet)[0] == 50
    bulk = {"transactions": items(60, 20), "skip_queue": True}
    found = refused(api.call("POST", "/transactions/bulk", bulk), 400, "TXN_INSUFFICIENT_FUNDS")
    assert [each["item"] for each in found["error_detail"]["details"]["failures"]] == [1]
    assert api.figures(wallet)[0] == 30
    refused(api.call("POST", "/transactions/bulk", {"transactions": []}), 400, "TXN_BULK_EMPTY")
    started = api.call("POST", "/transactions/bulk", {"transactions": items(1), "run_async": True})
    assert (started[0], started[1]["status"]) == (202, "processing")


def test_holds_are_committed_and_voided_by_the_dozen(api: Api) -> None:
    """Each on its own, told in the order of the request."""
    wallet = api.wallet(100)
    holds = [api.pay(wallet, "@Shop", 10, inflight=True)[1]["transaction_id"] for _ in range(3)]
    parts = [{"transaction_id": holds[0], "precise_amount": 4}, {"transaction_id": "txn_none"}]
    _, found = api.call(
        "POST", "/transactions/inflight/bulk/commit", {"transactions": parts, "skip_queue": True}
    )
    assert [each["status"] for each in found["results"]] == ["succeeded", "failed"]
    assert (found["succeeded"], found["failed"], found["results"][1]["code"]) == (1, 1, "NOT_FOUND")
    _, found = api.call(
        "POST",
        "/transactions/inflight/bulk/void",
        {"transaction_ids": [*holds, holds[0]], "skip_queue": True},
    )
    assert [each["status"] for each in found["results"]] == ["succeeded"] * 3 + ["failed"]
    assert api.figures(wallet) == (96, 0)


def test_a_dry_run_changes_nothing(api: Api) -> None:
    """It says what would be, in the wire's own form."""
    wallet = api.wallet(100)
    _, found = api.pay(wallet, "@NeverUsed", 30, dry_run=True)
    assert (found["would_apply"], found["status"], found["precise_amount"]) == (
        True,
        "APPLIED",
        "30",
    )
    by_role = {each["role"]: each for each in found["balances"]}
    assert by_role["source"]["resulting_balance"] == "70"
    assert by_role["destination"]["virtual"] is True
    _, found = api.pay(wallet, "@Shop", 300, dry_run=True)
    assert found["rejection"]["code"] == "TXN_INSUFFICIENT_FUNDS"
    assert "status" not in found
    assert api.figures(wallet) == (100, 0)


def test_things_are_created_found_and_changed(api: Api) -> None:
    """The very next request may use them."""
    sdk = api.sdk
    ledger = sdk.ledgers.create({"name": "Old", "meta_data": {"a": 1}}).data
    assert sdk.ledgers.update(ledger["ledger_id"], {"name": "New"}).data["name"] == "New"
    found = sdk.ledgers.get(ledger["ledger_id"]).data
    assert (found["name"], found["meta_data"]) == ("New", {"a": 1})
    person = sdk.identity.create({"identity_type": "individual", "first_name": "Ada"}).data
    asked = {"ledger_id": ledger["ledger_id"], "currency": "USD"}
    made = sdk.ledger_balances.create(asked | {"identity_id": person["identity_id"]}).data
    path = f"/balances/{made['balance_id']}?include=identity&include=ledger"
    _, found = api.call("GET", path)
    assert (found["identity"]["first_name"], found["ledger"]["name"]) == ("Ada", "New")
    assert (found["inflight_expires_at"], found["currency"]) == (*(ZERO_TIME, "USD"),)
    changed = sdk.identity.update(
        person["identity_id"], {"last_name": "L", "identity_type": "organization"}
    )
    assert changed.data == {"message": "Identity updated successfully"}
    assert sdk.identity.get(person["identity_id"]).data["first_name"] == "Ada"
    _, merged = api.call("POST", f"/{made['balance_id']}/metadata", {"meta_data": {"b": 2}})
    assert merged == {"meta_data": {"b": 2}}
    refused(api.call("POST", "/what_is/metadata", {"meta_data": {"b": 2}}), 400,
            "META_UNSUPPORTED_ENTITY")  # fmt: skip
    refused(api.call("POST", "/ldg_none/metadata", {"meta_data": {"b": 2}}), 404,
            "META_ENTITY_NOT_FOUND")  # fmt: skip


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"currency": ""}, "currency: cannot be blank"),
        ({"ledger_id": "ldg_nowhere"}, "Invalid ledger ID"),
        ({"identity_id": "idt_00000000-0000-4000-8000-000000000000"}, "identity"),
        ({"indicator": "@Cash"}, "indicator"),
        ({"indicator": "cash"}, "indicator"),
        ({"track_fund_lineage": True}, "identity_id is required"),
        ({"allocation_strategy": "RANDOM"}, "must be one of FIFO"),
    ],
)
def test_bad_balances_name_their_field(api: Api, more: dict[str, Any], text: str) -> None:
    ledger = api.sdk.ledgers.create({"name": "l"}).data["ledger_id"]
    status, found = api.call("POST", "/balances", {"ledger_id": ledger, "currency": "USD"} | more)
    assert (status, text in found["errors"]) == (400, True), found


def test_an_internal_balance_has_one_name(api: Api) -> None:
    """In each currency; created once."""
    wanted = {"ledger_id": "general_ledger_id", "currency": "USD", "indicator": "@Petty"}
    status, made = api.call("POST", "/balances", wanted)
    assert status == 201
    refused(api.call("POST", "/balances", wanted), 409, "GEN_CONFLICT")
    _, found = api.call("GET", "/balances/indicator/@Petty/currency/USD")
    assert found["balance_id"] == made["balance_id"]
    refused(api.call("GET", "/balances/indicator/@Petty/currency/EUR"), 404, "BAL_NOT_FOUND")


def test_a_balance_stood_at_something_at_a_time(api: Api) -> None:
    """The + of an offset may arrive as a blank."""
    wallet = api.wallet(100)
    _, now = api.call("GET", f"/balances/{wallet}/at")
    assert now["balance"]["balance"] == 100
    _, then = api.call("GET", f"/balances/{wallet}/at?timestamp=2020-01-01T00:00:00+00:00")
    assert (then["balance"]["balance"], then["timestamp"]) == (0, "2020-01-01T00:00:00Z")
    refused(api.call("GET", f"/balances/{wallet}/at?timestamp=then"), 400, "BAL_INVALID_TIMESTAMP")
    refused(api.call("GET", f"/balances/{MISSING}/at"), 404, "BAL_NOT_FOUND")


def test_a_schedule_is_cancelled_before_its_time(api: Api) -> None:
    """From the first moment it is found as SCHEDULED; then refused, with the reason."""
    later = {"scheduled_for": "2035-01-01T00:00:00Z", "skip_queue": False}
    _, sent = api.pay("@World", api.wallet(), 5, allow_overdraft=True, **later)
    own = f"/transactions/{sent['transaction_id']}"
    assert (sent["status"], api.call("GET", own)[1]["status"]) == ("SCHEDULED", "SCHEDULED")
    status, found = api.call("POST", f"{own}/cancel")
    assert (status, found["status"]) == (200, "REJECTED")
    assert "cancelled" in found["meta_data"]["blnk_rejection_reason"]
    refused(api.call("POST", f"{own}/cancel"), 400, "TXN_VALIDATION_ERROR")


def test_a_statement_runs_from_what_it_opened_at(api: Api) -> None:
    """To what it closed at, line by line."""
    wallet = api.wallet(100)
    api.pay(wallet, "@Shop", 30)
    _, found = api.call("GET", f"/balances/{wallet}/statement")
    assert (found["opening"], found["closing"], found["precision"]) == (0, 70, 100)
    assert [(line["credit"], line["debit"], line["balance"]) for line in found["lines"]] == [
        *((100, 0, 100), (0, 30, 70)),
    ]
    _, last = api.call("GET", f"/balances/{wallet}/statement?last=1")
    assert (last["opening"], last["lines"][0]["other_indicator"]) == (100, "@Shop")


def test_the_journal_is_a_feed_behind_a_cursor(api: Api) -> None:
    """Nothing is missed and nothing comes twice."""

    def lines(query: str) -> list[dict[str, Any]]:
        text = api.http.get(f"/events?{query}").text
        return [json.loads(line) for line in text.splitlines()]

    api.wallet()
    start = lines("after=start&limit=1000")[-1]["cursor"]
    sent = [api.pay("@World", "@Shop", 5, allow_overdraft=True)[1] for _ in range(3)]
    seen, cursor = [], start
    while found := lines(f"after={cursor}&limit=2"):
        seen += [line["data"]["transaction_id"] for line in found]
        cursor = found[-1]["cursor"]
    assert sorted(seen) == sorted(each["transaction_id"] for each in sent)
    refused(
        api.call("GET", "/events?after=9:9"), 400, "GEN_VALIDATION_ERROR", "lies in partition 9"
    )


def test_what_waits_is_summed_up_on_demand(api: Api) -> None:
    """Nothing of what is applied, or scheduled; by default the sums are not there."""
    wallet = api.wallet(100)
    plain = api.sdk.ledger_balances.get(wallet).data
    assert "queued_debit_balance" not in plain
    found = api.sdk.ledger_balances.get(wallet, {"with_queued": True}).data
    assert (found["queued_debit_balance"], found["queued_credit_balance"]) == (0, 0)
    assert found["queued_complete"] is True


def test_what_no_worker_has_read_is_there_all_the_same(cluster: Cluster, tmp_path: Path) -> None:
    """Balances, and what was paid into them, by id, by reference and in sums."""
    installation = Installation(cluster, 2, tmp_path)
    try:
        with served(installation) as url:
            api = Api(url)
            wallet, shop = api.wallet(), api.wallet()
            more = {"skip_queue": False, "allow_overdraft": True}
            _, sent = api.pay("@World", wallet, 70, **more)
            status, late = api.call("POST", "/transactions?wait=0.1", api.body(wallet, shop, 30))
            assert (status, late["status"]) == (202, "QUEUED")
            later = {"scheduled_for": "2035-01-01T00:00:00Z"}
            api.pay("@World", wallet, 999, **more, **later)
            _, found = api.call("GET", f"/balances/{wallet}?with_queued=true&include=ledger")
            sums = found["queued_debit_balance"], found["queued_credit_balance"]
            assert (found["balance"], sums, found["ledger"]["name"]) == (0, (30, 70), "wallets")
            _, again = api.call("GET", f"/transactions/reference/{sent['reference']}")
            assert (again["transaction_id"], again["status"]) == (sent["transaction_id"], "QUEUED")
            _, at = api.call("GET", f"/balances/{wallet}/at")
            assert at["balance"]["balance"] == 0
            installation.drain(0, 1)
            assert api.figures(wallet) == (40, 0)
    finally:
        installation.close()


def test_a_ledger_says_how_much_it_has(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer within it counts once; counting stops at a bound, and says so."""
    ledger = api.sdk.ledgers.create({"name": "counted"}).data["ledger_id"]
    asked = {"ledger_id": ledger, "currency": "USD"}
    one, two = (api.sdk.ledger_balances.create(asked).data["balance_id"] for _ in range(2))
    dated = {"effective_date": "2026-01-02T03:04:05Z"}
    api.pay("@World", one, 10, allow_overdraft=True)
    api.pay("@World", one, 10, allow_overdraft=True, **dated)
    api.pay(one, two, 5)
    api.pay(two, "@World", 1, **dated)
    api.pay(two, one, 500)

    def counted() -> tuple[int, int, bool]:
        _, found = api.call("GET", f"/ledgers/{ledger}")
        names = ("balance_count", "transaction_count", "counts_complete")
        return tuple(found[name] for name in names)

    assert counted() == (2, 5, True)
    monkeypatch.setattr(counts, "COUNTED_MAX", 3)
    assert counted() == (2, 3, False)


COLLECTIONS = ("ledgers", "balances", "identities", "accounts", "transactions")


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_a_cursor_survives_what_comes_in_between(api: Api, collection: str) -> None:
    """No row is there twice and none is missing, whichever way it goes."""
    mark = f"cursor {collection}"
    person = api.sdk.identity.create({"identity_type": "individual", "city": mark}).data
    makers: dict[str, tuple[Callable[[], Any], str, str]] = {
        "ledgers": (lambda: api.call("POST", "/ledgers", {"name": mark}), "ledger_id", "name"),
        "identities": (
            lambda: api.call("POST", "/identities", {"city": mark}), *("identity_id", "city")
        ),
        "balances": (lambda: balance(), *("balance_id", "identity_id")),
        "accounts": (lambda: account(), *("account_id", "name")),
        "transactions": (
            lambda: api.pay("@World", "@Cursor", 1, description=mark, allow_overdraft=True),
            *("transaction_id", "description"),
        ),
    }  # fmt: skip

    def balance() -> Any:
        asked = {"ledger_id": "general_ledger_id", "currency": "USD"}
        return api.call("POST", "/balances", asked | {"identity_id": person["identity_id"]})

    def account() -> Any:
        given = {"number": f"n{next(NUMBERS)}", "name": mark}
        return api.call("POST", "/accounts", given | {"balance_id": balance()[1]["balance_id"]})

    make, key, field = makers[collection]
    wanted = person["identity_id"] if field == "identity_id" else mark
    made = [make()[1][key] for _ in range(5)]
    if collection == "identities":
        made.insert(0, person[key])
    for order, expected in (("desc", made[::-1]), ("asc", made)):
        body = {"filters": [{"field": field, "operator": "eq", "value": wanted}], "limit": 2}
        seen: list[str] = []
        while len(seen) < len(expected):
            page = body | {"sort_order": order} | ({"after": seen[-1]} if seen else {})
            _, rows = api.call("POST", f"/{collection}/filter", page)
            seen += [row[key] for row in rows]
            if len(seen) == 2:
                late = make()[1][key]
        if order == "asc":
            expected = [*expected, late][: len(seen)]
        assert seen == expected
        made.append(late)
    _, rows = api.call("GET", f"/{collection}?{field}_eq={wanted}&limit=1&after={made[1]}")
    assert [row[key] for row in rows] == [made[0]]
    path = f"/{collection}?after={made[0]}"
    refused(api.call("GET", f"{path}&sort_by={field}"), 400, "GEN_BAD_REQUEST", "leave sort_by out")
    refused(api.call("GET", f"/{collection}?after=x"), 400, "GEN_BAD_REQUEST", "there is no x")


def test_a_snapshot_is_taken_by_a_worker(api: Api) -> None:
    """What it keeps is what the journal says."""
    wallet = api.wallet(100)
    status, said = api.call("POST", "/balances-snapshots?batch_size=1000")
    assert (status, "on its way" in said["message"]) == (200, True)
    _, found = api.call("GET", f"/balances/{wallet}/at?from_source=true")
    assert found["balance"]["credit_balance"] == 100


def test_filters_find_by_every_operator(api: Api) -> None:
    """As a body, and in a query string."""
    ledger = api.sdk.ledgers.create({"name": "filtered"}).data["ledger_id"]
    wallets = []
    for amount in (10, 20, 30):
        made = api.sdk.ledger_balances.create({"ledger_id": ledger, "currency": "USD"})
        wallets.append(made.data["balance_id"])
        api.pay("@World", wallets[-1], amount, allow_overdraft=True)

    def found(*conditions: dict[str, Any], **more: Any) -> list[int]:
        here = {"field": "ledger_id", "operator": "eq", "value": ledger}
        body = {"filters": [here, *conditions], "sort_by": "balance", "sort_order": "asc", **more}
        return [row["balance"] for row in api.call("POST", "/balances/filter", body)[1]]

    for operator, more, wanted in (
        ("eq", {"value": 20}, [20]),
        ("ne", {"value": 20}, [10, 30]),
        ("gt", {"value": 20}, [30]),
        ("lte", {"value": 20}, [10, 20]),
        ("in", {"values": [10, 30, 99]}, [10, 30]),
        ("between", {"values": [15, 35]}, [20, 30]),
    ):
        assert found({"field": "balance", "operator": operator, **more}) == wanted, operator
    assert found({"field": "indicator", "operator": "isnull"}, limit=1, offset=1) == [20]
    query = f"/balances?ledger_id_eq={ledger}&balance_in=10,20"
    assert sorted(row["balance"] for row in api.call("GET", query)[1]) == [10, 20]
    body = {"filters": [{"field": "ledger_id", "operator": "eq", "value": ledger}]}
    _, counted = api.call("POST", "/balances/filter", body | {"include_count": True, "limit": 2})
    assert (len(counted["data"]), counted["total_count"]) == (2, 3)
    assert found({"field": "balance_id", "operator": "like", "value": wallets[1][:-2] + "%"}) == [
        20
    ]
    rows = api.call("GET", f"/transactions?balance_id_eq={wallets[0]}")[1]
    assert [row["precise_amount"] for row in rows] == [10]


@pytest.mark.parametrize(
    "condition",
    [
        {"field": "nonsense", "operator": "eq", "value": 1},
        {"field": "currency", "operator": "nonsense", "value": 1},
        {"field": "currency", "operator": "in", "values": []},
        {"field": "currency", "operator": "eq", "value": "x" * 1_001},
        {"field": "currency", "operator": "eq", "value": "\x00"},
        {"field": "balance", "operator": "eq", "value": "much"},
        {"field": "balance", "operator": "between", "values": [1]},
        {"field": "created_at", "operator": "gt", "value": "then"},
        {"field": "meta_data.x; drop", "operator": "eq", "value": 1},
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(api: Api, condition: dict[str, Any]) -> None:
    """With the name of what is wrong."""
    refused(api.call("POST", "/balances/filter", {"filters": [condition]}), 400, "GEN_BAD_REQUEST")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "GEN_MALFORMED_REQUEST"),
        ('{"name": "a", "name": "b"}', "GEN_MALFORMED_REQUEST"),
        ("[" * 100_000, "GEN_MALFORMED_REQUEST"),
        ("[]", "GEN_MALFORMED_REQUEST"),
        ("", "GEN_MALFORMED_REQUEST"),
        ('{"name": NaN}', "GEN_MALFORMED_REQUEST"),
        ('{"name": "\\ud800"}', "GEN_VALIDATION_ERROR"),
    ],
)
def test_what_is_no_request_is_told_so(api: Api, body: str, code: str) -> None:
    answer = api.http.post("/ledgers", content=body)
    refused((answer.status_code, answer.json()), 400, code)


def test_a_body_has_a_longest_length(api: Api) -> None:
    """Whether it says so before, or not."""
    for content in (b" " * (BODY_BYTES_MAX + 1), (b" " * 65536 for _ in range(100))):
        answer = api.http.post("/ledgers", content=content)
        refused((answer.status_code, answer.json()), 413, "GEN_PAYLOAD_TOO_LARGE")


def test_routes_that_there_are_not(api: Api) -> None:
    """Errors have one form, whatever they are about, and every answer its headers."""
    refused(api.call("GET", "/nowhere"), 404, "GEN_NOT_FOUND")
    refused(api.call("DELETE", "/ledgers"), 405, "GEN_BAD_REQUEST")
    answer = api.http.get("/nowhere", headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PATHS)
def test_what_is_not_built_says_so(api: Api, path: str) -> None:
    """And pretends nothing."""
    for call in (("GET", path), ("POST", f"{path}/more")):
        refused(api.call(*call), 501, "GEN_NOT_IMPLEMENTED")


def test_recover_says_how_many_were_rung(api: Api) -> None:
    """The threshold comes back as Go writes it."""
    assert api.call("POST", "/transactions/recover?threshold=90m")[1]["threshold"] == "1h30m0s"
    refused(api.call("POST", "/transactions/recover?threshold=soon"), 400, "GEN_VALIDATION_ERROR")


def test_without_the_key_nothing_is_answered(cluster: Cluster, tmp_path: Path) -> None:
    """But whether the server is there."""
    installation = Installation(cluster, 1, tmp_path)
    try:
        with served(installation, "the master key") as url, httpx.Client(base_url=url) as http:
            assert http.get("/health").json() == {"status": "UP"}
            for headers, code in (
                ({}, "AUTH_MISSING_API_KEY"),
                ({"X-Blnk-Key": "another"}, "AUTH_INVALID_API_KEY"),
            ):
                answer = http.get("/ledgers", headers=headers)
                refused((answer.status_code, answer.json()), 401, code)
            assert http.get("/ledgers", headers={"x-blnk-key": "the master key"}).status_code == 200
    finally:
        installation.close()
