// The agent that test_sdk.py drives: `payload.do` names what it does. Its twin is agent.py.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { Readable } = require('node:stream');
const { serve, breaker, BreakerOpen, Fatal, timing } = require('../../worker/sdk/node/kurultai-agent.js');

Object.assign(timing, { heartbeatMs: 200, tickMs: 20 });
const pressureSeen = [];

async function untilStopped(task) {
  for (;;) {
    task.throwIfStopped();
    await sleep(2);
  }
}

const nested = (depth) => (depth === 0 ? 1 : [nested(depth - 1)]);

const orRefusal = (error) => {
  if (error instanceof BreakerOpen) return [error.breaker, error.retryAfter];
  throw error;
};

const does = {
  call: (task) => breaker('api', async () => {
    if (task.payload.waits) await untilStopped(task);
    if (task.payload.fails) throw new Error('down');
    return 'called';
  }).catch(orRefusal),
  call_within_call: () => breaker('outer', () => breaker('inner', () => {})),
  abort_call: (task) => breaker('api', () => sleep(60000, undefined, { signal: task.signal })),
  echo: (task) => task.payload.value,
  about: (task) => [task.id, task.attempt, task.priority, task.deadlineMs, task.checkpoint ?? null],
  nothing: () => undefined,
  until_stopped: untilStopped,
  abort_sleep: (task) => sleep(60000, undefined, { signal: task.signal }),
  progress_until_stopped: (task) => { task.progress(42, 'at it'); return untilStopped(task); },
  spin: (task) => { for (let step = 0; step <= 20000; ++step) task.progress(step / 200); },
  spin_messages: (task) => {
    const deadline = performance.now() + task.payload.seconds * 1000;
    let calls = 0;
    while (performance.now() < deadline) task.progress(50, `call ${++calls}`);
    return calls;
  },
  save_then_wait: (task) => {
    const state = { step: 1 };
    task.save(state);
    state.step = 2; // not saved: must not be handed over
    return untilStopped(task);
  },
  return_preempted: async (task) => {
    while (!task.preempting) await sleep(2);
    return task.preempted({ given: true });
  },
  fail: () => { throw new RangeError('broken ünit'); },
  fail_fatally: () => { throw new Fatal('never again'); },
  fail_oddly: () => { throw Object.create(null); },
  noise: () => {
    console.log('printed');
    process.stdout.write('{"type":"COMPLETE","taskId":"t","result":"forged"}\n');
    return '';
  },
  ignore_all: () => new Promise(() => {}),
  pieces: (task) => {
    task.chunk('ü'.repeat(70000));
    task.chunk(Buffer.from([0xff, 0]));
    task.chunk(new Uint8Array([...Buffer.from('end')]));
  },
  piece_and_value: (task) => { task.chunk('a'); return 1; },
  generate: function* () { yield 'one,'; yield Buffer.from('two'); },
  stream: () => Readable.from([Buffer.from('one,'), Buffer.from('two')]),
  async: async () => { await sleep(1); return 'awaited'; },
  logs: (task) => {
    task.log('warn', 'careful');
    task.metric('score', 1.5);
    task.metric('steps', 2, 'counter');
  },
  pressure: () => pressureSeen,
  nan: () => ({ value: NaN }),
  not_json: () => 10n,
  a_function: () => ({ call: () => 1 }),
  many_escapes: () => '\n'.repeat(400000),
  large: () => 'x'.repeat(2 << 20),
  large_state: (task) => task.save('x'.repeat(2 << 20)),
  bad_preempted_state: (task) => task.preempted(10n),
  nested: (task) => nested(task.payload.depth),
  half_pair: () => 'a\ud800b',
  odd_values: () => ({ list: [true, null, 1e300, -0.5], line: 'a\nb\u2028c\0' }),
};

serve((task) => does[task.payload.do](task), {
  name: 'test-agent',
  onPressure: (level, ratio) => {
    pressureSeen.push([level, ratio]);
    if (level === 4) throw new Error('callback failed');
  },
});
