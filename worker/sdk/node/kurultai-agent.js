// Makes a function a Kurultai agent (protocol 1). One file, no dependency, Node 18 or newer, for require and import:
//
//     const { serve } = require('./kurultai-agent.js');
//     serve(async (task) => {
//       for (const [done, item] of task.payload.items.entries()) {
//         await workOn(item, { signal: task.signal });
//         task.progress((100 * done) / task.payload.items.length);
//       }
//       return { ok: true };            // any JSON value; or an (async) generator or stream: a large result in pieces
//     });
//
// Throwing fails the task with the stack; `Fatal` says that a retry cannot help. When the task is preempted or
// cancelled, task.signal aborts and the next progress, save, chunk or throwIfStopped throws `Preempted` or `Cancelled`:
// let it pass. A preempted task runs again later, with the last saved state in `task.checkpoint`.
// `await breaker('openai', () => callIt())` leaves alone what keeps failing, see there.
// Tasks run on the event loop: a handler that computes for long without awaiting delays pings, PREEMPT and heartbeats.
// From serve() on, console.log and process.stdout.write go to stderr. Node has no dup2, so descriptor 1 itself stays
// the protocol's: start child processes with stdio 'pipe', or ['ignore', 2, 2], never with 'inherit'.
'use strict';

const fs = require('node:fs');
const { basename } = require('node:path');
const { inspect } = require('node:util');

const MAX_LINE = 1 << 20; // bytes; the supervisor ends a worker that writes a longer line (ipc.max_line)
const MAX_DEPTH = 64; // nesting of a whole line, likewise
const MAX_TEXT = 64 * 1024; // of a message, stack or piece: fits a line even when each character is escaped
const EOF_GRACE_MS = 300; // nobody waits for answers any more: time for `finally` blocks only
const timing = { progressGapMs: 100, heartbeatMs: 25000, tickMs: 250, memoryGapMs: 5000, answerMs: 5000 };

class Fatal extends Error {} // fails the task for good, whatever retries are left
class Cancelled extends Error {}
class Preempted extends Error {}
/** The call was not made: what it calls keeps failing. `breaker` says what, `retryAfter` is in seconds. */
class BreakerOpen extends Error {
  constructor(name, retryAfter) {
    super(`${name} keeps failing; try again in ${retryAfter.toFixed(1)} s`);
    [this.breaker, this.retryAfter] = [name, retryAfter];
  }
}

/** One task, as its handler sees it. */
class Task {
  #payload;
  #state; // as text: the handler may change what it saved
  #stop = new AbortController();
  #finished = false; // nothing of a task may be written behind its final message
  #chunked = false;
  #now = [0, undefined]; // percent and message
  #sent = '0,';
  #sentAt = performance.now() - timing.progressGapMs;
  #high = 0;

  constructor(message) {
    this.id = message.taskId;
    this.attempt = message.attempt ?? 1;
    this.priority = message.priority ?? 'normal';
    this.deadlineMs = message.deadlineMs;
    this.checkpoint = message.checkpoint;
    this.payloadFile = message.payloadFile;
    this.#payload = message.payload;
    this.#state = JSON.stringify(message.checkpoint);
  }

