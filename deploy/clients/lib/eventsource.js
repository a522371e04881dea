//! The `eventsource` package, with a header for the token.

import { once } from 'node:events';

import { EventSource } from 'eventsource';

/** Follows until the server says that there is no more; `onFrame(frames, requests)` sees every frame come. */
export async function followEventSource(copilot, url, onFrame = () => {}) {
  const frames = [];
  /** The cursor of each request. */
  const requests = [];
  const source = new EventSource(url, {
    fetch: (input, init) => {
      requests.push(init.headers['Last-Event-ID']);
      return fetch(input, { ...init, headers: { ...init.headers, ...copilot.headers } });
    },
  });
  source.addEventListener('message', ({ data, lastEventId }) => {
    frames.push({ data, lastEventId });
    onFrame(frames, requests);
  });
  let code;
  while (source.readyState !== EventSource.CLOSED) [{ code }] = await once(source, 'error');
  return { frames, requests, code };
}
