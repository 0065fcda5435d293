// Holds what the page knows: fed by the event stream and by history, read by the views.

import * as api from '../api/client';
import type { Decision, Fleet, Policies, Recording, Slot, Traffic } from '../api/contract';
import { Live, type Connection } from '../api/live';
import type { ServerEvent } from '../api/sse';
import { mergeDecisions } from './decisions';
import { withSlot } from './policies';
import { HISTORY_MS, mergeTraffic } from './traffic';

/** How many past decisions are asked for at the start. */
const DECISIONS_AT_START = 200;
/** How often the state of the recording is asked for, in seconds: the event stream does not tell it. */
const RECORDING_ON_EVERY_S = 2;
const RECORDING_OFF_EVERY_S = 10;

class Dashboard {
  connection = $state.raw<Connection>({ state: 'connecting' });
  /** Why the connection broke; kept through every try until one succeeds, so that the page does not flicker. */
  outage = $state<string | null>(null);
  /** When the last byte of news came, by this machine's clock. */
  heardMs = $state(0);
  /** Ticks once a second, for everything that ages on the page. */
  nowMs = $state(Date.now());
  fleet = $state.raw<Fleet | null>(null);
  fleetHeardMs = $state(0);
  traffic = $state.raw<Traffic[] | null>(null);
  policies = $state.raw<Policies | null>(null);
  decisions = $state.raw<Decision[] | null>(null);
  recording = $state.raw<Recording | null>(null);
  signInRefusal = $state<string | null>(null);
  /** A token is held, so there is something to sign out of. */
  signedIn = $state(api.hasToken());
  /** The proxy's clock minus this machine's. */
  #clockOffsetMs = 0;

  readonly #live = new Live(
    {
      open: (signal) => fetch('/admin/v1/events', { signal, cache: 'no-store', headers: { accept: 'text/event-stream', ...api.authorization() } }),
      nowMs: () => Date.now(),
      chance: () => Math.random(),
      later: (ms, act) => {
        const timer = setTimeout(act, ms);
        return () => clearTimeout(timer);
      },
    },
    { connection: (now) => this.#connectionChanged(now), event: (event) => this.#heard(event) },
  );

  /** Connects, keeps the clock, and returns how to stop both. */
  start(): () => void {
    this.#live.connect();
    const clock = setInterval(() => this.#tick(), 1000);
    const online = () => this.reconnect();
    window.addEventListener('online', online);
    return () => {
      clearInterval(clock);
      window.removeEventListener('online', online);
      this.#live.close();
    };
  }

  reconnect(): void {
    this.#live.connect();
  }

  signIn(token: string): void {
    this.#keepToken(token);
    this.signInRefusal = null;
    this.#live.connect();
  }

  signOut(): void {
    this.#keepToken(null);
    this.outage = null;
    this.fleet = this.traffic = this.policies = this.decisions = this.recording = null;
    this.#live.connect();
  }

  /** The proxy's present, as well as this page knows it. */
  get serverNowMs(): number {
    return this.nowMs + this.#clockOffsetMs;
  }

  slotChanged(slot: Slot): void {
    if (this.policies !== null) this.policies = withSlot(this.policies, slot);
  }

  /** The decisions before those the page knows, or those that it never heard of: asked for, and handed over as they are. */
  olderDecisions(query: api.DecisionQuery): Promise<Decision[]> {
    return api.decisions(query);
  }

  async record(wanted: { on: true; prompts: boolean } | { on: false }): Promise<void> {
    this.recording = await api.record(wanted);
  }

  #tick(): void {
    this.nowMs = Date.now();
    const everyS = this.recording?.on ? RECORDING_ON_EVERY_S : RECORDING_OFF_EVERY_S;
    if (this.connection.state === 'live' && !document.hidden && Math.floor(this.nowMs / 1000) % everyS === 0) void this.#askRecording();
  }

  async #askRecording(): Promise<void> {
    try {
      this.recording = await api.recording();
    } catch {
      // Old news of a recording would pass for the present; the connection tells of its own troubles.
      this.recording = null;
    }
  }

  #keepToken(token: string | null): void {
    api.keepToken(token);
    this.signedIn = token !== null;
  }

  #connectionChanged(now: Connection): void {
    const wasOut = this.connection.state !== 'live';
    this.connection = now;
    if (now.state === 'waiting') this.outage = now.reason;
    else if (now.state !== 'connecting') this.outage = null;
    if (now.state === 'unauthorized') {
      this.signInRefusal = api.hasToken() ? api.reasonOf(401, now.reason) : null;
      this.#keepToken(null);
    }
    if (now.state === 'live' && wasOut) void this.#catchUp();
  }

  /** The stream starts with the present; what happened before, or while it was broken, is asked for. */
  async #catchUp(): Promise<void> {
    try {
      const [points, decisions] = await Promise.all([api.traffic(HISTORY_MS / 1000), api.decisions({ limit: DECISIONS_AT_START }), this.#askRecording()]);
      this.traffic = mergeTraffic(this.traffic ?? [], points);
      this.decisions = mergeDecisions(this.decisions ?? [], decisions);
    } catch (error) {
      // The stream is what tells whether the proxy is there; history is worth one try per connection.
      console.warn('The history could not be read.', error);
    }
  }

  /** Another process answers now: what the one before it counted and decided is not its past. */
  #forgetThePast(): void {
    this.traffic = null;
    this.decisions = null;
    void this.#catchUp();
  }

  #heard({ event, data }: ServerEvent): void {
    this.heardMs = Date.now();
    if (event === 'fleet') {
      const fleet = JSON.parse(data) as Fleet;
      const restarted = this.fleet !== null && this.fleet.proxy.started_unix_ms !== fleet.proxy.started_unix_ms;
      this.fleet = fleet;
      this.fleetHeardMs = this.heardMs;
      if (restarted) this.#forgetThePast();
    } else if (event === 'traffic') {
      const point = JSON.parse(data) as Traffic;
      this.#clockOffsetMs = point.time_ms - this.heardMs;
      this.traffic = mergeTraffic(this.traffic ?? [], [point]);
    } else if (event === 'policies') {
      this.policies = JSON.parse(data) as Policies;
    } else if (event === 'decisions') {
      this.decisions = mergeDecisions(this.decisions ?? [], JSON.parse(data) as Decision[]);
    }
  }
}

export const dashboard = new Dashboard();