  /** The JSON value; a large one is read from payloadFile now. What is not JSON, open there yourself. */
  get payload() {
    if (this.#payload === undefined && this.payloadFile) this.#payload = JSON.parse(fs.readFileSync(this.payloadFile));
    return this.#payload;
  }
  /** An AbortSignal, for fetch, timers and the like. */
  get signal() { return this.#stop.signal; }
  get cancelled() { return this.signal.reason instanceof Cancelled; }
  get preempting() { return this.signal.reason instanceof Preempted; }
  throwIfStopped() { this.signal.throwIfAborted(); }
  /** Call it as often as you like: about ten a second are sent at most, one every 10 % at least. */
  progress(percent, message) {
    this.throwIfStopped();
    const clamped = Math.min(100, Math.max(0, Number(percent) || 0));
    this.#now = [Math.round(clamped * 10) / 10, message == null ? undefined : String(message).slice(0, MAX_TEXT)];
    this._report();
  }

  /** Leaves a JSON value with the supervisor, for the next run after a preemption or a crash. */
  save(state) {
    this.#send('CHECKPOINT', { state: state ?? null });
    this.#state = JSON.stringify(state);
    this.throwIfStopped();
  }

  /** Appends a string or bytes to the result, which is then all these pieces, however large. */
  chunk(data) {
    this.throwIfStopped();
    this.#chunked = true;
    const bytes = Buffer.from(data.buffer ?? data, data.byteOffset, data.byteLength);
    for (let at = 0; at === 0 || at < bytes.length; at += MAX_TEXT) {
      this.#send('CHUNK', { data: bytes.subarray(at, at + MAX_TEXT).toString('base64'), encoding: 'base64' });
    }
  }
  /** `return task.preempted(state)` frees the worker; the task runs again later, from this state. */
  preempted(state) { return Object.assign(new Preempted('preempted'), { state }); }
  /** level: trace, debug, info, warn or error. */
  log(level, message) { write('LOG', { level, message: String(message).slice(0, MAX_TEXT) }); }
  /** Publishes a figure of the agent's own; kind: gauge or counter. */
  metric(name, value, kind = 'gauge') { write('METRIC', { name, value, kind }); }

  /** For serve(): sends the progress when it is due. */
  _report() {
    const [percent, message] = this.#now;
    const quiet = performance.now() - this.#sentAt;
    const news = String(this.#now) !== this.#sent && (quiet >= timing.progressGapMs || percent >= this.#high + 10);
    if (this.#finished || !(news || quiet >= timing.heartbeatMs)) return;
    this.#send('PROGRESS', { percent, message });
    [this.#sent, this.#sentAt, this.#high] = [String(this.#now), performance.now(), Math.max(this.#high, percent)];
    reportMemory();
  }

  /** For serve(): the next call into this task throws `reason`. The first reason counts. */
  _stop(reason) { this.#stop.abort(reason); }
  /** For serve(): runs the handler and sends its answer; never rejects. */
  async _run(handler) {
    try {
      let result = await handler(this);
      if (result?.[Symbol.asyncIterator] || (result?.[Symbol.iterator] && typeof result.next === 'function')) {
        for await (const piece of result) this.chunk(piece);
        result = undefined;
      }
      if (result instanceof Preempted) throw result;
      if (this.#chunked && result !== undefined) throw new Fatal('after task.chunk() nothing else can be returned');
      this.#end('COMPLETE', { result });
    } catch (error) {
      // What an aborted API throws is its own AbortError; the reason for it is ours.
      const cause = error?.name === 'AbortError' && this.signal.aborted ? this.signal.reason : error;
      const saved = this.#state === undefined ? undefined : JSON.parse(this.#state);
      if (cause instanceof Preempted) this.#end('PREEMPTED', { state: cause.state ?? saved });
      else if (cause instanceof Cancelled || cause instanceof Fatal) this.#fail(cause.message, cause, false);
      else this.#fail(cause instanceof Error ? String(cause) : inspect(cause), cause, true);
    }
  }

  #end(type, fields) {
    try {
      this.#send(type, fields, true);
    } catch (error) {
      this.#fail(`the ${Object.keys(fields)[0]} cannot be sent: ${error.message}`, error, false);
    }
  }

  #fail(error, cause, retryable) {
    const stack = inspect(cause).slice(0, MAX_TEXT);
    this.#send('FAILED', { error: error.slice(0, MAX_TEXT / 16), stack, retryable }, true);
  }

  #send(type, fields, final = false) {
    if (this.#finished) return;
    write(type, { taskId: this.id, ...fields });
    this.#finished = final;
  }
}

function refuseWhatJsonDrops(key, value) {
  const kind = typeof value;
  if (kind === 'function' || kind === 'symbol' || (kind === 'number' && !Number.isFinite(value))) {
    throw new TypeError(`${key ? `"${key}" is ` : ''}${String(value).slice(0, 40)}, which JSON cannot hold`);
  }
  return value;
}

function encode(type, fields) {
  let text = JSON.stringify({ type, ...fields }, refuseWhatJsonDrops);
  if (/\\ud[89a-f]/.test(text)) { // half a surrogate pair, which JSON parsers refuse
    text = text.replace(/\\(?:ud[89a-f]..|.)/g, (escape) => (escape.length === 6 ? '\ufffd' : escape));
  }
  const size = Buffer.byteLength(text);
  if (size > MAX_LINE) {
    throw new RangeError(`a ${type} of ${size} bytes is over the limit of ${MAX_LINE}: ` +
      'give large results to task.chunk() in pieces, keep large states in files');
  }
  for (let at = 0, depth = 0, quoted = false; at < text.length; ++at) {
    if (text[at] === '\\') ++at;
    else if (text[at] === '"') quoted = !quoted;
    else if (!quoted) depth += '{['.includes(text[at]) - '}]'.includes(text[at]);
    if (depth > MAX_DEPTH) throw new RangeError(`a ${type} must not be nested deeper than ${MAX_DEPTH} levels`);
  }
  return Buffer.from(`${text}\n`);
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));
/** Writes a whole line before it returns, so that lines never mix and nothing is lost by process.exit. */
function write(type, fields) {
  for (let line = encode(type, fields); line.length > 0;) {
    try {
      line = line.subarray(fs.writeSync(1, line));
    } catch (error) {
      if (error.code === 'EPIPE' || error.code === 'ECONNRESET') process.exit(0); // the supervisor is gone
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(sleeper, 0, 0, 2);
    }
  }
}

let serving = false; // whether there is a supervisor to ask
let calls = 0;
const asked = new Map(); // by the number of the call: where its answer goes

/** The number of a call that may be made. */
async function acquire(name) {
  const call = ++calls;
  const answer = await new Promise((resolve) => {
    asked.set(call, resolve);
    setTimeout(resolve, timing.answerMs, {}).unref(); // a supervisor too busy to answer must not stop an agent's calls
    write('BREAKER', { name, op: 'acquire', call });
  }).finally(() => asked.delete(call));
  if (answer.allow === false) throw new BreakerOpen(name, (answer.retryAfterMs ?? 0) / 1000);
  return call;
}

/** Gives what `work()` gives, or throws BreakerOpen without calling it when the supervisor knows, from all its workers,
 *  that calls of this name keep failing; one is let through now and then to try. What `work` throws is a failure, but for
 *  BreakerOpen, Cancelled, Preempted and AbortError, which say nothing of what was called. */
async function breaker(name, work) {
  if (!serving) return work();
  const call = await acquire(String(name));
  const tell = (op) => write('BREAKER', { name: String(name), op, call });
  try {
    const value = await work();
    tell('success');
    return value;
  } catch (error) {
    const blameless = [BreakerOpen, Cancelled, Preempted].some((kind) => error instanceof kind);
    tell(blameless || error?.name === 'AbortError' ? 'release' : 'failure');
    throw error;
  }
}

let memoryAt = -Infinity;
function reportMemory() {
  if (performance.now() - memoryAt < timing.memoryGapMs) return;
  memoryAt = performance.now();
  const { heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage();
  write('MEMORY', { heapUsed, heapTotal, external, arrayBuffers });
}

/** Runs `handler(task)` for each task until the supervisor has no more, then ends the process. name: shown by the
 *  supervisor; the script's by default. onPressure(level, ratio): memory is short, drop caches. */
function serve(handler, { name = basename(process.argv[1] ?? 'node'), onPressure = () => global.gc?.() } = {}) {
  const tasks = new Set();
  let [leaving, ticker, rest] = [false, undefined, ''];
  const leave = (graceMs) => {
    leaving = true;
    if (tasks.size === 0) process.exit(0);
    setTimeout(() => process.exit(0), graceMs);
  };
  const start = async (task) => {
    tasks.add(task);
    ticker ??= setInterval(() => tasks.forEach((each) => each._report()), timing.tickMs);
    await task._run(handler);
    tasks.delete(task);
    reportMemory();
    if (tasks.size === 0) ticker = clearInterval(ticker);
    if (leaving && tasks.size === 0) process.exit(0);
  };
  const stop = (id, reason) => tasks.forEach((task) => (task.id === id ? task._stop(reason) : undefined));
  const pressure = async ({ level, ratio }) => onPressure(level, ratio);
  const take = (message) => {
    if (message?.type === 'TASK' && message.taskId) start(new Task(message));
    else if (message?.type === 'CANCEL') stop(message.taskId, new Cancelled('cancelled'));
    else if (message?.type === 'PREEMPT') stop(message.taskId, new Preempted('preempted'));
    else if (message?.type === 'BREAKER') asked.get(message.call)?.(message);
    else if (message?.type === 'PING') write('PONG', { seq: message.seq });
    else if (message?.type === 'PRESSURE') pressure(message).catch(console.error);
    else if (message?.type === 'SHUTDOWN') leave(message.graceMs ?? 5000);
  };
  const read = (data) => {
    const lines = (rest + data).split('\n'); // not readline: it also cuts at U+2028, which JSON may hold
    rest = lines.pop();
    for (const line of lines) {
      let message;
      try { message = JSON.parse(line); } catch { continue; }
      take(message);
    }
  };
  process.stdout.write = process.stderr.write.bind(process.stderr);
  serving = true;
  process.on('SIGINT', () => {}); // Ctrl-C is the supervisor's
  write('READY', { protocol: 1, name });
  const end = () => {
    tasks.forEach((task) => task._stop(new Cancelled('cancelled')));
    asked.forEach((answer) => answer({}));
    leave(EOF_GRACE_MS);
  };
  process.stdin.setEncoding('utf8').on('data', read).on('end', end).on('error', end);
}

module.exports = { serve, breaker, BreakerOpen, Fatal, Cancelled, Preempted, timing };
