//! An API process that goes away, and clients that are too slow for it: nobody takes a cut stream for a complete one.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { Deployment } from '../lib/deployment.js';
import { Follower } from '../lib/eventsource.js';
import { textOf } from '../lib/messages.js';
import { openTab, sdks } from '../lib/sdks.js';
import { Wire, readWire } from '../lib/sse.js';
import { until } from '../lib/until.js';

const skip = process.env.COPILOT_BIN_DIR ? false : 'COPILOT_BIN_DIR is not set, and only an API of ours may be stopped';

describe('an API that goes away', { skip, timeout: 120_000 }, () => {
  let deployment;
  let copilot;
  let sessionId;
  let turnId;

  before(async () => {
    deployment = await Deployment.startForTest(1);
    copilot = new Copilot(deployment.baseUrl, deployment.token('restart'));
  });

  beforeEach(async () => {
    if (!deployment.api.runs) deployment.api = await deployment.startApi();
    sessionId = await copilot.createSession();
  });

  after(async () => {
    await deployment?.stop();
    deployment?.forgetLogs();
  });

  const streamFrom = (sequence) => `/api/chat/sessions/${sessionId}/stream?after=${turnId}:${sequence}`;

  async function stored() {
    return readWire(await copilot.fetch(streamFrom(0)));
  }

  /** A response whose bytes are read when it is told to: fetch reads ahead. */
  async function openSlowly() {
    const request = http.get(`${copilot.baseUrl}${streamFrom(0)}`, { headers: copilot.headers });
    const [response] = await once(request, 'response');
    response.setEncoding('utf8');
    // `close` follows `end` and `error` alike; `complete` tells which it was.
    response.on('error', () => {});
    const closed = new Promise((resolve) => response.on('close', resolve));
    return async () => {
      const wire = new Wire();
      response.on('data', (text) => wire.feed(text));
      await closed;
      return { wire, complete: response.complete };
    };
  }

  test('on SIGTERM every stream is cut, and new chats find the whole answer', async () => {
    turnId = await copilot.submit(sessionId, 'demo:tokens=20,rate=60,bytes=4 demo:hang');
    const tabs = sdks.map((sdk) => openTab(sdk, copilot, sessionId));
    const resumed = tabs.map((tab) => tab.resumeStream());
    const readers = await Promise.all(Array.from({ length: 20 }, openSlowly));
    const read = readers.map((reader) => reader());
    const hang = (list) => list.every((tab) => textOf(tab.messages[0]).includes('Waiting'));
    await until('the model hangs', () => hang(tabs));
    const { child } = deployment.api;
    await deployment.api.terminate();
    deployment.api = await deployment.startApi();
    await Promise.all(resumed);
    const ends = await Promise.all(read);
    assert.equal(child.exitCode, 0, 'a clean drain');
    assert.deepEqual(tabs.map(({ status }) => status), tabs.map(() => 'error'));
    assert.equal(ends.filter(({ complete }) => complete).length, 0, 'responses that ended in good order');
    assert.ok(ends.every(({ wire }) => !wire.done));
    const fresh = sdks.map((sdk) => openTab(sdk, copilot, sessionId));
    const again = fresh.map((tab) => tab.resumeStream());
    await until('the new chats have caught up', () => hang(fresh));
    await copilot.cancel(sessionId);
    await Promise.all(again);
    for (const tab of fresh) assert.equal(tab.status, 'ready', String(tab.error));
    const text = (await stored()).deltas();
    assert.deepEqual(fresh.map(({ messages }) => textOf(messages[0])), fresh.map(() => text));
  });

  test('an EventSource comes back by itself after a clean stop and after a crash', async () => {
    turnId = await copilot.submit(sessionId, 'demo:tokens=120,rate=30,bytes=4 demo:hang');
    const follower = new Follower(copilot, `${copilot.baseUrl}${streamFrom(0)}`);
    const { frames } = follower;
    await until('the answer has begun', () => frames.length > 20);
    await deployment.api.terminate();
    deployment.api = await deployment.startApi();
    const before = frames.length;
    await until('it is back', () => frames.length > before);
    await deployment.api.kill();
    deployment.api = await deployment.startApi();
    await until('it is up to date', () => follower.hangs);
    await copilot.cancel(sessionId);
    assert.equal(await follower.ended, 204);
    assert.deepEqual(follower.chunks, (await stored()).chunks);
  });

  test('a client that is too slow is cut, not told that it is at the end, and can resume', async () => {
    turnId = await copilot.submit(sessionId, 'demo:tokens=3,rate=10 demo:tokens=3900,rate=3000,bytes=2000');
    const read = await openSlowly();
    const isComplete = async () => (await copilot.turn(sessionId, turnId)).status === 'completed';
    await until('the answer is complete', isComplete, 90);
    const whole = await stored();
    const { wire, complete } = await read();
    const got = `${wire.frames.length} of ${whole.frames.length} frames`;
    assert.equal(complete, wire.done, `the response ended in good order after ${got}`);
    const sequence = wire.lastId?.split(':')[1] ?? 0;
    const rest = wire.done ? new Wire() : await readWire(await copilot.fetch(streamFrom(sequence)));
    const sequenced = [...wire.frames, ...rest.frames].filter(({ id }) => id);
    assert.equal(sequenced.length, whole.frames.length - 1);
    assert.deepEqual(sequenced, whole.frames.slice(0, -1));
  });
});
