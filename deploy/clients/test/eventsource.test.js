//! The `eventsource` package, with a header for the token, over a connection that is cut.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { Cutter } from '../lib/cutter.js';
import { followEventSource } from '../lib/eventsource.js';
import { readWire, textOfChunks } from '../lib/sse.js';
import { until } from '../lib/until.js';

const copilot = Copilot.fromEnvironment();

const chunksOf = (frames) => frames.filter(({ data }) => data !== '[DONE]').map(({ data }) => JSON.parse(data));

async function storedChunks(sessionId, turnId) {
  const response = await copilot.fetch(`/api/chat/sessions/${sessionId}/stream?after=${turnId}:0`);
  return (await readWire(response)).chunks;
}

describe('EventSource', { concurrency: 3, timeout: 120_000 }, () => {
  test('comes back with its cursor after every cut and misses and doubles nothing', async () => {
    const cutter = await Cutter.before(copilot.baseUrl);
    const sessionId = await copilot.createSession();
    const turnId = await copilot.submit(sessionId, 'demo:reasoning=10,rate=60 demo:tokens=300,rate=30,bytes=4');
    const url = `${cutter.url}/api/chat/sessions/${sessionId}/stream?after=${turnId}:0`;
    const cuts = [];
    const { frames, requests, code } = await followEventSource(copilot, url, ({ length }, { length: connections }) => {
      const isFresh = connections > cuts.length && length >= (cuts.at(-1) ?? 0) + 5;
      if (isFresh && cuts.length < 3) {
        cuts.push(length);
        cutter.cut();
      }
    });
    cutter.close();
    assert.equal(code, 204, 'an ended turn ends the EventSource');
    assert.equal(requests.length, 5, 'the first, one after each cut, and one after the end');
    assert.equal(requests[0], undefined);
    assert.ok(requests.slice(1).every((cursor) => cursor.startsWith(`${turnId}:`)));
    assert.deepEqual(chunksOf(frames), await storedChunks(sessionId, turnId));
    assert.equal(textOfChunks(chunksOf(frames)).length, 1200);
    assert.equal(frames.filter(({ data }) => data === '[DONE]').length, 1);
  });

  test('joins in mid-answer without a cursor and is cut in the live part', async () => {
    const cutter = await Cutter.before(copilot.baseUrl);
    const sessionId = await copilot.createSession();
    const turnId = await copilot.submit(sessionId, 'demo:tokens=180,rate=60,bytes=5');
    const half = await copilot.fetch(`/api/chat/sessions/${sessionId}/stream?after=${turnId}:0`);
    await readWire(half, ({ frames }) => frames.length > 30);
    let cut = false;
    const url = `${cutter.url}/api/chat/sessions/${sessionId}/stream`;
    const { frames, code } = await followEventSource(copilot, url, ({ length }) => {
      if (length > 20 && !cut) {
        cut = true;
        cutter.cut();
      }
    });
    cutter.close();
    assert.ok(cut);
    assert.equal(code, 204);
    assert.equal(textOfChunks(chunksOf(frames)), textOfChunks(await storedChunks(sessionId, turnId)));
  });

  test('is held open for a turn that waits, and then gets its answer', async () => {
    const sessionId = await copilot.createSession();
    const first = await copilot.submit(sessionId, 'demo:hang');
    const second = await copilot.submit(sessionId, 'demo:tokens=30,rate=60,bytes=5');
    await until('the first turn runs', async () => (await copilot.turn(sessionId, first)).status === 'running');
    let released;
    const url = `${copilot.baseUrl}/api/chat/sessions/${sessionId}/turns/${second}/stream`;
    const { frames } = await followEventSource(copilot, url, () => {
      // The first frame says that the turn waits.
      released ??= copilot.cancel(sessionId);
    });
    assert.deepEqual(await released, { cancelled: true, reason: null });
    const chunks = chunksOf(frames);
    assert.equal(chunks[0].type, 'data-status');
    assert.equal(textOfChunks(chunks), textOfChunks(await storedChunks(sessionId, second)));
    assert.equal(textOfChunks(chunks).length, 150);
  });

  test('is told a refusal and does not come back', async () => {
    const url = `${copilot.baseUrl}/api/chat/sessions/${crypto.randomUUID()}/stream`;
    const { code, requests } = await followEventSource(copilot, url);
    assert.equal(code, 404);
    assert.equal(requests.length, 1);
  });
});
