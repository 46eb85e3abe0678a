"""A model behind four APIs, as far as coding agents need one: it asks for one shell command, then answers with what that printed.

Anthropic messages, OpenAI responses and chat completions, Gemini streamGenerateContent; all of them streamed. What the prompt says
decides (`prompt()` below writes it): RUN a command and answer with its output, SAY something at once, REFUSE with an error of the
API, or HOLD: never answer. It is a proxy, too, that lets nothing through and remembers who asked (`outside`).
"""
import http.server
import json
import re
import threading

ANSWER = "it printed: "
ASKS = re.compile(r"KURULTAI-(RUN|SAY|REFUSE|HOLD)\[(.*?)\]", re.DOTALL)


def prompt(what, text=""):
    return f"KURULTAI-{what}[{text}]"


def _texts(value):
    """All texts in a JSON value, in their order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)


def _asked(conversation):
    found = None
    for text in _texts(conversation):
        for match in ASKS.finditer(text):
            found = match.groups()
    return found or ("SAY", "nothing was asked")


class _Anthropic:
    """POST /v1/messages"""

    @staticmethod
    def asked(body, _path):
        results = [part for message in body["messages"] if isinstance(message["content"], list)
                   for part in message["content"] if part.get("type") == "tool_result"]
        tools = [tool["name"] for tool in body.get("tools", ())]
        return _asked(body["messages"]), "\n".join(_texts([part["content"] for part in results])) if results else None, "Bash" in tools

    @staticmethod
    def _message(body, block, deltas, stop):
        yield "message_start", {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [],
                                                                     "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1}}}
        yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
        yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": deltas}
        yield "content_block_stop", {"type": "content_block_stop", "index": 0}
        yield "message_delta", {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 20}}
        yield "message_stop", {"type": "message_stop"}

    @classmethod
    def says(cls, body, text):
        return cls._message(body, {"type": "text", "text": ""}, {"type": "text_delta", "text": text}, "end_turn")

    @classmethod
    def calls(cls, body, command):
        arguments = json.dumps({"command": command, "description": "look"})
        return cls._message(body, {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}, {"type": "input_json_delta", "partial_json": arguments}, "tool_use")

    # Not 401, which Claude Code tries ten times.
    refusal = 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}}


class _Responses:
    """POST /v1/responses"""

    @staticmethod
    def asked(body, _path):
        outputs = [item["output"] for item in body["input"] if item.get("type", "").endswith("_output")]
        return _asked(body["input"]), "\n".join(_texts(outputs)) if outputs else None, bool(_Responses._shell(body))

    @staticmethod
    def _shell(body):
        known = ("exec_command", "shell_command", "shell", "container.exec")
        return next((tool["name"] for tool in body.get("tools", ()) if tool.get("name") in known), None)

    @staticmethod
    def _item(item):
        yield "response.created", {"type": "response.created", "response": {"id": "resp_1"}}
        yield "response.output_item.added", {"type": "response.output_item.added", "output_index": 0, "item": item}
        yield "response.output_item.done", {"type": "response.output_item.done", "output_index": 0, "item": item}
        usage = {"input_tokens": 10, "input_tokens_details": None, "output_tokens": 5, "output_tokens_details": None, "total_tokens": 15}
        yield "response.completed", {"type": "response.completed", "response": {"id": "resp_1", "usage": usage}}

    @classmethod
    def says(cls, _body, text):
        return cls._item({"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": text}]})

    @classmethod
    def calls(cls, body, command):
        name = cls._shell(body)
        arguments = {"cmd": command} if name == "exec_command" else {"command": command if name == "shell_command" else ["/bin/sh", "-c", command]}
        return cls._item({"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": json.dumps(arguments)})

    refusal = 401, {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}}


class _Chat:
    """POST /v1/chat/completions"""

    @staticmethod
    def asked(body, _path):
        outputs = [message["content"] for message in body["messages"] if message["role"] == "tool"]
        tools = [tool["function"]["name"] for tool in body.get("tools", ())]
        return _asked(body["messages"]), "\n".join(_texts(outputs)) if outputs else None, "bash" in tools

    @staticmethod
    def _chunks(body, delta, reason):
        head = {"id": "chat_1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        yield None, {**head, "choices": [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}]}
        yield None, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}
        yield None, "[DONE]"

    @classmethod
    def says(cls, body, text):
        return cls._chunks(body, {"content": text}, "stop")

    @classmethod
    def calls(cls, body, command):
        call = {"name": "bash", "arguments": json.dumps({"command": command, "description": "look"})}
        return cls._chunks(body, {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": call}]}, "tool_calls")

    refusal = 401, {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error", "code": "invalid_api_key"}}


class _Gemini:
    """POST /v1beta/models/MODEL:streamGenerateContent"""

    @staticmethod
    def asked(body, _path):
        outputs = [part["functionResponse"] for content in body["contents"] for part in content.get("parts", ()) if "functionResponse" in part]
        tools = [tool["name"] for group in body.get("tools", ()) for tool in group.get("functionDeclarations", ())]
        return _asked(body["contents"]), "\n".join(_texts([one["response"] for one in outputs])) if outputs else None, "run_shell_command" in tools

    @staticmethod
    def _parts(*parts):
        for part in parts:
            end = {"finishReason": "STOP"} if part is parts[-1] else {}
            yield None, {"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}, **end}], "modelVersion": "model", "responseId": "r1",
                         "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}}

    @classmethod
    def says(cls, _body, text):
        return cls._parts({"text": text[:4]}, {"text": text[4:]})

    @classmethod
    def calls(cls, _body, command):
        return cls._parts({"functionCall": {"id": "call_1", "name": "run_shell_command", "args": {"command": command, "description": "look"}}})

    refusal = 400, {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}


APIS = ((re.compile(r"/v1/messages$"), _Anthropic), (re.compile(r"/v1/responses$"), _Responses), (re.compile(r"/v1/chat/completions$"), _Chat),
        (re.compile(r":(streamG|g)enerateContent$"), _Gemini))


class _Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _json(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_CONNECT(self):
        self.server.outside.append(self.path)
        self.close_connection = True
        self._json(403, {"error": "nothing leaves this machine"})

    def do_GET(self):
        if self.path.startswith("http:") and not self.path.startswith("http://127.0.0.1"):
            self.server.outside.append(self.path)
        self._json(404, {"error": {"message": "there is nothing here"}})

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = re.sub(r"^http://[^/]+", "", self.path).partition("?")[0]
        api = next((api for pattern, api in APIS if pattern.search(path)), None)
        if api is None:
            self.server.others.append(path)
            return self._json(404, {"error": {"message": "no such endpoint"}})
        body = json.loads(body)
        self.server.requests.append((path, body))
        (what, text), output, can_run = api.asked(body, path)
        if what == "REFUSE":
            return self._json(*api.refusal)
        if what == "HOLD":
            self.server.held.set()
            self.server.over.wait()
            self.close_connection = True
            return None
        if what == "RUN" and output is None and can_run:
            return self._stream(api.calls(body, text), path)
        return self._stream(api.says(body, text if what == "SAY" else ANSWER + (output or "nothing")), path)

    def _stream(self, events, path):
        if path.endswith(":generateContent"):
            return self._json(200, next(iter(events))[1])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for name, data in events:
            head = f"event: {name}\n" if name else ""
            self.wfile.write(f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode())
        return None


class ModelServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Request)
        self.requests, self.others, self.outside = [], [], []
        self.held, self.over = threading.Event(), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # who is killed hangs up

    def close(self):
        self.over.set()
        self.shutdown()
        self.server_close()
