import { describe, expect, it } from 'vitest';
import { backoffMs, Live, SILENCE_MAX_MS, type Connection } from './live';
import type { ServerEvent } from './sse';

interface Opened {
  answer(response: Response): void;
  fail(message: string): void;
  signal: AbortSignal;
}

/** A world whose time stands still until told otherwise. */
class TestWorld {
  now = 0;
  opened: Opened[] = [];
  timers: { at: number; act: () => void }[] = [];
  states: Connection[] = [];
  events: ServerEvent[] = [];

  readonly live = new Live(
    {
      open: (signal) => new Promise((answer, reject) => this.opened.push({ answer, fail: (message) => reject(new Error(message)), signal })),
      nowMs: () => this.now,
      chance: () => 1,
      later: (ms, act) => {
        const timer = { at: this.now + ms, act };
        this.timers.push(timer);
        return () => {
          this.timers = this.timers.filter((other) => other !== timer);
        };
      },
    },
    { connection: (state) => this.states.push(state), event: (event) => this.events.push(event) },
  );

  pass(ms: number): void {
    this.now += ms;
    const due = this.timers.filter((timer) => timer.at <= this.now);
    this.timers = this.timers.filter((timer) => timer.at > this.now);
    for (const timer of due) timer.act();
  }

  get state(): Connection | undefined {
    return this.states.at(-1);
  }

  get last(): Opened {
    return this.opened.at(-1)!;
  }
}

/** Lets everything that waits for a resolved promise go on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

function stream(): { response: Response; send(text: string): void; end(): void } {
  let controller: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
  return { response: new Response(body), send: (text) => controller.enqueue(new TextEncoder().encode(text)), end: () => controller.close() };
}

describe('the wait before another try', () => {
  it('doubles from half a second and stops at ten', () => {
    expect([1, 2, 3, 4, 5, 6, 50].map((tries) => backoffMs(tries, 1))).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
  });

  it('is spread over its upper half, so that pages do not come back together', () => {
    expect(backoffMs(3, 0)).toBe(1000);
    expect(backoffMs(3, 0.5)).toBe(1500);
  });
});

describe('the live connection', () => {
  it('is live once the stream answers, and hands on its events', async () => {
    const world = new TestWorld();
    world.live.connect();
    expect(world.state).toEqual({ state: 'connecting' });
    const { response, send } = stream();
    world.last.answer(response);
    send('event: fleet\ndata: {}\n\n');
    await settled();
    expect(world.state).toEqual({ state: 'live' });
    expect(world.events).toEqual([{ event: 'fleet', data: '{}' }]);
    world.live.close();
  });

  it('backs off further with every failure, and starts over after good news', async () => {
    const world = new TestWorld();
    world.live.connect();
    world.last.fail('refused');
    await settled();
    expect(world.state).toEqual({ state: 'waiting', tries: 1, retryAtMs: 500, reason: 'refused' });
    world.pass(500);
    world.last.fail('refused');
    await settled();
    expect(world.state).toEqual({ state: 'waiting', tries: 2, retryAtMs: 1500, reason: 'refused' });
    world.pass(1000);
    const { response, send, end } = stream();
    world.last.answer(response);
    send('data: 1\n\n');
    await settled();
    end();
    await settled();
    expect(world.state).toMatchObject({ state: 'waiting', tries: 1 });
    expect(world.opened).toHaveLength(3);
    world.live.close();
  });

  it('counts an answer without any event as one more failure', async () => {
    const world = new TestWorld();
    world.live.connect();
    for (const tries of [1, 2]) {
      const { response, end } = stream();
      world.last.answer(response);
      end();
      await settled();
      expect(world.state).toMatchObject({ state: 'waiting', tries });
      world.pass(10_000);
    }
    world.live.close();
  });

  it('repeats why it was refused', async () => {
    const world = new TestWorld();
    world.live.connect();
    world.last.answer(new Response('{"error":{"message":"8 streams are open already"}}', { status: 503 }));
    await settled();
    expect(world.state).toMatchObject({ state: 'waiting', reason: '8 streams are open already' });
    world.live.close();
  });

  it('asks for a token instead of trying again when it lacks one', async () => {
    const world = new TestWorld();
    world.live.connect();
    // As in a browser: the body is lost once its request is aborted.
    const { signal } = world.last;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (signal.aborted) return controller.error(new Error('aborted'));
        controller.enqueue(new TextEncoder().encode('{"error":{"message":"token wanted"}}'));
        controller.close();
      },
    }, { highWaterMark: 0 });
    world.last.answer(new Response(body, { status: 401 }));
    await settled();
    expect(world.state).toEqual({ state: 'unauthorized', reason: '{"error":{"message":"token wanted"}}' });
    expect(world.timers).toEqual([]);
  });

  it('takes a silent connection for dead', async () => {
    const world = new TestWorld();
    world.live.connect();
    const { response, send } = stream();
    world.last.answer(response);
    await settled();
    world.pass(SILENCE_MAX_MS - 1);
    send(': still here\n\n');
    await settled();
    world.pass(SILENCE_MAX_MS - 1);
    expect(world.state).toEqual({ state: 'live' });
    const { signal } = world.last;
    world.pass(1);
    expect(world.state).toMatchObject({ state: 'waiting', reason: 'no word for 20 seconds' });
    expect(signal.aborted).toBe(true);
    world.live.close();
  });

  it('forgets the old connection when told to connect anew', async () => {
    const world = new TestWorld();
    world.live.connect();
    const old = world.last;
    world.live.connect();
    expect(old.signal.aborted).toBe(true);
    old.fail('aborted');
    await settled();
    expect(world.state).toEqual({ state: 'connecting' });
    expect(world.opened).toHaveLength(2);
    world.live.close();
  });

  it('survives a cut inside a character', async () => {
    const world = new TestWorld();
    world.live.connect();
    let controller: ReadableStreamDefaultController<Uint8Array>;
    world.last.answer(new Response(new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) })));
    for (const byte of new TextEncoder().encode('data: 🌊\n\n')) controller!.enqueue(Uint8Array.of(byte));
    await settled();
    expect(world.events).toEqual([{ event: 'message', data: '🌊' }]);
    world.live.close();
  });
});
