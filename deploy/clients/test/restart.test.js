//! An API process that goes away, and clients that are too slow for it: nobody takes a cut stream for a complete one.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { Deployment } from '../lib/deployment.js';
import { followEventSource } from '../lib/eventsource.js';
import { textOf } from '../lib/messages.js';
import { openTab, sdks } from '../lib/sdks.js';
import { Wire, readWire, textOfChunks } from '../lib/sse.js';
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
    turnId = await copilot.submit(sessionId, 'demo:tokens=90,rate=20,bytes=4');
    const tabs = sdks.map((sdk) => openTab(sdk, copilot, sessionId));
    const resumed = tabs.map((tab) => tab.resumeStream());
    const readers = await Promise.all(Array.from({ length: 20 }, openSlowly));
    const read = readers.map((reader) => reader());
    await until('the answer has begun', () => tabs.every((tab) => textOf(tab.messages[0]).length > 40));
    const { child } = deployment.api;
    await deployment.api.terminate();
    deployment.api = await deployment.startApi();
    await Promise.all(resumed);
    const ends = await Promise.all(read);
    assert.equal(child.exitCode, 0, 'a clean drain');
    assert.deepEqual(tabs.map(({ status }) => status), tabs.map(() => 'error'));
    assert.equal(ends.filter(({ complete }) => complete).length, 0, 'responses that ended in good order');
    assert.ok(ends.every(({ wire }) => !wire.done));
    for (const sdk of sdks) {
      const tab = openTab(sdk, copilot, sessionId);
      await tab.resumeStream();
      assert.equal(tab.status, 'ready', String(tab.error));
      // Nothing is in flight any more if the restart took longer than the answer.
      if (tab.messages.length > 0) assert.equal(textOf(tab.messages[0]).length, 360);
    }
    assert.equal((await stored()).deltas().length, 360);
  });

  test('an EventSource comes back by itself after a clean stop and after a crash', async () => {
    turnId = await copilot.submit(sessionId, 'demo:tokens=300,rate=40,bytes=4');
    const deaths = [() => deployment.api.terminate(), () => deployment.api.kill()];
    const restarts = [];
    const url = `${copilot.baseUrl}${streamFrom(0)}`;
    const { frames, requests, code } = await followEventSource(copilot, url, ({ length }) => {
      if (length < 20 + 60 * restarts.length || deaths.length === 0) return;
      const die = deaths.shift();
      restarts.push(die().then(async () => (deployment.api = await deployment.startApi())));
    });
    await Promise.all(restarts);
    assert.equal(restarts.length, 2);
    assert.equal(code, 204);
    assert.ok(requests.length >= 4);
    const chunks = frames.filter(({ data }) => data !== '[DONE]').map(({ data }) => JSON.parse(data));
    assert.equal(textOfChunks(chunks).length, 1200);
    assert.deepEqual(chunks, (await stored()).chunks);
  });

  test('a client that is too slow is cut, not told that it is at the end, and can resume', async () => {
    turnId = await copilot.submit(sessionId, 'demo:tokens=3,rate=10 demo:tokens=3900,rate=3000,bytes=2000');
    const read = await openSlowly();
    await until('the answer is complete', async () => (await copilot.turn(sessionId, turnId)).status === 'completed');
    const whole = await stored();
    const { wire, complete } = await read();
    const got = `${wire.frames.length} of ${whole.frames.length} frames`;
    assert.equal(complete, wire.done, `the response ended in good order after ${got}`);
    const rest = wire.done ? new Wire() : await readWire(await copilot.fetch(streamFrom(wire.lastId.split(':')[1])));
    const sequenced = [...wire.frames, ...rest.frames].filter(({ id }) => id);
    assert.equal(sequenced.length, whole.frames.length - 1);
    assert.deepEqual(sequenced, whole.frames.slice(0, -1));
  });
});
