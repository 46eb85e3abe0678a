// What the recorded Node processes do: `node workloads.js NAME SEED` runs one of them for a little over a minute.
//
// A leak keeps what it allocates, without end and at no less than 50 MB/h where it ends; everything else is bounded and has come
// to its bound, or back from its spike, 6 s before the end. The seed varies rates, sizes and moments.
'use strict';

const { EventEmitter } = require('node:events');
const http = require('node:http');

const TICK = 50;  // ms
const LIFE = 66;  // s

// Small and good enough: the seed only has to make different recordings.
function diceOf(text) {
  let state = 2166136261;
  for (const letter of text) state = Math.imul(state ^ letter.charCodeAt(0), 16777619) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const seed = process.argv[3] || '1';
const random = diceOf(`${process.argv[2]} ${seed}`);
const between = (low, high) => low + random() * (high - low);
// Bytes a tick, for so many kilobytes a second, even on a logarithmic scale.
const rateBetween = (low, high) => low * (high / low) ** random() * TICK;

function everyTick(action) {
  const start = performance.now();
  const timer = setInterval(() => {
    const now = (performance.now() - start) / 1000;
    if (now > LIFE) {
      clearInterval(timer);
      process.exit(0);
    }
    action(now);
  }, TICK);
}

// About `bytes` of ordinary objects.
function objects(bytes) {
  const list = [];
  for (let i = 0; i * 120 < bytes; i++) list.push({ id: i, at: random(), name: `entry ${i}`, next: null });
  return list;
}

function buffer(bytes) {
  return Buffer.alloc(Math.ceil(bytes), 1);
}

const leaks = {
  arraySteady() {
    const kept = [], rate = rateBetween(150, 1000);
    everyTick(() => kept.push(objects(rate)));
  },
  listeners() {
    const bus = new EventEmitter().setMaxListeners(0), rate = rateBetween(100, 500);
    everyTick(() => {
      const context = objects(rate);
      bus.on('message', () => context.length);
    });
  },
  buffersKept() {
    const kept = [], rate = rateBetween(100, 600);
    everyTick(() => kept.push(buffer(rate)));
  },
  mapAmidGarbage() {  // hard
    const kept = new Map(), rate = rateBetween(150, 500), garbage = between(100, 500) * 1000;
    everyTick((now) => {
      objects(garbage);
      kept.set(now, objects(rate));
    });
  },
  slowAmidGarbage() {  // hard
    const kept = [], rate = rateBetween(60, 150);
    everyTick(() => {
      kept.push(objects(rate));
      objects(between(20, 200) * 1000);
    });
  },
  lateRamp() {  // hard
    const kept = [], rate = rateBetween(150, 800), begin = between(25, 40);
    everyTick((now) => {
      objects(20000);
      if (now > begin) kept.push(objects(rate));
    });
  },
  promisesPending() {
    const pending = [], rate = rateBetween(100, 400);
    everyTick(() => {
      const body = objects(rate);
      const never = new Promise(() => {});
      never.then(() => body);
      pending.push(never);
    });
  },
  warmUpThenLeak() {  // hard
    const tables = [], kept = [], until = between(4, 12), size = between(20, 80) * 1e6 * TICK / 1000 / until;
    const rate = rateBetween(100, 400);
    everyTick((now) => {
      if (now < until) tables.push(buffer(size));
      kept.push(buffer(rate));
    });
  },
  timersForgotten() {
    const rate = rateBetween(100, 400);
    everyTick(() => {
      const state = objects(rate);
      setInterval(() => state.length, 3600 * 1000);
    });
  },
  spikesAndLeak() {  // hard
    const kept = [], rate = rateBetween(80, 300);
    let spike = null;
    everyTick(() => {
      kept.push(buffer(rate));
      if (random() < 0.02) spike = buffer(between(5, 40) * 1e6);
      else if (random() < 0.1) spike = null;
    });
  },
};

const bounded = {
  idle() {
    const rows = objects(between(1, 20) * 1e6);
    everyTick(() => rows[0].id);
  },
  garbage() {
    const size = between(100, 800) * 1000;
    everyTick(() => objects(size));
  },
  garbageOfMiddleAge() {  // hard
    const queue = [], size = between(50, 300) * 1000, length = between(20, 100);
    everyTick(() => {
      queue.push(objects(size));
      if (queue.length > length) queue.shift();
    });
  },
  lru() {  // hard
    const cache = new Map(), size = between(40, 150) * 1000, most = between(8, 14) * 1000 / TICK;
    everyTick((now) => {
      cache.set(now, objects(size));
      if (cache.size > most) cache.delete(cache.keys().next().value);
    });
  },
  server() {
    const body = 'x'.repeat(between(5, 100) * 1000);
    const server = http.createServer((request, response) => response.end(body)).listen(0, '127.0.0.1', () => {
      const address = { port: server.address().port, host: '127.0.0.1' };
      everyTick(() => http.get(address, (response) => response.resume()));
    });
  },
  oneStep() {  // hard
    const begin = between(15, 48), size = between(5, 60) * 1e6;
    let kept = null;
    everyTick((now) => {
      objects(10000);
      if (now > begin) kept = kept || buffer(size);
    });
  },
  documents() {  // hard
    const text = JSON.stringify(objects(between(1, 8) * 1e6)), chance = between(0.01, 0.03);
    everyTick(() => {
      if (random() < chance) JSON.parse(text);
    });
  },
  buffersDropped() {  // hard
    const size = between(20, 300) * 1000;
    everyTick(() => buffer(size));
  },
  warmUp() {
    const made = [], until = between(8, 20);
    everyTick((now) => {
      if (now > until) return;
      for (let i = 0; i < 40; i++) made.push(new Function('a', `let s = ${i}; for (let i = 0; i < a; i++) s += i; return s;`)(100));
      made.push(objects(100 * 1000));
    });
  },
  finiteKeys() {  // hard
    const cache = new Map(), keys = 1000 + Math.floor(random() * 3000), fade = between(5, 8);
    everyTick(() => {
      for (let i = 0; i < keys * TICK / 1000 / fade; i++) {
        const key = Math.floor(random() * keys);
        if (!cache.has(key)) cache.set(key, buffer(6000));
      }
    });
  },
  lateSpike() {  // hard
    const begin = between(35, 47), size = between(20, 100) * 1e6;
    let spike = null;
    everyTick((now) => {
      if (now > begin && now < begin + 4) spike = spike || buffer(size);
      else if (spike) { spike = null; if (global.gc) global.gc(); }
    });
  },
  slowSawtooth() {  // hard
    const every = between(14, 24), size = between(5, 50) * 1e6 * TICK / 1000 / every;
    let batch = [], due = between(5, every);
    everyTick((now) => {
      batch.push(buffer(size));
      if (now > due) {
        batch = [];
        due += every;
        if (global.gc) global.gc();
      }
    });
  },
};

const name = process.argv[2];
(leaks[name] || bounded[name])();
