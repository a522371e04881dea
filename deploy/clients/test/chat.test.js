//! The Chat of every release over its default transport: send, tools, resume, tabs, stop, errors.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { stepsOfParts, stepsOfRows, textOf } from '../lib/messages.js';
import { openTab, sdks } from '../lib/sdks.js';
import { until } from '../lib/until.js';

const copilot = Copilot.fromEnvironment();
const CALCULATOR = 'demo:tool=calculator,args={"expression":"6*7"}';
// A thought, a tool call and a text, slow enough to be joined anywhere.
const LONG = `demo:reasoning=20,rate=60,bytes=4 ${CALCULATOR} demo:tokens=60,rate=60,bytes=4`;

const length = (message) =>
  (message?.parts ?? []).reduce((sum, part) => sum + (part.text?.length ?? (part.type.startsWith('tool-') ? 1 : 0)), 0);

async function equalsHistory(sessionId, message) {
  const rows = await copilot.rows(sessionId, message.id);
  assert.deepEqual(stepsOfParts(message.parts), stepsOfRows(rows));
}

/** The user message of another tab, as a page that loads the conversation has it. */
const loaded = (tab) => tab.messages.filter(({ role }) => role === 'user');

/**
 * Plays a scene in a fresh session until the second chat has come in time: on a busy machine the answer may have
 * ended before it was asked for.
 */
async function inTime(scene) {
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    const sessionId = await copilot.createSession();
    const { one, two } = await scene(sessionId);
    for (const tab of [one, two]) assert.equal(tab.status, 'ready', String(tab.error));
    const [answer] = two.messages.filter(({ role }) => role === 'assistant');
    if (answer) return { sessionId, one, two, answer };
  }
  return assert.fail('the second chat never came in time');
}

function endedWell(tab) {
  assert.equal(tab.status, 'ready', String(tab.error));
  assert.deepEqual(tab.seen.errors, []);
}

