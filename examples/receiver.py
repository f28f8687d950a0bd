"""Takes gateways' callbacks: POST /NAME_OF_GATEWAY.  See README.md."""
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import psycopg

TAKE = "SELECT ack_status, ack_type, ack_body FROM payorder.ingest_http(%s, %s, %s, %s)"
MOST = 1 << 20      # bytes


class Receiver(BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self):
        try:
            status, content_type, body = self.take()
        except Exception as error:      # whatever it is: no success
            self.log_error("%s", type(error).__name__)
            status, content_type, body = 503, "text/plain", "try again later"
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def take(self):
        url, headers = urlsplit(self.path), {}
        for name, value in self.headers.items():    # all that came twice, too
            headers.setdefault(name.lower(), []).append(value)
        length = int(self.headers["Content-Length"])
        if not 0 <= length <= MOST:
            raise ValueError
        message = (url.path[1:], json.dumps(headers), self.rfile.read(length), url.query)
        with psycopg.connect() as db:   # commits before it is left, or raises
            return db.execute(TAKE, message).fetchone()


ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 8080))), Receiver).serve_forever()
