"""What the recorded Python processes do: `python3 workloads.py NAME SEED` runs one of them for a little over a minute.

A leak keeps what it allocates, without end and at no less than 50 MB/h where it ends; everything else is bounded and has come to
its bound, or back from its spike, 6 s before the end. The seed varies rates, sizes and moments.
"""

import functools
import gc
import math
import mmap
import random
import sys
import time

TICK = 0.05
KB, MB = 1000, 1000 * 1000
LIFE = 66

LEAKS = {}
BOUNDED = {}


def workload(kinds, hard=False):
    def keep(function):
        kinds[function.__name__] = (function, hard)
        return function

    return keep


def ticks(life=LIFE):
    """Yields the seconds since the start, twenty times a second."""
    start = time.monotonic()
    number = 0
    while (now := time.monotonic() - start) < life:
        yield now
        number += 1
        time.sleep(max(0.0, start + number * TICK - time.monotonic()))


def touched(size):
    """As many bytes, really there: a bytearray of zeros would not be."""
    return bytearray(b"\xa5") * int(size)


def rate_between(dice, low, high):
    """Bytes a tick, for so many kilobytes a second, even on a logarithmic scale."""
    return KB * TICK * math.exp(dice.uniform(math.log(low), math.log(high)))


class Leak:
    """Keeps small objects, as forgotten entries are, at a mean rate."""

    def __init__(self, bytes_a_tick):
        self.rate, self.owed, self.kept = bytes_a_tick, 0.0, []

    def grow(self, times=1.0):
        self.owed += self.rate * times
        while self.owed >= 1000:
            self.kept.append(touched(1000 - 57))
            self.owed -= 1000


@workload(LEAKS)
def list_steady(dice):
    leak = Leak(rate_between(dice, 100, 1000))
    for _ in ticks():
        leak.grow()


@workload(LEAKS, hard=True)
def list_slow(dice):
    leak = Leak(rate_between(dice, 20, 50))
    for _ in ticks():
        leak.grow()


@workload(LEAKS, hard=True)
def slow_in_noise(dice):
    leak = Leak(rate_between(dice, 40, 120))
    for _ in ticks():
        leak.grow()
        if dice.random() < 0.15:
            burst = [touched(200 * KB) for _ in range(dice.randint(5, 50))]  # large ones leave no holes to grow in
            time.sleep(dice.uniform(0, 0.2))
            del burst


@workload(LEAKS)
def cycles_uncollected(dice):
    gc.disable()
    rate = rate_between(dice, 150, 600)
    owed = 0.0
    for _ in ticks():
        owed += rate
        while owed > 2000:
            node = {"payload": touched(1700)}
            node["self"] = node
            owed -= 2000


@workload(LEAKS, hard=True)
def dict_unbounded(dice):
    rate = rate_between(dice, 80, 400)
    seen, number = {}, 0
    for _ in ticks():
        for _ in range(int(rate / 150) + 1):
            seen[f"request-{number:09d}"] = number * 1.5
            number += 1


@workload(LEAKS, hard=True)
def late_ramp(dice):
    begin = dice.uniform(28, 42)
    leak = Leak(rate_between(dice, 100, 800))
    for now in ticks():
        if now > begin:
            leak.grow()


@workload(LEAKS, hard=True)
def late_ramp_in_noise(dice):
    begin = dice.uniform(22, 36)
    leak = Leak(rate_between(dice, 100, 400))
    for now in ticks():
        if now > begin:
            leak.grow()
        if dice.random() < 0.1:
            burst = [touched(200 * KB) for _ in range(dice.randint(2, 20))]
            time.sleep(0.05)
            del burst


@workload(LEAKS, hard=True)
def warm_up_then_leak(dice):
    tables, until = [], dice.uniform(4, 14)
    size = dice.uniform(20, 120) * MB * TICK / until
    leak = Leak(rate_between(dice, 60, 300))
    for now in ticks():
        if now < until:
            tables.append(touched(size))
        leak.grow()


@workload(LEAKS, hard=True)
def spike_then_leak(dice):
    begin, size = dice.uniform(3, 20), dice.uniform(50, 200)
    leak, spike = Leak(rate_between(dice, 60, 300)), None
    for now in ticks():
        leak.grow()
        if begin < now < begin + 6 and spike is None:
            spike = touched(size * MB)
        elif now > begin + 6:
            spike = None


@workload(LEAKS, hard=True)
def stairs(dice):
    every, size, kept, due = dice.uniform(1.5, 5), dice.uniform(0.3, 3), [], 1.0
    for now in ticks():
        if now > due:
            kept.append(touched(size * MB))
            due += every * dice.uniform(0.7, 1.3)


@workload(LEAKS, hard=True)
def batches_that_keep(dice):
    every, kept, leak = dice.uniform(2, 6), [], rate_between(dice, 60, 300) / TICK
    batch, due = [], every
    size = dice.uniform(5, 30) * MB * TICK / every
    for now in ticks():
        batch.append(touched(size))
        if now > due:
            batch.clear()
            kept.append([touched(900) for _ in range(int(leak * every / 957))])
            due += every


@workload(LEAKS, hard=True)
def bursts_kept(dice):
    kept, chance = [], dice.uniform(0.02, 0.06)
    size = rate_between(dice, 100, 500) / chance
    for _ in ticks():
        if dice.random() < chance:
            kept.append([touched(900) for _ in range(int(size * dice.uniform(0.3, 1.7) / 957))])


@workload(LEAKS)
def maps_forgotten(dice):
    rate, owed, kept = rate_between(dice, 100, 600), 0.0, []
    for _ in ticks():
        owed += rate
        while owed > 65536:
            area = mmap.mmap(-1, 65536)
            area.write(b"x" * 65536)
            kept.append(area)
            owed -= 65536