for (const sdk of sdks) {
  describe(sdk.name, { concurrency: 4, timeout: 120_000 }, () => {
    test('a sent message is answered with what the history holds', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'demo:reasoning=5 demo:tokens=40,bytes=7' });
      endedWell(tab);
      assert.deepEqual(tab.messages.map(({ role }) => role), ['user', 'assistant']);
      const [, answer] = tab.messages;
      assert.equal(textOf(answer).length, 280);
      await equalsHistory(sessionId, answer);
      assert.equal(answer.metadata, undefined);
      assert.equal(tab.seen.finishes.length, 1);
    });

    test('the body of the reference front end does the same through the routes of the sessions', async () => {
      const { headers } = copilot;
      const { sessionId, one, two } = await inTime(async (session) => {
        const api = `${copilot.baseUrl}/api/chat/sessions/${session}/stream`;
        const transport = new sdk.DefaultChatTransport({
          api,
          prepareSendMessagesRequest: ({ messages }) => ({
            body: { message: textOf(messages.at(-1)), is_user_message: true, context: null, file_ids: null },
            headers,
          }),
          prepareReconnectToStreamRequest: () => ({ api, headers }),
        });
        const tabs = ['any string', 'another'].map((id) => new sdk.Chat({ id, transport }));
        const sent = tabs[0].sendMessage({ text: 'demo:tokens=60,rate=60,bytes=4' });
        await until('the answer has begun', () => tabs[0].messages.length === 2);
        await Promise.all([sent, tabs[1].resumeStream()]);
        return { one: tabs[0], two: tabs[1] };
      });
      assert.equal(textOf(one.messages[1]).length, 240);
      assert.deepEqual(two.messages, one.messages.slice(1));
      await equalsHistory(sessionId, one.messages[1]);
      await two.resumeStream();
      assert.deepEqual(two.messages, one.messages.slice(1));
    });

    test('a conversation goes on in the same chat', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'my first word is crab' });
      await tab.sendMessage({ text: 'what did I say first?' });
      endedWell(tab);
      assert.deepEqual(tab.messages.map(({ role }) => role), ['user', 'assistant', 'user', 'assistant']);
      assert.match(textOf(tab.messages[3]), /crab/);
      await equalsHistory(sessionId, tab.messages[1]);
      await equalsHistory(sessionId, tab.messages[3]);
    });

    test('a tool call has its input and output and is not run by the client', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: `${CALCULATOR} demo:tokens=5` });
      endedWell(tab);
      const calls = tab.messages[1].parts.filter(({ type }) => type === 'tool-calculator');
      assert.equal(calls.length, 1);
      const [{ state, input, output, providerExecuted }] = calls;
      assert.equal(state, 'output-available');
      assert.deepEqual(input, { expression: '6*7' });
      assert.equal(JSON.parse(output).result, 42);
      assert.equal(providerExecuted, true);
      assert.deepEqual(tab.seen.toolCalls, []);
      await equalsHistory(sessionId, tab.messages[1]);
    });

    test('a failed tool call shows its error', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'demo:tool=calculator,args={"expression":"6*"} demo:tokens=5' });
      endedWell(tab);
      const call = tab.messages[1].parts.find(({ type }) => type === 'tool-calculator');
      assert.equal(call.state, 'output-error');
      assert.ok(call.errorText);
      assert.deepEqual(tab.seen.toolCalls, []);
      await equalsHistory(sessionId, tab.messages[1]);
    });

    test('chats that resume anywhere in an answer end with the message of an undisturbed one', async () => {
      const sessionId = await copilot.createSession();
      const undisturbed = openTab(sdk, copilot, sessionId);
      // It hangs at the end so that it cannot end before everybody has joined it.
      const sent = undisturbed.sendMessage({ text: `${LONG} demo:hang` });
      const joined = [];
      for (const at of [0, 1, 40, 81, 120, 200, 321, 322]) {
        const come = () => undisturbed.status === 'streaming' && length(undisturbed.messages[1]) >= at;
        await until(`${at} characters have come`, come);
        const tab = openTab(sdk, copilot, sessionId, loaded(undisturbed));
        joined.push({ at, tab, resumed: tab.resumeStream() });
      }
      await until('all have caught up', () => joined.every(({ tab }) => textOf(tab.messages[1]).includes('Waiting')));
      await copilot.cancel(sessionId);
      await Promise.all([sent, ...joined.map(({ resumed }) => resumed)]);
      endedWell(undisturbed);
      await equalsHistory(sessionId, undisturbed.lastMessage);
      for (const { at, tab } of joined) {
        endedWell(tab);
        assert.deepEqual(tab.messages, undisturbed.messages, `resumed at ${at}`);
        assert.deepEqual(tab.seen.toolCalls, []);
      }
    });

    test('a chat that resumes ends with the message of an undisturbed one to the end of the answer', async () => {
      const { sessionId, one, two, answer } = await inTime(async (session) => {
        const undisturbed = openTab(sdk, copilot, session);
        const sent = undisturbed.sendMessage({ text: LONG });
        await until('the answer has begun', () => undisturbed.messages.length === 2);
        const tab = openTab(sdk, copilot, session, loaded(undisturbed));
        await Promise.all([sent, tab.resumeStream()]);
        return { one: undisturbed, two: tab };
      });
      assert.equal(textOf(answer).length, 240);
      assert.deepEqual(two.messages, one.messages);
      await equalsHistory(sessionId, answer);
    });

    test('a chat that lost its connection is replaced by a new one over the partial message', async () => {
      const sessionId = await copilot.createSession();
      const lost = openTab(sdk, copilot, sessionId);
      const sent = lost.sendMessage({ text: 'demo:tokens=60,rate=60,bytes=4 demo:hang' });
      await until('a part of the answer has come', () => textOf(lost.messages[1]).length >= 60);
      await lost.stop();
      await sent;
      const turn = await copilot.turn(sessionId, lost.lastMessage.id);
      assert.equal(turn.status, 'running', 'stop() only closes the connection');
      const again = openTab(sdk, copilot, sessionId, loaded(lost));
      const resumed = again.resumeStream();
      await until('the new one has caught up', () => textOf(again.messages[1]).includes('Waiting'));
      await copilot.cancel(sessionId);
      await resumed;
      endedWell(again);
      assert.equal(again.lastMessage.id, lost.lastMessage.id);
      await equalsHistory(sessionId, again.lastMessage);
    });

    test('a resume with nothing in flight leaves the chat ready', async () => {
      const sessionId = await copilot.createSession();
      const first = openTab(sdk, copilot, sessionId);
      await first.resumeStream();
      endedWell(first);
      assert.deepEqual(first.messages, []);
      await first.sendMessage({ text: 'demo:tokens=3' });
      const before = structuredClone(first.messages);
      await first.resumeStream();
      endedWell(first);
      assert.deepEqual(first.messages, before);
    });

    test('two tabs see the same answer, and the second may send while the first is answered', async () => {
      const sessionId = await copilot.createSession();
      const [one, two] = [openTab(sdk, copilot, sessionId), openTab(sdk, copilot, sessionId)];
      const first = one.sendMessage({ text: 'demo:tokens=10,rate=60,bytes=4 demo:hang' });
      await until('the first answer has begun', () => length(one.messages[1]) > 0);
      const watcher = openTab(sdk, copilot, sessionId, loaded(one));
      const watched = watcher.resumeStream();
      const second = two.sendMessage({ text: 'demo:tokens=7,bytes=3' });
      await until('the second is told to wait', () => two.seen.data.length > 0);
      await until('the watcher has caught up', () => textOf(watcher.messages[1]).includes('Waiting'));
      await copilot.cancel(sessionId);
      await Promise.all([first, second, watched]);
      for (const tab of [one, two, watcher]) endedWell(tab);
      assert.deepEqual(watcher.messages, one.messages);
      assert.deepEqual(two.messages.map(({ role }) => role), ['user', 'assistant']);
      assert.notEqual(two.messages[1].id, one.messages[1].id);
      await equalsHistory(sessionId, one.messages[1]);
      await equalsHistory(sessionId, two.messages[1]);
      assert.ok(two.seen.data.some(({ type, data }) => type === 'data-status' && data.status === 'queued'));
      assert.deepEqual(two.messages[1].parts.filter(({ type }) => type.startsWith('data-')), []);
    });

    test('a cancel ends the answer in every tab and keeps its text', async () => {
      const sessionId = await copilot.createSession();
      const one = openTab(sdk, copilot, sessionId);
      const sent = one.sendMessage({ text: 'demo:tokens=20,rate=100,bytes=4 demo:hang' });
      await until('the model hangs', () => textOf(one.messages[1]).includes('Waiting'));
      const two = openTab(sdk, copilot, sessionId, loaded(one));
      const resumed = two.resumeStream();
      await until('the second tab has caught up', () => textOf(two.messages[1]) === textOf(one.messages[1]));
      assert.deepEqual(await copilot.cancel(sessionId), { cancelled: true, reason: null });
      await Promise.all([sent, resumed]);
      for (const tab of [one, two]) {
        endedWell(tab);
        assert.deepEqual(tab.lastMessage.metadata, { status: 'stopped' });
        assert.ok(tab.lastMessage.parts.every(({ state }) => state === undefined || state === 'done'));
        await equalsHistory(sessionId, tab.lastMessage);
      }
      assert.deepEqual(two.messages, one.messages);
      assert.equal((await copilot.turn(sessionId, one.lastMessage.id)).status, 'cancelled');
      await one.sendMessage({ text: 'demo:tokens=3' });
      endedWell(one);
      assert.equal(one.messages.length, 4);
    });

    test('an error of the provider is shown with its code, and the chat can go on', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'demo:tokens=6,bytes=4 demo:error=fatal' });
      assert.equal(tab.status, 'error');
      assert.match(tab.error.message, /^\[code:provider_error\] \S/);
      assert.equal(tab.seen.errors.length, 1);
      assert.deepEqual(tab.messages[1].metadata, { status: 'failed' });
      assert.equal(textOf(tab.messages[1]).length, 24);
      await equalsHistory(sessionId, tab.messages[1]);
      const reloaded = openTab(sdk, copilot, sessionId, tab.messages);
      await reloaded.resumeStream();
      endedWell(reloaded);
      await tab.sendMessage({ text: 'demo:tokens=3' });
      assert.equal(tab.status, 'ready');
      assert.equal(tab.messages.length, 4);
    });

    test('an answer that breaks off keeps what was said and shows the error', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'demo:tokens=6,bytes=4 demo:error=broken' });
      assert.equal(tab.status, 'error');
      assert.match(tab.error.message, /^\[code:[a-z_]+\] \S/);
      assert.equal(textOf(tab.messages[1]).length, 24);
      assert.equal(tab.messages[1].parts.at(-1).state, 'done');
      await equalsHistory(sessionId, tab.messages[1]);
    });

    test('a deleted session ends its answer', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      const sent = tab.sendMessage({ text: 'demo:tokens=10,bytes=4 demo:hang' });
      await until('the model hangs', () => textOf(tab.messages[1]).includes('Waiting'));
      const deleted = await copilot.fetch(`/api/chat/sessions/${sessionId}`, { method: 'DELETE' });
      assert.equal(deleted.status, 204);
      await sent;
      endedWell(tab);
      assert.deepEqual(tab.lastMessage.metadata, { status: 'stopped' });
      await tab.resumeStream();
      assert.equal(JSON.parse(tab.error.message).code, 'session_not_found');
    });

    test('a passing error of the provider is not seen', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'demo:error=transient demo:tokens=6,bytes=4' });
      endedWell(tab);
      assert.equal(textOf(tab.messages[1]).length, 24);
      await equalsHistory(sessionId, tab.messages[1]);
    });

    const stranger = new Copilot(copilot.baseUrl, 'none');
    const refusals = [
      ['a wrong token', 401, 'unauthorized', async () => openTab(sdk, stranger, await copilot.createSession())],
      ['an unknown session', 404, 'session_not_found', () => openTab(sdk, copilot, crypto.randomUUID())],
      ['a blank message', 422, 'validation_error', async () => openTab(sdk, copilot, await copilot.createSession())],
    ];
    for (const [what, status, code, open] of refusals) {
      test(`${what} is refused in words`, async () => {
        const tab = await open();
        await tab.sendMessage({ text: ' ' });
        assert.equal(tab.status, 'error');
        const body = JSON.parse(tab.error.message);
        assert.equal(body.code, code);
        assert.ok(typeof body.detail === 'string' ? body.detail : body.detail[0].msg);
        // Only release 7 tells the status.
        if (tab.error.statusCode !== undefined) assert.equal(tab.error.statusCode, status);
      });
    }
  });
}
