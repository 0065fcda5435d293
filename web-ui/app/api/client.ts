// Asks the admin port, with the operator's token when there is one.

import type { Decision, Policies, Slot, Traffic } from './contract';

/** Where the token lives: it must not outlive the tab. */
const TOKEN_KEY = 'headworks.token';

/** A refusal or a broken connection, in words an operator can act on. */
export class ApiError extends Error {
  readonly status: number;

  /** Status 0: the proxy was not reached at all. */
  constructor(status: number, message: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
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

export function authorization(): Record<string, string> {
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** The reason in an error body, as the server worded it; a plain sentence when the body has none. */
export function reasonOf(status: number, body: string): string {
  try {
    const parsed: unknown = JSON.parse(body);
    const message = (parsed as { error?: { message?: unknown } } | null)?.error?.message;
    if (typeof message === 'string' && message !== '') return message;
  } catch {
    // Not JSON: something between the browser and the proxy answered.
  }
  return `The admin port answered ${status} without a reason.`;
}

async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { ...authorization(), ...init.headers }, cache: 'no-store' });
  } catch {
    throw new ApiError(0, 'The admin port could not be reached.');
  }
  const body = await response.text();
  if (!response.ok) throw new ApiError(response.status, reasonOf(response.status, body));
  return JSON.parse(body) as T;
}

export async function traffic(seconds: number): Promise<Traffic[]> {
  return (await ask<{ points: Traffic[] }>(`/admin/v1/traffic?seconds=${seconds}`)).points;
}

export async function decisions(limit: number): Promise<Decision[]> {
  return (await ask<{ decisions: Decision[] }>(`/admin/v1/decisions?limit=${limit}`)).decisions;
}

export function policies(): Promise<Policies> {
  return ask('/admin/v1/policies');
}

export function rollback(slot: string): Promise<Slot> {
  return ask(`/admin/v1/policies/${encodeURIComponent(slot)}/rollback`, { method: 'POST' });
}

/** Sends a component's bytes. `fetch` cannot tell how much was sent, so this is the one place with the older interface. */
export function upload(slot: string, component: Blob, sent: (share: number) => void): Promise<Slot> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('PUT', `/admin/v1/policies/${encodeURIComponent(slot)}`);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.setRequestHeader('content-type', 'application/wasm');
    request.upload.onprogress = (event) => sent(event.total > 0 ? event.loaded / event.total : 0);
    request.upload.onload = () => sent(1);
    request.onerror = () => reject(new ApiError(0, 'The connection broke during the upload.'));
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText) as Slot);
      else reject(new ApiError(request.status, reasonOf(request.status, request.responseText)));
    };
    request.send(component);
  });
}
