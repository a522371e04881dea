//! A TCP proxy that can destroy the connections that go through it.

import { once } from 'node:events';
import net from 'node:net';

export class Cutter {
  #server;
  #sockets = new Set();

  static async before(baseUrl) {
    const { hostname, port } = new URL(baseUrl);
    const cutter = new Cutter();
    cutter.#server = net.createServer((client) => cutter.#join(client, net.connect(port, hostname)));
    cutter.#server.listen(0, '127.0.0.1');
    await once(cutter.#server, 'listening');
    return cutter;
  }

  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  #join(client, upstream) {
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      this.#sockets.add(from);
      // An error is followed by `close`, which is all that matters here.
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }

  /** Resets every connection, in the middle of whatever it carries. */
  cut() {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  close() {
    this.cut();
    this.#server.close();
  }
}
