// Asks the admin port, with the operator's token when there is one.

import type { Decision, JsonObject, Recording, Slot, Traffic } from './contract';

/** Where the token lives: it must not outlive the tab. */
const TOKEN_KEY = 'headworks.token';

/** What an error body says. */
export interface Refusal {
  message: string;
  code: string | null;
  /** The field at fault. */
  param: string | null;
}

/** A refusal or a broken connection, in words an operator can act on. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string | null;
  readonly param: string | null;

  /** Status 0: the proxy was not reached at all. */
  constructor(status: number, refusal: string | Refusal) {
    super(typeof refusal === 'string' ? refusal : refusal.message);
    this.name = 'ApiError';
    this.status = status;
    this.code = typeof refusal === 'string' ? null : refusal.code;
    this.param = typeof refusal === 'string' ? null : refusal.param;
  }
}

let token: string | null = readToken();

export function hasToken(): boolean {
  return token !== null;
}

export function keepToken(value: string | null): void {
  token = value;
  try {
    if (value === null) sessionStorage.removeItem(TOKEN_KEY);
    else sessionStorage.setItem(TOKEN_KEY, value);
  } catch {
    // Storage is switched off: the token lives as long as the page.
  }
}

function readToken(): string | null {
  try {
    return sessionStorage.getItem(TOKEN_KEY);
  } catch {
    return null;
  }
}

/** Who the operator is, for the history; the proxy writes "admin" where nobody says. */
export const operator = { name: '' };

/** What a header can carry: visible ASCII, bounded. */
export function nameOf(typed: string): string {
  return typed.replaceAll(/[^\x20-\x7e]/g, '').trim().slice(0, OPERATOR_CHARS_MAX);
}

export const OPERATOR_CHARS_MAX = 64;

export function authorization(): Record<string, string> {
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** The reason in an error body, as the server worded it; a plain sentence when the body has none. */
export function reasonOf(status: number, body: string): string {
  return refusalOf(status, body).message;
}

export function refusalOf(status: number, body: string): Refusal {
  try {
    const { message, code, param } = (JSON.parse(body) as { error?: Partial<Refusal> } | null)?.error ?? {};
    if (typeof message === 'string' && message !== '') return { message, code: typeof code === 'string' ? code : null, param: typeof param === 'string' ? param : null };
  } catch {
    // Not JSON: something between the browser and the proxy answered.
  }
  return { message: `The admin port answered ${status} without a reason.`, code: null, param: null };
}

async function answerTo(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { ...authorization(), ...init.headers }, cache: 'no-store' });
  } catch {
    throw new ApiError(0, 'The admin port could not be reached.');
  }
  if (!response.ok) throw new ApiError(response.status, refusalOf(response.status, await response.text()));
  return response;
}

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  return (await (await answerTo(path, init)).json()) as T;
}

/** A change that the history keeps, with who made it. */
function change<T>(method: 'POST' | 'PUT', path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, headers: whoAsks() };
  if (body !== undefined) Object.assign(init, { headers: { ...whoAsks(), 'content-type': 'application/json' }, body: JSON.stringify(body) });
  return ask(path, init);
}

function whoAsks(): Record<string, string> {
  return operator.name === '' ? {} : { 'x-headworks-user': operator.name };
}

export async function traffic(seconds: number): Promise<Traffic[]> {
  return (await ask<{ points: Traffic[] }>(`/admin/v1/traffic?seconds=${seconds}`)).points;
}

/** What the admin port itself can narrow decisions by; each is an exact match. */
export interface DecisionQuery {
  limit: number;
  slot?: string;
  policy?: string;
  model?: string;
  tenant?: string;
  verdict?: string;
  outcome?: string;
  before_ms?: number;
}

export async function decisions(query: DecisionQuery): Promise<Decision[]> {
  const words = Object.entries(query).filter(([, value]) => value !== undefined);
  return (await ask<{ decisions: Decision[] }>(`/admin/v1/decisions?${new URLSearchParams(words.map(([name, value]) => [name, String(value)]))}`)).decisions;
}

export function recording(): Promise<Recording> {
  return ask('/admin/v1/recording');
}

export function record(wanted: { on: true; prompts: boolean } | { on: false }): Promise<Recording> {
  return change('POST', '/admin/v1/recording', wanted);
}

/** Who gets the new version at first: everyone, or a share of the tenants. */
export type Rollout = 'all' | { percent: number };

function pathOf(slot: string, act: string, rollout: Rollout = 'all'): string {
  return `/admin/v1/policies/${encodeURIComponent(slot)}${act}${rollout === 'all' ? '' : `?canary=${rollout.percent}`}`;
}

export function rollback(slot: string): Promise<Slot> {
  return change('POST', pathOf(slot, '/rollback'));
}

export function promote(slot: string): Promise<Slot> {
  return change('POST', pathOf(slot, '/promote'));
}

export function activate(slot: string, version: number): Promise<Slot> {
  return change('POST', pathOf(slot, '/activate'), { version });
}

export function configure(slot: string, config: JsonObject, rollout: Rollout): Promise<Slot> {
  return change('PUT', pathOf(slot, '/config', rollout), config);
}

export function pull(slot: string, reference: string, rollout: Rollout): Promise<Slot> {
  return change('POST', pathOf(slot, '/pull', rollout), { reference });
}

export async function component(slot: string, version: number): Promise<Blob> {
  return (await answerTo(pathOf(slot, `/versions/${version}/component`))).blob();
}

export interface Parcel {
  component: Blob;
  rollout: Rollout;
  /** KEYNAME:BASE64, where the proxy checks signatures. */
  signature: string | null;
}

/** Sends a component's bytes. `fetch` cannot tell how much was sent, so this is the one place with the older interface. */
export function upload(slot: string, parcel: Parcel, sent: (share: number) => void): Promise<Slot> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('PUT', pathOf(slot, '', parcel.rollout));
    const headers = { ...authorization(), ...whoAsks(), ...(parcel.signature === null ? {} : { 'x-headworks-signature': parcel.signature }), 'content-type': 'application/wasm' };
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => sent(event.total > 0 ? event.loaded / event.total : 0);
    request.upload.onload = () => sent(1);
    request.onerror = () => reject(new ApiError(0, 'The connection broke during the upload.'));
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText) as Slot);
      else reject(new ApiError(request.status, refusalOf(request.status, request.responseText)));
    };
    request.send(parcel.component);
  });
}
