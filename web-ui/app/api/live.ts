// Keeps one event stream to the admin port open: connects, listens, backs off, tries again, and says which it is doing.

import { reasonOf } from './client';
import { SseParser, type ServerEvent } from './sse';

export type Connection =
  | { state: 'connecting' }
  | { state: 'live' }
  | { state: 'waiting'; tries: number; retryAtMs: number; reason: string }
  | { state: 'unauthorized'; reason: string };

/** What the world gives: a test hands in its own. */
export interface World {
  open(signal: AbortSignal): Promise<Response>;
  nowMs(): number;
  chance(): number;
  later(ms: number, act: () => void): () => void;
}

export interface Listener {
  connection(now: Connection): void;
  event(event: ServerEvent): void;
}

const BACKOFF_FIRST_MS = 500;
const BACKOFF_MAX_MS = 10_000;
/** A live proxy sends traffic every second; after this long without a byte the connection is taken for dead. */
export const SILENCE_MAX_MS = 20_000;

/** How long to wait before try number `tries` (1 is the first retry): doubling, bounded, spread by chance. */
export function backoffMs(tries: number, chance: number): number {
  const whole = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(tries - 1, 16));
  return Math.round(whole * (0.5 + chance / 2));
}

export class Live {
  readonly #world: World;
  readonly #listener: Listener;
  #tries = 0;
  #abort: AbortController | null = null;
  #cancelRetry: (() => void) | null = null;
  #cancelSilence: (() => void) | null = null;

  constructor(world: World, listener: Listener) {
    this.#world = world;
    this.#listener = listener;
  }

  /** Connects now, whatever was going on. */
  connect(): void {
    this.close();
    const abort = new AbortController();
    this.#abort = abort;
    this.#listener.connection({ state: 'connecting' });
    void this.#run(abort);
  }

  close(): void {
    this.#cancelRetry?.();
    this.#cancelSilence?.();
    this.#cancelRetry = null;
    this.#cancelSilence = null;
    this.#abort?.abort();
    this.#abort = null;
  }

  async #run(abort: AbortController): Promise<void> {
    let reason: string;
    try {
      this.#watchSilence(abort);
      const response = await this.#world.open(abort.signal);
      if (response.status === 401) {
        const refusal = await response.text();
        if (this.#abort !== abort) return;
        this.close();
        this.#listener.connection({ state: 'unauthorized', reason: refusal });
        return;
      }
      if (!response.ok || response.body === null) throw new Error(reasonOf(response.status, await response.text()));
      this.#listener.connection({ state: 'live' });
      await this.#listen(response.body, abort);
      reason = 'the proxy ended the stream';
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
    }
    if (this.#abort === abort) this.#retryLater(reason);
  }

  async #listen(body: ReadableStream<Uint8Array>, abort: AbortController): Promise<void> {
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const reader = body.getReader();
    while (true) {
      this.#watchSilence(abort);
      const { done, value } = await reader.read();
      if (done || this.#abort !== abort) return;
      for (const event of parser.push(decoder.decode(value, { stream: true }))) {
        this.#tries = 0;
        this.#listener.event(event);
      }
    }
  }

  #watchSilence(abort: AbortController): void {
    this.#cancelSilence?.();
    this.#cancelSilence = this.#world.later(SILENCE_MAX_MS, () => {
      if (this.#abort !== abort) return;
      abort.abort();
      this.#retryLater(`no word for ${SILENCE_MAX_MS / 1000} seconds`);
    });
  }

  #retryLater(reason: string): void {
    this.close();
    this.#tries += 1;
    const waitMs = backoffMs(this.#tries, this.#world.chance());
    this.#listener.connection({ state: 'waiting', tries: this.#tries, retryAtMs: this.#world.nowMs() + waitMs, reason });
    this.#cancelRetry = this.#world.later(waitMs, () => this.connect());
  }
}
