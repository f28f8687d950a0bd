"""Unit tests of the fates: the same for the same seed, and consistent."""

import unittest
from collections import Counter

import stories
from fate import POTS
from steps import Begin, Create, Refund, Reprice, Tell

COUNT = 4000


class Fates(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.fates = [stories.draw(11, i) for i in range(COUNT)]

    def test_repeatable(self):
        for fate in self.fates[:500]:
            again = stories.draw(11, fate.i)
            fate.rng = again.rng = None
            self.assertEqual(fate, again)

    def test_seeds_differ(self):
        self.assertNotEqual(
            [stories.draw(12, i).story for i in range(100)],
            [fate.story for fate in self.fates[:100]])

    def test_every_story_happens(self):
        self.assertEqual({fate.story for fate in self.fates},
                         set(stories.STORIES))

    def test_money_adds_up(self):
        ids = Counter()
        for fate in self.fates:
            for made in fate.tries + ([fate.foreign] if fate.foreign else []):
                ids[made.txn_id] += 1
                if made.pots:
                    self.assertEqual(set(made.pots), set(POTS))
                    self.assertEqual(
                        sum(made.pots.values()) - made.pots["overdrawn"],
                        made.amount + made.pots["overdrawn"])
                    self.assertGreaterEqual(min(made.pots.values()), 0)
        self.assertEqual(max(ids.values()), 1)

    def test_scripts_pay_what_plans_expect(self):
        for fate in self.fates:
            script = list(stories.script(fate))
            self.assertEqual(sum(isinstance(s, Create) for s in script), 1)
            paid = {s.k for s in script
                    if isinstance(s, Tell) and s.do in ("pay", "foreign")}
            planned = {made.k for made in fate.tries if made.pots}
            if fate.foreign:
                planned.add(fate.foreign.k)
            self.assertEqual(paid, planned, fate.story)
            begun = {s.k for s in script if isinstance(s, Begin)} | {
                k for s in script if isinstance(s, Create) for k in s.tries}
            self.assertTrue(begun <= {made.k for made in fate.tries})
            asked = [s.n for s in script if isinstance(s, Refund)]
            self.assertEqual(asked, list(range(len(fate.refunds))))
            self.assertEqual(sum(isinstance(s, Reprice) for s in script),
                             fate.price is not None)
            taken = Counter(s.do for s in script if isinstance(s, Tell))
            for n in range(2):
                ends = taken["reinstate" + "2" * n] + taken["lose" + "2" * n]
                self.assertEqual(taken["withdraw" + "2" * n], ends)
                self.assertEqual(ends, n < len(fate.disputes))

    def test_what_was_taken_back_is_in_the_pots(self):
        for fate in self.fates:
            lost = sum(d.amount for d in fate.disputes[-1:]
                       if fate.end != "completed")
            self.assertEqual(sum(made.pots.get("disputed", 0)
                                 for made in fate.tries), lost)
            undone = any(made.pots.get("undone") for made in fate.tries)
            told = any(isinstance(s, Tell) and s.do == "revoke"
                       for s in stories.script(fate))
            self.assertEqual(undone, told)

    def test_nothing_waits(self):
        for fate in self.fates:
            for made in fate.tries:
                for pot in ("review", "owed", "returning"):
                    self.assertEqual(made.pots.get(pot, 0), 0)

    def test_shares_of_faults(self):
        # what no question would find is never lost
        pays = [made.pay for fate in self.fates for made in fate.tries
                if fate.story in ("plain", "part_refunds", "unpaid")]
        repeated = sum(d.copies > 0 for d in pays) / len(pays)
        lost = sum(d.lost for d in pays) / len(pays)
        self.assertTrue(0.27 < repeated < 0.33, repeated)
        self.assertTrue(0.07 < lost < 0.13, lost)
        self.assertTrue(any(d.burst for d in pays))


if __name__ == "__main__":
    unittest.main()
