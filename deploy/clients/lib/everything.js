//! The MCP project's own test server, unmodified, over streamable HTTP.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';

const manifest = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/package.json');

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts it on a free port; `stop` ends it. */
export async function startEverything() {
  const port = await freePort();
  const child = spawn(process.execPath, [path.join(path.dirname(manifest), 'dist/index.js'), 'streamableHttp'], {
    env: { ...process.env, PORT: String(port) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  process.once('exit', () => child.kill('SIGKILL'));
  let said = '';
  child.stderr.setEncoding('utf8');
  await new Promise((resolve, reject) => {
    child.stderr.on('data', (text) => {
      said += text;
      if (said.includes('listening')) resolve();
    });
    child.once('exit', () => reject(new Error(`the MCP server ended: ${said}`)));
  });
  return {
    address: `127.0.0.1:${port}`,
    url: `http://127.0.0.1:${port}/mcp`,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}
