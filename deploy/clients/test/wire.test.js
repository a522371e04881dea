//! Plain fetch, as curl sees it: the bytes of a stream, and what every cursor gives.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { refusedBy, sdks } from '../lib/sdks.js';
import { readWire, textOfChunks } from '../lib/sse.js';

const copilot = Copilot.fromEnvironment();
const CALCULATOR = 'demo:tool=calculator,args={"expression":"6*7"}';
const MIXED = `demo:reasoning=10,rate=60,bytes=4 ${CALCULATOR} demo:tokens=40,rate=60,bytes=4`;

const streamOf = (sessionId) => `/api/chat/sessions/${sessionId}/stream`;
const turnOf = (wire) => wire.chunks.find(({ type }) => type === 'start').messageId;

const send = (sessionId, message, extra) => copilot.post(streamOf(sessionId), { message, ...extra });

async function answered(message) {
  const sessionId = await copilot.createSession();
  const wire = await readWire(await send(sessionId, message));
  // What the API says of a waiting turn is no part of the sequence.
  const frames = wire.frames.slice(wire.types.indexOf('start'));
  return { sessionId, wire, frames, turnId: turnOf(wire) };
}

async function after(sessionId, cursor, headers) {
  return copilot.fetch(`${streamOf(sessionId)}?after=${cursor}`, { headers });
}

/** What every kind of reader gets of an answer: live, waiting behind it, in mid-answer and afterwards. */
async function wiresOf(script) {
  const sessionId = await copilot.createSession();
  const live = await send(sessionId, script);
  const waiting = await send(sessionId, 'demo:tokens=2');
  const replay = await copilot.fetch(streamOf(sessionId));
  let cancelled;
  const wires = await Promise.all([
    readWire(live, ({ text }) => {
      if (text.includes('Waiting')) cancelled ??= copilot.cancel(sessionId);
      return false;
    }),
    readWire(waiting),
    ...(replay.status === 204 ? [] : [readWire(replay)]),
  ]);
  await cancelled;
  return [...wires, await readWire(await after(sessionId, `${turnOf(wires[0])}:0`))];
}

/** Reads an answer that goes on until everybody has joined it, with `open`, after so many of its chunks. */
async function joinAt(sessionId, counts, open) {
  const opened = [];
  let cancelled;
  const wire = await readWire(await send(sessionId, `${MIXED} demo:hang`), (soFar) => {
    while (counts.length > 0 && soFar.frames.filter(({ id }) => id).length >= counts[0]) {
      counts.shift();
      opened.push({ cursor: soFar.lastId, response: open(soFar) });
    }
    if (soFar.text.includes('Waiting')) {
      cancelled ??= Promise.all(opened.map(({ response }) => response)).then(() => copilot.cancel(sessionId));
    }
    return false;
  });
  await cancelled;
  const read = async ({ cursor, response }) => ({ cursor, rest: await readWire(await response) });
  return { wire, joined: await Promise.all(opened.map(read)) };
}

async function refusal(response) {
  const { code } = await response.json();
  return [response.status, code];
}

