//! The plain HTTP side of a running Copilot.

import assert from 'node:assert/strict';

export class Copilot {
  constructor(baseUrl, token) {
    this.baseUrl = baseUrl.replace(/\/$/, '');
    this.headers = { authorization: `Bearer ${token}` };
  }

  /** The one that BASE_URL and TOKEN name. */
  static fromEnvironment() {
    const { BASE_URL, TOKEN } = process.env;
    assert.ok(BASE_URL && TOKEN, 'BASE_URL and TOKEN name the running system; deploy/clients/run sets them');
    return new Copilot(BASE_URL, TOKEN);
  }

  fetch(path, { headers, ...init } = {}) {
    return fetch(`${this.baseUrl}${path}`, { ...init, headers: { ...this.headers, ...headers } });
  }

  post(path, body, init) {
    const headers = { 'content-type': 'application/json' };
    return this.fetch(path, { method: 'POST', headers, body: JSON.stringify(body), ...init });
  }

  put(path, body) {
    return this.fetch(path, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  }

  /** As another device of the user's does. */
  async rename(id, title) {
    const headers = { 'content-type': 'application/json' };
    const path = `/api/chat/sessions/${id}/title`;
    return this.#json(await this.fetch(path, { method: 'PATCH', headers, body: JSON.stringify({ title }) }));
  }

  async #json(response) {
    const text = await response.text();
    assert.ok(response.ok, `${response.status} of ${response.url}: ${text}`);
    return JSON.parse(text);
  }

  async createSession() {
    const { id } = await this.#json(await this.post('/api/chat/sessions', {}));
    return id;
  }

  async session(id) {
    return this.#json(await this.fetch(`/api/chat/sessions/${id}`));
  }

  /** What a chat of the session begins with. */
  async uiMessages(id) {
    return this.#json(await this.fetch(`/api/chat/sessions/${id}?format=ui`));
  }

  /** Opens the streams of the session for a minute. */
  async ticket(id) {
    const { ticket } = await this.#json(await this.post(`/api/chat/sessions/${id}/stream-ticket`, {}));
    return ticket;
  }

  /** Submits without following. */
  async submit(id, message) {
    const { turn_id } = await this.#json(await this.post(`/api/chat/sessions/${id}/messages`, { message }));
    return turn_id;
  }

  async cancel(id) {
    return this.#json(await this.post(`/api/chat/sessions/${id}/cancel`, {}));
  }

  async turn(id, turnId) {
    return this.#json(await this.fetch(`/api/chat/sessions/${id}/turns/${turnId}`));
  }

  /** The message rows of one turn. */
  async rows(id, turnId) {
    const { messages } = await this.session(id);
    return messages.filter((row) => row.turn_id === turnId);
  }
}
