//! A worker that is killed in mid-answer: what connected clients and later ones of every release have.

import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { Deployment } from '../lib/deployment.js';
import { stepsOfParts, stepsOfRows, textOf, visible } from '../lib/messages.js';
import { openTab, refusedBy, sdks } from '../lib/sdks.js';
import { readWire } from '../lib/sse.js';
import { until } from '../lib/until.js';

const CALCULATOR = 'demo:tool=calculator,args={"expression":"6*7"}';
const skip = process.env.COPILOT_BIN_DIR ? false : 'COPILOT_BIN_DIR is not set; only a worker of ours may be killed';

const answerOf = (tab) => tab.messages.find(({ role }) => role === 'assistant');

const attempts = (message) => message.parts.filter(({ type }) => type === 'data-retry').map(({ data }) => data.attempt);

describe('takeover', { skip, timeout: 180_000 }, () => {
  let deployment;
  let copilot;
  let worker;

  before(async () => {
    deployment = await Deployment.startForTest(0);
    copilot = new Copilot(deployment.baseUrl, deployment.token('takeover'));
  });

  beforeEach(async () => {
    if (!worker?.runs) worker = await deployment.startWorker();
  });

  after(async () => {
    await deployment?.stop();
    deployment?.forgetLogs();
  });

  /** Kills the worker, at once, and starts another one. */
  async function replaceWorker() {
    await worker.kill();
    worker = await deployment.startWorker();
  }

  /** A probe for `until`: has the promise been fulfilled? */
  function withinReach(promise) {
    let outcome;
    promise.then(
      () => (outcome = {}),
      (error) => (outcome = { error }),
    );
    return () => {
      if (outcome?.error) throw outcome.error;
      return outcome;
    };
  }

  /** Every release follows one turn, and so does a bare reader; workers die at these lengths of text. */
  async function witness(script, kills) {
    const sessionId = await copilot.createSession();
    const turnId = await copilot.submit(sessionId, script);
    const everything = `/api/chat/sessions/${sessionId}/stream?after=${turnId}:0`;
    const bare = readWire(await copilot.fetch(everything));
    // It is awaited at the end; if it fails before, that must not end the test in the middle of a kill.
    bare.catch(() => {});
    const tabs = sdks.map((sdk) => openTab(sdk, copilot, sessionId));
    const resumed = tabs.map((tab) => tab.resumeStream());
    let attempt = 1;
    for (const characters of kills) {
      const caughtUp = () => tabs.every((tab) => attemptText(answerOf(tab), attempt).length >= characters);
      await until(`${characters} characters of attempt ${attempt} have come`, caughtUp);
      await replaceWorker();
      attempt += 1;
      const seen = attempt;
      const goesOn = () =>
        tabs.every((tab) => {
          assert.equal(tab.status, 'streaming', `attempt ${seen} must come in the same response: ${tab.error}`);
          return attemptText(answerOf(tab), seen).length > 0;
        });
      await until(`attempt ${seen} has said something`, goesOn);
    }
    const late = sdks.map((sdk) => openTab(sdk, copilot, sessionId));
    resumed.push(...late.map((tab) => tab.resumeStream()));
    if (script.includes('demo:hang')) {
      await until('the last attempt hangs', () => late.every((tab) => textOf(answerOf(tab)).includes('Waiting')));
      await copilot.cancel(sessionId);
    }
    await Promise.all(resumed);
    const rows = await copilot.rows(sessionId, turnId);
    return { sessionId, turnId, tabs, late, rows, everything, bare: await bare };
  }

  /** The text that an attempt has added: behind the part that announces it, and before the next one. */
  function attemptText(message, attempt) {
    const parts = message?.parts ?? [];
    const announced = ({ type, data }) => type === 'data-retry' && data.attempt === attempt;
    const begins = attempt === 1 ? 0 : parts.findIndex(announced);
    if (begins < 0) return '';
    return textOf({ parts: parts.slice(begins) });
  }

  async function equalsHistory(seen, expectedAttempts, status = 'completed') {
    const { sessionId, turnId, tabs, late, rows, everything, bare } = seen;
    const turn = await copilot.turn(sessionId, turnId);
    assert.equal(turn.status, status);
    assert.equal(turn.attempt, expectedAttempts.at(-1));
    const history = stepsOfRows(rows);
    tabs.forEach((tab, index) => {
      const { name } = sdks[index];
      assert.equal(tab.status, 'ready', `${name}: ${tab.error}`);
      assert.deepEqual(tab.messages.map(({ role, id }) => [role, id]), [['assistant', turnId]], name);
      assert.deepEqual(attempts(tab.messages[0]), expectedAttempts, name);
      assert.deepEqual(stepsOfParts(visible(tab.messages[0].parts)), history, name);
      assert.deepEqual(tab.seen.toolCalls, [], name);
    });
    late.forEach((tab, index) => {
      const { name } = sdks[index];
      assert.equal(tab.status, 'ready', `${name}: ${tab.error}`);
      assert.deepEqual(attempts(tab.messages[0]), [], `${name}: a later client sees no retry`);
      assert.deepEqual(tab.messages[0].parts, visible(tabs[index].messages[0].parts), name);
    });
    assert.ok(bare.done);
    for (const sdk of sdks) assert.deepEqual(await refusedBy(sdk, bare.text), [], sdk.name);
    bare.frames.slice(0, -1).forEach(({ id }, index) => assert.equal(id, `${turnId}:${index + 1}`));
    const stored = await readWire(await copilot.fetch(everything));
    assert.deepEqual(stored.frames, bare.frames);
  }

  test('the abandoned text is hidden by a part, and only from those who saw it', async () => {
    const seen = await witness('demo:tokens=100,rate=20,bytes=4', [40]);
    const [{ text }] = stepsOfRows(seen.rows);
    assert.equal(text.length, 400);
    await equalsHistory(seen, [2]);
  });

  test('a finished step and its tool call are kept', async () => {
    const seen = await witness(`demo:reasoning=5 ${CALCULATOR} demo:tokens=100,rate=20,bytes=4`, [40]);
    assert.equal(seen.bare.types.filter((type) => type === 'tool-output-available').length, 1);
    await equalsHistory(seen, [2]);
  });

  test('two workers may die in one answer', async () => {
    const script = `${CALCULATOR} demo:reasoning=10 demo:tokens=50,rate=50,bytes=4 demo:hang`;
    const seen = await witness(script, [80, 200]);
    await equalsHistory(seen, [2, 3], 'cancelled');
  });

  test('another worker goes on at once, not when the lease lapses', async () => {
    const sessionId = await copilot.createSession();
    const turnId = await copilot.submit(sessionId, 'demo:hang');
    const everything = `/api/chat/sessions/${sessionId}/stream?after=${turnId}:0`;
    for (let attempt = 2; attempt <= 5; attempt += 1) {
      const hangs = ({ types, text }) => types.length > 0 && text.split('Waiting').length === attempt;
      await readWire(await copilot.fetch(everything), hangs);
      const dying = worker;
      worker = await deployment.startWorker();
      await dying.kill();
      // The lease is 10 s long.
      const resumed = readWire(await copilot.fetch(everything), ({ text }) => text.includes(`{"attempt":${attempt}}`));
      await until(`attempt ${attempt} has begun`, withinReach(resumed), 5);
    }
    await copilot.cancel(sessionId);
  });

  test('a stop after a takeover keeps only what the new attempt wrote', async () => {
    const sessionId = await copilot.createSession();
    const turnId = await copilot.submit(sessionId, 'demo:tokens=10,rate=60,bytes=4 demo:hang');
    const tab = openTab(sdks[0], copilot, sessionId);
    const resumed = tab.resumeStream();
    await until('the first attempt hangs', () => attemptText(answerOf(tab), 1).includes('Waiting'));
    await replaceWorker();
    await until('the second attempt hangs', () => attemptText(answerOf(tab), 2).includes('Waiting'));
    assert.deepEqual(await copilot.cancel(sessionId), { cancelled: true, reason: null });
    await resumed;
    assert.equal(tab.status, 'ready', String(tab.error));
    assert.deepEqual(tab.messages[0].metadata, { status: 'stopped' });
    const rows = await copilot.rows(sessionId, turnId);
    assert.deepEqual(stepsOfParts(visible(tab.messages[0].parts)), stepsOfRows(rows));
  });
});
