//! `run_mcp_tool` against the MCP project's own test server.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { Deployment } from '../lib/deployment.js';
import { startEverything } from '../lib/everything.js';
import { readWire } from '../lib/sse.js';

const skip = process.env.COPILOT_BIN_DIR ? false : 'COPILOT_BIN_DIR is not set, and a worker of ours must be told of the server';

describe('a real MCP server', { skip, timeout: 120_000 }, () => {
  let server;
  let deployment;
  let copilot;

  before(async () => {
    server = await startEverything();
    deployment = await Deployment.startForTest(1, { OUTBOUND_ALLOW: server.address });
    copilot = new Copilot(deployment.baseUrl, deployment.token('mcp'));
  });

  after(async () => {
    await deployment?.stop();
    await server?.stop();
    deployment?.forgetLogs();
  });

  /** What the tool of an answer put out. */
  async function output(message) {
    const sessionId = await copilot.createSession();
    const wire = await readWire(await copilot.post(`/api/chat/sessions/${sessionId}/stream`, { message }));
    const chunk = wire.chunks.findLast(({ type }) => type === 'tool-output-available');
    assert.ok(chunk, wire.text);
    return JSON.parse(chunk.output);
  }

  const call = (tool, args) => output(`Call the tool ${tool} of ${server.url} with ${JSON.stringify(args)}`);

  test('tells its tools with their schemas', async () => {
    const found = await output(`List the tools of ${server.url}`);
    assert.equal(found.type, 'mcp_tools_discovered', JSON.stringify(found));
    assert.equal(found.server_url, server.url);
    const echo = found.tools.find(({ name }) => name === 'echo');
    assert.ok(echo.description && echo.input_schema.properties.message, JSON.stringify(echo));
  });

  test('is called, and its answer is unwrapped', async () => {
    const echoed = await call('echo', { message: 'hello' });
    assert.equal(echoed.type, 'mcp_tool_output', JSON.stringify(echoed));
    assert.deepEqual([echoed.tool_name, echoed.result, echoed.success], ['echo', 'Echo: hello', true]);
    const image = await call('get-tiny-image', {});
    assert.ok(image.result.some(({ type, mimeType }) => type === 'image' && mimeType === 'image/png'), 'an image is an image');
  });

  test('says no to what is wrong, and the answer says so', async () => {
    const refused = await call('get-sum', { a: 'x' });
    assert.equal(refused.type, 'error', JSON.stringify(refused));
    const missing = await call('no-such-tool', {});
    assert.equal(missing.type, 'error', JSON.stringify(missing));
  });
});
