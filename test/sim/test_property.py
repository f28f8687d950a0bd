"""The property test in a small size: 12,000 random messages of all kinds by 8
sessions must leave payorder and the model of the law with the same verdicts
and the same money (property.py; test/property runs it in any size)."""

import unittest
from types import SimpleNamespace

from property import Director


class Property(unittest.TestCase):
    def test_payorder_and_its_model_agree(self):
        options = SimpleNamespace(
            seed=7, messages=12000, orders=120, rounds=2, first=1,
            no_pause=False, no_trouble=False, overlap=False, log=None,
            lock_wait="5s", all_lines=False)
        self.assertTrue(Director(options).run())


if __name__ == "__main__":
    unittest.main()