@workload(LEAKS, hard=True)
def faster_and_faster(dice):
    leak = Leak(rate_between(dice, 100, 400))
    for now in ticks():
        leak.grow(now / 30)


@workload(BOUNDED)
def idle(dice):
    rows = [touched(1000) for _ in range(dice.randint(1000, 30000))]
    for _ in ticks():
        sum(row[0] for row in rows[:100])


@workload(BOUNDED)
def churn(dice):
    for _ in ticks():
        if dice.random() < 0.3:
            burst = [touched(dice.randint(1, 100) * KB) for _ in range(dice.randint(10, 200))]
            time.sleep(0.02)
            del burst


@workload(BOUNDED, hard=True)
def cache_fills_and_stops(dice):
    full = dice.uniform(18, 40)
    size = dice.uniform(5, 60) * MB * TICK / full
    entries = int(full / TICK)

    @functools.lru_cache(maxsize=entries)
    def entry(number):
        return touched(size)

    for number, _ in enumerate(ticks()):
        entry(number)


@workload(BOUNDED)
def warm_up(dice):
    tables, until = [], dice.uniform(5, 20)
    size = dice.uniform(20, 150) * MB * TICK / until
    for now in ticks():
        if now < until:
            tables.append(touched(size))


@workload(BOUNDED, hard=True)
def cache_of_finite_keys(dice):
    """Fills ever more slowly: fewer and fewer keys are new."""
    keys, fade = dice.randint(2000, 8000), dice.uniform(5, 9)
    cache, asked = {}, int(keys * TICK / fade) + 1
    for _ in ticks():
        for _ in range(asked):
            key = dice.randrange(keys)
            if key not in cache:
                cache[key] = touched(4000)


@workload(BOUNDED, hard=True)
def late_spike(dice):
    begin, size, spike = dice.uniform(35, 48), dice.uniform(20, 150), None
    for now in ticks():
        if begin < now < begin + 5:
            spike = spike or touched(size * MB)
        else:
            spike = None


@workload(BOUNDED, hard=True)
def one_step(dice):
    begin, kept = dice.uniform(15, 50), None
    size = dice.uniform(2, 80)
    for now in ticks():
        if now > begin and kept is None:
            kept = touched(size * MB)


@workload(BOUNDED, hard=True)
def two_steps(dice):
    begins, kept = [dice.uniform(8, 20), dice.uniform(30, 52)], []
    for now in ticks():
        if len(kept) < 2 and now > begins[len(kept)]:
            kept.append(touched(dice.uniform(2, 40) * MB))


@workload(BOUNDED, hard=True)
def slow_sawtooth(dice):
    every, batch = dice.uniform(16, 25), []
    size = dice.uniform(5, 60) * MB * TICK / every
    start = dice.uniform(0, every)
    for now in ticks():
        batch.append(touched(size))
        if (now + start) % every < TICK:
            batch.clear()


@workload(BOUNDED, hard=True)
def fast_sawtooth(dice):
    every, batch, due = dice.uniform(1, 6), [], 1.0
    size = dice.uniform(5, 50) * MB * TICK / every
    for now in ticks():
        batch.append(touched(size))
        if now > due:
            batch.clear()
            due += every * dice.uniform(0.6, 1.4)


@workload(BOUNDED, hard=True)
def cyclic_garbage(dice):
    """Python's own collector: cycles stay until their generation is looked at."""
    gc.set_threshold(dice.randint(1500, 6000), 10, 10)
    size = dice.randint(1000, 6000)
    for _ in ticks():
        for _ in range(dice.randint(20, 60)):
            node = {"payload": touched(size)}
            node["self"] = node


@workload(BOUNDED, hard=True)
def pool_up_and_down(dice):
    pool, most = [], dice.randint(50, 300)
    for _ in ticks():
        if len(pool) < most and dice.random() < 0.5 + 0.5 * (1 - 2 * len(pool) / most):
            pool.append(touched(200 * KB))
        elif pool:
            pool.pop(dice.randrange(len(pool)))


@workload(BOUNDED, hard=True)
def late_cache(dice):
    begin = dice.uniform(18, 30)
    end = begin + dice.uniform(8, 16)
    size, cache = dice.uniform(5, 50) * MB * TICK / (end - begin), []
    for now in ticks():
        if begin < now < end:
            cache.append(touched(size))


@workload(BOUNDED)
def lets_go(dice):
    tables = [touched(400 * KB) for _ in range(dice.randint(100, 250))]
    for now in ticks():
        if now > 10 and tables and dice.random() < 0.2:
            tables.pop()


@workload(BOUNDED, hard=True)
def tide(dice):
    period, phase, depth = dice.uniform(18, 30), dice.uniform(0, 6), dice.randint(50, 250)
    pool = []
    for now in ticks():
        wanted = int(depth * (1 + math.sin(phase + 2 * math.pi * now / period)) / 2)
        while len(pool) < wanted:
            pool.append(touched(200 * KB))
        del pool[wanted:]


@workload(BOUNDED, hard=True)
def tasks_of_many_sizes(dice):
    """A worker between tasks: each loads what it needs and lets it go; the allocator keeps the odd page."""
    held, until = [], 0.0
    for now in ticks():
        if now > until:
            held = [touched(dice.randint(1, 60) * KB) for _ in range(dice.randint(50, 600))]
            until = now + dice.uniform(0.3, 5)


if __name__ == "__main__":
    name, seed = sys.argv[1], sys.argv[2]
    function, _ = {**LEAKS, **BOUNDED}[name]
    function(random.Random(f"{name} {seed}"))
