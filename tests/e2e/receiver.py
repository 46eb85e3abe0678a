"""A web server on loopback that takes what webhooks are sent: it keeps the events, and answers as a test wants."""

import http.server
import json
import os
import ssl
import threading

CERTIFICATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "receiver.pem")


class Receiver:
    """`status` is what it answers; `held` is set when it is to answer at all; `then` is called with each answer."""

    def then(self):
        pass

    def __init__(self, port=0, tls=False):
        self.requests, self.status, self.held = [], 200, threading.Event()
        self.held.set()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.held.wait()
                status = owner.status
                owner.requests.append((dict(self.headers), json.loads(body), status, self.client_address))
                owner.then()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def events(self, *types):
        """All that it answered well for, in the order in which they came; only these types, where there are any."""
        return [event for _, body, status, _ in list(self.requests) if status == 200 for event in body["events"]
                if not types or event["type"] in types]

    def close(self):
        self.held.set()
        self.server.shutdown()
        self.server.server_close()
