// Talks to the proxy beside the page: reads the truth from the admin port and sends requests to the data port.

/** Longest wait for the proxy; far beyond what is needed, so that only a hang meets it. */
const PATIENCE_MS = 60_000;

export class Admin {
  constructor(url, token) {
    this.url = url;
    this.headers = token ? { authorization: `Bearer ${token}` } : {};
  }

  async get(path) {
    const response = await fetch(new URL(path, this.url), { headers: this.headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!response.ok) throw new Error(`GET ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  fleet = () => this.get('/admin/v1/fleet');
  policies = () => this.get('/admin/v1/policies');
  decisions = async (limit = 500) => (await this.get(`/admin/v1/decisions?limit=${limit}`)).decisions;
  traffic = async (seconds = 60) => (await this.get(`/admin/v1/traffic?seconds=${seconds}`)).points;

  async slot(name) {
    return (await this.policies()).chain.find((slot) => slot.slot === name);
  }

  async active(name) {
    return (await this.slot(name)).versions.find((version) => version.state === 'active');
  }

  async model() {
    const models = (await this.fleet()).regions.flatMap((region) => region.replicas).flatMap((replica) => replica.models);
    if (models.length === 0) throw new Error('no replica tells of a model');
    return models[0];
  }

  recording = () => this.get('/admin/v1/recording');
  decision = (id) => this.get(`/admin/v1/decisions/${encodeURIComponent(id)}`);

  /** Asks the proxy what it answers to a component, without the page. */
  async put(name, bytes) {
    const response = await fetch(new URL(`/admin/v1/policies/${name}`, this.url), { method: 'PUT', headers: this.headers, body: bytes, signal: AbortSignal.timeout(PATIENCE_MS) });
    return { status: response.status, body: await response.json() };
  }
}

/** Between two requests of one worker: the load of a small service, so that the list does not turn over while it is read. */
const PACE_MS = 120;

/** Streams short completions, a few at a time, until stopped. */
export function keepSending(dataUrl, model, atOnce = 3) {
  const sender = { sent: 0, failures: [], stop };
  let going = true;
  async function one(worker) {
    while (going) {
      const pace = new Promise((resolve) => setTimeout(resolve, PACE_MS));
      sender.sent += 1;
      try {
        const response = await fetch(new URL('/v1/chat/completions', dataUrl), {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ model, stream: true, max_tokens: 8, messages: [{ role: 'user', content: `worker ${worker}: say something` }] }),
          signal: AbortSignal.timeout(PATIENCE_MS),
        });
        const text = await response.text();
        if (!response.ok || text.includes('"error"')) sender.failures.push(`${response.status} ${text.slice(0, 200)}`);
      } catch (error) {
        sender.failures.push(String(error));
      }
      await pace;
    }
  }
  const workers = Array.from({ length: atOnce }, (_, worker) => one(worker));
  async function stop() {
    going = false;
    await Promise.all(workers);
  }
  return sender;
}
