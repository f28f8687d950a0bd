"""A connection to the database that outlives the server.

call() runs one statement as its own transaction.  Its answer comes after the
commit; if the connection breaks on the way, Broken is raised: the statement
may have been committed or not, and the caller must make sure by repeating it
or by looking.  Refusals by payorder (SQLSTATE PO...) come as psycopg errors.
"""

import time

import psycopg

# worth another try as it is
PASSING = ("40001", "40P01", "55P03", "57014")


class Broken(Exception):
    """The connection broke before the answer came."""


class Again(Exception):
    """The statement was rolled back and can be tried again."""


class Stopped(Exception):
    """The director has ended the demo."""


class Link:
    def __init__(self, board, slot, name):
        self.board = board
        self.slot = slot
        self.name = name
        self.connection = None

    def _connect(self):
        while not self.board.stopped:
            try:
                self.connection = psycopg.connect(
                    autocommit=True, application_name=self.name,
                    connect_timeout=5, prepare_threshold=0)
                return
            except psycopg.OperationalError:
                time.sleep(0.2)
        raise Stopped

    def call(self, sql, params=()):
        if self.connection is None:
            self._connect()
        self.board.add("calls")
        self.board.call_begins(self.slot)
        try:
            cursor = self.connection.execute(sql, params)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            state = error.sqlstate
            if self.connection.closed or state is None \
                    or state.startswith(("57P", "58", "XX")):
                self._drop()
                self.board.add("broken")
                raise Broken(str(error)) from error
            if state in PASSING or state.startswith("53"):
                self.board.add("retried")
                raise Again(str(error)) from error
            raise
        finally:
            self.board.call_ends(self.slot)

    def insist(self, sql, params=()):
        """For statements that can be repeated: until there is an answer."""
        while True:
            try:
                return self.call(sql, params)
            except Broken:
                continue
            except Again:
                time.sleep(0.05)

    def _drop(self):
        try:
            self.connection.close()
        except psycopg.Error:
            pass
        self.connection = None

    def close(self):
        if self.connection is not None:
            self._drop()
