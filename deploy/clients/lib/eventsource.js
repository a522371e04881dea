//! The `eventsource` package, with a header for the token.

import { once } from 'node:events';

import { EventSource } from 'eventsource';

/** Follows a stream until the server says that there is no more. */
export class Follower {
  frames = [];
  /** The cursor of each request; the first has none. */
  requests = [];
  /** Resolves with the status that ended it. */
  ended;

  constructor(copilot, url) {
    const source = new EventSource(url, {
      fetch: (input, init) => {
        this.requests.push(init.headers['Last-Event-ID']);
        return fetch(input, { ...init, headers: { ...init.headers, ...copilot.headers } });
      },
    });
    source.addEventListener('message', ({ data, lastEventId }) => this.frames.push({ data, lastEventId }));
    this.ended = this.#closed(source);
  }

  async #closed(source) {
    let code;
    while (source.readyState !== EventSource.CLOSED) [{ code }] = await once(source, 'error');
    return code;
  }

  get chunks() {
    return this.frames.filter(({ data }) => data !== '[DONE]').map(({ data }) => JSON.parse(data));
  }

  /** Has the model said that it waits to be stopped? */
  get hangs() {
    return this.frames.some(({ data }) => data.includes('Waiting'));
  }
}
