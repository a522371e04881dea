//! A TCP proxy in front of Redis that holds subscriptions back: a network or a server that is slow at the wrong moment.

import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Passes everything on in order, what subscribes `milliseconds` later. Resolves with the proxy's address. */
export async function delaySubscriptions(redisUrl, milliseconds) {
  const target = new URL(redisUrl);
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(target.port || 6379), target.hostname);
    let passed = Promise.resolve();
    client.on('data', (bytes) => {
      passed = passed.then(async () => {
        if (bytes.includes('SUBSCRIBE')) await pause(milliseconds);
        upstream.write(bytes);
      });
    });
    upstream.pipe(client);
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      // An error is followed by `close`, which is all that matters here.
      from.on('error', () => {});
      from.on('close', () => to.destroy());
    }
  });
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  const url = new URL(redisUrl);
  url.hostname = '127.0.0.1';
  url.port = server.address().port;
  return url.href;
}
