/* ---- room machine: the default machine, defined once task kinds are there ---- */

SELECT payorder.define_machine('order', $machine$
{"initial": "pending",
 "parameters": {"pay_within": "15m", "cooling_off": "5m", "auto_complete": "10d"},
 "states": {
  "pending": {
   "on": {"pay":    {"target": "paid", "stock": "confirm"},
          "cancel": [{"guard": "no_open_attempt", "target": "cancelled", "stock": "release"},
                     {"target": "cancelling"}],
          "close":  [{"guard": "no_open_attempt", "target": "expired", "stock": "release"},
                     {"target": "closing"}]},
   "after": {"30s": {"enqueue": "query_payment", "guard": "open_attempt"},
             "2m":  {"enqueue": "query_payment", "guard": "open_attempt"},
             "5m":  {"enqueue": "query_payment", "guard": "open_attempt"},
             "{pay_within}": {"fire": "close"}}},
  "closing": {
   "entry": {"enqueue": "close_payment"},
   "on": {"pay": {"target": "paid", "stock": "confirm"},
          "close_confirmed": {"target": "expired", "stock": "release"}},
   "after": {"1m": {"enqueue": "query_payment"}, "5m": {"enqueue": "query_payment"},
             "10m": {"alarm": "close_unanswered"}, "30m": {"fire": "close_confirmed"}}},
  "cancelling": {
   "entry": {"enqueue": "close_payment"},
   "on": {"pay": {"target": "refunding", "stock": "release"},
          "close_confirmed": {"target": "cancelled", "stock": "release"}},
   "after": {"1m": {"enqueue": "query_payment"}, "5m": {"enqueue": "query_payment"},
             "10m": {"alarm": "close_unanswered"}, "30m": {"fire": "close_confirmed"}}},
  "paid": {
   "on": {"cancel": {"target": "refunding", "stock": "return"},
          "refund_all": {"target": "refunding", "stock": "return"},
          "refunded": {"target": "refunded", "stock": "return"},
          "cooled": {"target": "to_ship", "by": "timer"}},
   "after": {"{cooling_off}": {"fire": "cooled"}}},
  "to_ship": {
   "on": {"ship": {"guard": "money_quiet", "target": "shipped"},
          "refund_all": {"target": "refunding", "stock": "return"},
          "refunded": {"target": "refunded", "stock": "return"}},
   "after": {"24h": {"alarm": "not_shipped"}, "72h": {"alarm": "not_shipped_long"}}},
  "shipped": {
   "on": {"complete": {"target": "completed"},
          "refunded": {"target": "refunded"}},
   "after": {"{auto_complete}": {"fire": "complete", "guard": "money_quiet", "retry": "1d"},
             "30d": {"alarm": "shipped_long"}}},
  "refunding": {
   "entry": {"enqueue": "refund_all"},
   "on": {"refunded": {"target": "refunded"},
          "resume": {"guard": "stock_available", "target": "to_ship", "stock": "take"}},
   "after": {"1h": {"enqueue": "query_refund"}, "1d": {"alarm": "refund_slow"},
             "7d": {"alarm": "refund_stuck"}}},
  "completed": {"type": "final", "on": {"refunded": {"target": "refunded"}}},
  "expired":   {"type": "final",
                "on": {"reopen": {"target": "paid", "stock": "take", "within": "2h"}}},
  "cancelled": {"type": "final"},
  "refunded":  {"type": "final"}}}
$machine$);
