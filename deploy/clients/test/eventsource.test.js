//! The `eventsource` package, with a header for the token, over a connection that is cut.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { Cutter } from '../lib/cutter.js';
import { Follower } from '../lib/eventsource.js';
import { readWire, textOfChunks } from '../lib/sse.js';
import { until } from '../lib/until.js';

const copilot = Copilot.fromEnvironment();

async function storedChunks(sessionId, turnId) {
  const response = await copilot.fetch(`/api/chat/sessions/${sessionId}/stream?after=${turnId}:0`);
  return (await readWire(response)).chunks;
}

describe('EventSource', { concurrency: 3, timeout: 120_000 }, () => {
  test('comes back with its cursor after every cut and misses and doubles nothing', async () => {
    const cutter = await Cutter.before(copilot.baseUrl);
    const sessionId = await copilot.createSession();
    const script = 'demo:reasoning=10,rate=60 demo:tokens=200,rate=30,bytes=4 demo:hang';
    const turnId = await copilot.submit(sessionId, script);
    const follower = new Follower(copilot, `${cutter.url}/api/chat/sessions/${sessionId}/stream?after=${turnId}:0`);
    for (let cuts = 0, seen = 0; cuts < 3; cuts += 1, seen = follower.frames.length) {
      const isDue = () => follower.requests.length > cuts && (follower.frames.length > seen + 5 || follower.hangs);
      await until(`cut ${cuts + 1} is due`, isDue);
      cutter.cut();
    }
    await until('it is back and up to date', () => follower.requests.length === 4 && follower.hangs);
    await copilot.cancel(sessionId);
    assert.equal(await follower.ended, 204, 'an ended turn ends the EventSource');
    cutter.close();
    assert.equal(follower.requests.length, 5, 'the first, one after each cut, and one after the end');
    assert.equal(follower.requests[0], undefined);
    assert.ok(follower.requests.slice(1).every((cursor) => cursor.startsWith(`${turnId}:`)));
    assert.deepEqual(follower.chunks, await storedChunks(sessionId, turnId));
    assert.ok(textOfChunks(follower.chunks).length > 800);
    assert.equal(follower.frames.filter(({ data }) => data === '[DONE]').length, 1);
  });

  test('joins in mid-answer without a cursor and is cut in the live part', async () => {
    const cutter = await Cutter.before(copilot.baseUrl);
    const sessionId = await copilot.createSession();
    const turnId = await copilot.submit(sessionId, 'demo:tokens=120,rate=30,bytes=5 demo:hang');
    const half = await copilot.fetch(`/api/chat/sessions/${sessionId}/stream?after=${turnId}:0`);
    await readWire(half, ({ frames }) => frames.length > 30);
    const follower = new Follower(copilot, `${cutter.url}/api/chat/sessions/${sessionId}/stream`);
    await until('it has a cursor', () => follower.frames.some(({ lastEventId }) => lastEventId));
    cutter.cut();
    await until('it is back and up to date', () => follower.requests.length === 2 && follower.hangs);
    await copilot.cancel(sessionId);
    assert.equal(await follower.ended, 204);
    cutter.close();
    assert.equal(textOfChunks(follower.chunks), textOfChunks(await storedChunks(sessionId, turnId)));
  });

  test('is held open for a turn that waits, and then gets its answer to the end', async () => {
    const sessionId = await copilot.createSession();
    const first = await copilot.submit(sessionId, 'demo:hang');
    const second = await copilot.submit(sessionId, 'demo:tokens=30,rate=60,bytes=5');
    await until('the first turn runs', async () => (await copilot.turn(sessionId, first)).status === 'running');
    const follower = new Follower(copilot, `${copilot.baseUrl}/api/chat/sessions/${sessionId}/turns/${second}/stream`);
    await until('it is told that the turn waits', () => follower.frames.length > 0);
    assert.deepEqual(await copilot.cancel(sessionId), { cancelled: true, reason: null });
    await follower.ended;
    const types = follower.chunks.map(({ type }) => type);
    assert.equal(types[0], 'data-status');
    assert.equal(types.at(-1), 'finish');
    assert.equal(textOfChunks(follower.chunks), textOfChunks(await storedChunks(sessionId, second)));
    assert.equal(textOfChunks(follower.chunks).length, 150);
  });

  test('needs no header with a ticket, as in a browser', async () => {
    const cutter = await Cutter.before(copilot.baseUrl);
    const sessionId = await copilot.createSession();
    const turnId = await copilot.submit(sessionId, 'demo:tokens=30,rate=60,bytes=5 demo:hang');
    const url = `/api/chat/sessions/${sessionId}/stream?after=${turnId}:0&ticket=${await copilot.ticket(sessionId)}`;
    const follower = new Follower({ headers: {} }, `${cutter.url}${url}`);
    await until('it follows', () => follower.hangs);
    cutter.cut();
    await until('it is back', () => follower.requests.length === 2);
    await copilot.cancel(sessionId);
    assert.equal(await follower.ended, 204);
    cutter.close();
    // It may have come while the turn still waited, and been told so.
    const stored = follower.chunks.filter(({ transient }) => !transient);
    assert.deepEqual(stored, await storedChunks(sessionId, turnId));
    const elsewhere = new Follower({ headers: {} }, `${copilot.baseUrl}${url.replace(sessionId, crypto.randomUUID())}`);
    assert.equal(await elsewhere.ended, 401);
  });

  test('is told a refusal and does not come back', async () => {
    const follower = new Follower(copilot, `${copilot.baseUrl}/api/chat/sessions/${crypto.randomUUID()}/stream`);
    assert.equal(await follower.ended, 404);
    assert.equal(follower.requests.length, 1);
  });
});