describe('the wire', { concurrency: 3, timeout: 120_000 }, () => {
  test('an answer is a stream to the letter', async () => {
    const sessionId = await copilot.createSession();
    const response = await send(sessionId, `${CALCULATOR} demo:tokens=5`);
    assert.equal(response.status, 200);
    const expected = {
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      'x-vercel-ai-ui-message-stream': 'v1',
      'content-encoding': null,
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(response.headers.get(name), value, name);
    const wire = await readWire(response);
    assert.match(wire.text, /^retry: \d+\n: heartbeat\n\n/);
    assert.ok(wire.text.endsWith('\n\ndata: [DONE]\n\n'));
    assert.equal(wire.frames.filter(({ data }) => data === '[DONE]').length, 1);
    // A turn that had to wait for a moment says so first.
    const begins = wire.types.indexOf('start');
    assert.ok(wire.types.slice(0, begins).every((type) => type === 'data-status'));
    wire.frames.slice(begins, -1).forEach(({ id, event }, index) => {
      assert.equal(id, `${turnOf(wire)}:${index + 1}`);
      assert.equal(event, undefined);
    });
    const steps = wire.types.slice(begins).filter((type) => !type.endsWith('-delta'));
    assert.deepEqual(steps, [
      ...['start', 'start-step', 'tool-input-start', 'tool-input-available', 'tool-output-available', 'finish-step'],
      ...['start-step', 'text-start', 'text-end', 'finish-step', 'finish'],
    ]);
    const usage = wire.text.match(/: usage (\{.*\})\n\nid: \S+\ndata: \{"type":"finish"/);
    const counts = ['promptTokens', 'completionTokens', 'totalTokens', 'cacheReadTokens', 'cacheCreationTokens'];
    assert.deepEqual(Object.keys(JSON.parse(usage[1])), counts);
  });

  test('every chunk passes the schema of every release', async () => {
    const scripts = [
      MIXED,
      'demo:tool=calculator,args={"expression":"6*"} demo:tokens=3',
      'demo:tokens=3 demo:error=fatal',
      'demo:reasoning=3 demo:tokens=3 demo:hang',
    ];
    const wires = (await Promise.all(scripts.map(wiresOf))).flat();
    assert.ok(wires.some(({ types }) => types.includes('data-status')));
    assert.ok(wires.some(({ types }) => types.includes('tool-output-error')));
    assert.ok(wires.some(({ types }) => types.includes('error')));
    assert.ok(wires.some(({ types }) => types.includes('abort')));
    for (const wire of wires) {
      assert.ok(wire.done, wire.text);
      for (const sdk of sdks) assert.deepEqual(await refusedBy(sdk, wire.text), [], sdk.name);
    }
  });

  test('the later chunks after every cursor are exact', async () => {
    const { sessionId, frames, turnId } = await answered(`demo:reasoning=5 ${CALCULATOR} demo:tokens=20`);
    for (let sequence = 0; sequence < frames.length - 1; sequence += 1) {
      const suffix = await readWire(await after(sessionId, `${turnId}:${sequence}`));
      assert.deepEqual(suffix.frames, frames.slice(sequence), `after ${sequence}`);
    }
    const end = await after(sessionId, `${turnId}:${frames.length - 1}`);
    assert.equal(end.status, 204);
  });

  test('a reader that is cut again and again reads every chunk once', async () => {
    const sessionId = await copilot.createSession();
    const frames = [];
    let response = await send(sessionId, MIXED);
    for (let connection = 0; frames.at(-1)?.data !== '[DONE]'; connection += 1) {
      const wire = await readWire(response, ({ lastId, frames: { length } }) => lastId && length >= 3 + connection);
      frames.push(...wire.frames);
      response = await copilot.fetch(streamOf(sessionId), { headers: { 'last-event-id': wire.lastId } });
      // A cut may fall behind the last chunk and before the end.
      if (response.status === 204) break;
    }
    const [turnId] = frames.find(({ id }) => id).id.split(':');
    const whole = await readWire(await after(sessionId, `${turnId}:0`));
    const sequenced = (list) => list.filter(({ id }) => id);
    assert.deepEqual(sequenced(frames), sequenced(whole.frames));
    assert.equal(textOfChunks(whole.chunks).length, 160);
  });

  test('readers that come with a cursor in mid-answer get the rest without a seam', async () => {
    const sessionId = await copilot.createSession();
    const { wire, joined } = await joinAt(sessionId, [1, 5, 12, 20, 35], ({ lastId }) =>
      copilot.fetch(streamOf(sessionId), { headers: { 'last-event-id': lastId } }),
    );
    for (const { cursor, rest } of joined) {
      const at = wire.frames.findIndex(({ id }) => id === cursor);
      assert.deepEqual(rest.frames, wire.frames.slice(at + 1), `after ${cursor}`);
    }
  });

  test('a replay without a cursor has one delta a part, and its end is a cursor', async () => {
    const { sessionId, wire, turnId } = await answered(`demo:reasoning=5 ${CALCULATOR} demo:tokens=20`);
    const replay = await readWire(await copilot.fetch(`/api/chat/sessions/${sessionId}/turns/${turnId}/stream`));
    assert.deepEqual(replay.types, [
      ...['start', 'start-step', 'reasoning-start', 'reasoning-delta', 'reasoning-end'],
      ...['tool-input-available', 'tool-output-available', 'finish-step'],
      ...['start-step', 'text-start', 'text-delta', 'text-end', 'finish-step', 'finish'],
    ]);
    assert.equal(replay.deltas(), wire.deltas());
    assert.equal(replay.deltas('reasoning-delta'), wire.deltas('reasoning-delta'));
    assert.deepEqual(replay.frames.filter(({ id }) => id), [{ ...wire.frames.at(-2) }]);
  });

  test('a replay in mid-answer goes on without a seam, and every live chunk is a cursor', async () => {
    const sessionId = await copilot.createSession();
    const { wire, joined } = await joinAt(sessionId, [1, 5, 12, 20, 35], () => copilot.fetch(streamOf(sessionId)));
    for (const { rest: replay } of joined) {
      assert.equal(replay.deltas(), wire.deltas());
      assert.equal(replay.deltas('reasoning-delta'), wire.deltas('reasoning-delta'));
      const end = replay.frames.findIndex(({ id }) => id);
      const at = wire.frames.findIndex(({ id }) => id === replay.frames[end].id);
      assert.deepEqual(replay.frames.slice(end + 1), wire.frames.slice(at + 1));
    }
  });

  test('nothing in flight is only said when the history is complete', async () => {
    for (let round = 0; round < 5; round += 1) {
      const sessionId = await copilot.createSession();
      const turnId = await copilot.submit(sessionId, 'demo:tokens=10,rate=100');
      for (let ended = false; !ended; ) {
        const response = await copilot.fetch(streamOf(sessionId));
        ended = response.status === 204;
        if (ended) {
          const { messages, active_stream } = await copilot.session(sessionId);
          assert.equal(active_stream, null);
          assert.notEqual(messages.at(-1).duration_ms, null, 'the last row of an ended turn');
          assert.equal(messages.at(-1).turn_id, turnId);
        }
        await response.body?.cancel();
      }
    }
  });

  test('a message that is sent again attaches to its turn', async () => {
    const sessionId = await copilot.createSession();
    const message_id = crypto.randomUUID();
    const message = 'demo:tokens=30,rate=60';
    const responses = await Promise.all([1, 2, 3].map(() => send(sessionId, message, { message_id })));
    const wires = await Promise.all(responses.map((response) => readWire(response)));
    const late = await readWire(await send(sessionId, message, { message_id }));
    for (const wire of [...wires, late]) {
      assert.ok(wire.done);
      assert.equal(turnOf(wire), turnOf(wires[0]));
      assert.equal(wire.deltas(), wires[0].deltas());
    }
    const { messages } = await copilot.session(sessionId);
    assert.deepEqual(messages.map(({ role }) => role), ['user', 'assistant']);
    assert.equal(messages[0].id, message_id);
    assert.deepEqual(await refusal(await send(sessionId, 'another', { message_id })), [422, 'idempotency_conflict']);
  });

  test('a POST with a cursor resumes and submits nothing', async () => {
    const { sessionId, frames, turnId } = await answered('demo:tokens=10');
    const headers = { 'content-type': 'application/json', 'last-event-id': `${turnId}:4` };
    const resumed = await readWire(await copilot.post(streamOf(sessionId), { message: 'demo:tokens=10' }, { headers }));
    assert.deepEqual(resumed.frames, frames.slice(4));
    const { messages } = await copilot.session(sessionId);
    assert.equal(messages.length, 2);
  });

  test('the header beats the query, and an empty header is none', async () => {
    const { sessionId, frames, turnId } = await answered('demo:tokens=10');
    const header = (value) => ({ 'last-event-id': value });
    const both = await readWire(await after(sessionId, `${turnId}:2`, header(`${turnId}:9`)));
    assert.deepEqual(both.frames, frames.slice(9));
    const empty = await readWire(await after(sessionId, `${turnId}:2`, header('')));
    assert.deepEqual(empty.frames, frames.slice(2));
  });

  test('a cursor that cannot be served is refused with a reason', async () => {
    const { sessionId, turnId } = await answered('demo:tokens=3');
    const other = await answered('demo:tokens=3');
    for (const cursor of ['nonsense', `${turnId}`, `${turnId}:`, `${turnId}:-1`, `${turnId}:1:1`, `${turnId}:99999`]) {
      assert.deepEqual(await refusal(await after(sessionId, cursor)), [400, 'invalid_cursor'], cursor);
    }
    for (const cursor of [`${other.turnId}:1`, `${crypto.randomUUID()}:0`]) {
      assert.deepEqual(await refusal(await after(sessionId, cursor)), [410, 'expired'], cursor);
    }
    const foreign = await copilot.fetch(`/api/chat/sessions/${sessionId}/turns/${other.turnId}/stream`);
    assert.deepEqual(await refusal(foreign), [404, 'turn_not_found']);
    const unknown = await copilot.fetch(streamOf(crypto.randomUUID()));
    assert.deepEqual(await refusal(unknown), [404, 'session_not_found']);
  });
});
