//! The conversation as a page that is loaded anew has it: the same that a chat of every release has which was there.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { textOf } from '../lib/messages.js';
import { openTab, sdks } from '../lib/sdks.js';
import { until } from '../lib/until.js';

const copilot = Copilot.fromEnvironment();
const CALCULATOR = 'demo:tool=calculator,args={"expression":"6*7"}';

/** What is on the wire of a message: fields that are undefined are not there. */
const onWire = (messages) => JSON.parse(JSON.stringify(messages));

/** Older releases keep no id of a thought. */
const withoutThoughtIds = (messages) =>
  messages.map((message) => ({
    ...message,
    parts: message.parts.map(({ id, ...part }) => (part.type === 'reasoning' ? part : { id, ...part })),
  }));

const keepsThoughtIds = (messages) => messages.some(({ parts }) => parts.some(({ type, id }) => type === 'reasoning' && id));

async function equalsHistory(sessionId, tab) {
  const folded = onWire(tab.messages);
  const stored = await copilot.uiMessages(sessionId);
  const expected = keepsThoughtIds(folded) ? stored : onWire(withoutThoughtIds(stored));
  assert.deepEqual(expected, folded);
  return stored;
}

const answerOf = (tab) => tab.messages.at(-1);

for (const sdk of sdks) {
  describe(`the history and ${sdk.name}`, { concurrency: 4, timeout: 120_000 }, () => {
    test('a conversation of every kind of answer is what a chat has that was there', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      const scripts = [
        `demo:reasoning=5 ${CALCULATOR} demo:tokens=5`,
        'demo:tool=calculator,args={"expression":"6*"} demo:tokens=3',
        'demo:tokens=6,bytes=4 demo:error=fatal',
        'demo:error=fatal',
        'demo:error=transient demo:tokens=3',
        `${CALCULATOR} ${CALCULATOR} demo:tokens=2`,
        'How are you?',
      ];
      for (const text of scripts) {
        await tab.sendMessage({ text });
        await equalsHistory(sessionId, tab);
      }
      const sent = tab.sendMessage({ text: `${CALCULATOR} demo:reasoning=3 demo:tokens=3 demo:hang` });
      await until('the model hangs', () => textOf(answerOf(tab)).includes('Waiting'));
      await copilot.cancel(sessionId);
      await sent;
      await equalsHistory(sessionId, tab);
    });

    test('a chat that begins with it resumes what is in flight', async () => {
      const sessionId = await copilot.createSession();
      const first = openTab(sdk, copilot, sessionId);
      await first.sendMessage({ text: 'demo:reasoning=3 demo:tokens=3' });
      const sent = first.sendMessage({ text: 'demo:tokens=3 demo:hang' });
      await until('the model hangs', () => textOf(answerOf(first)).includes('Waiting'));
      const begins = await copilot.uiMessages(sessionId);
      assert.deepEqual(begins.map(({ role }) => role), ['user', 'assistant', 'user']);
      const second = openTab(sdk, copilot, sessionId, begins);
      const resumed = second.resumeStream();
      await until('the second has caught up', () => textOf(answerOf(second)).includes('Waiting'));
      await copilot.cancel(sessionId);
      await Promise.all([sent, resumed]);
      assert.deepEqual(onWire(answerOf(second)), onWire(answerOf(first)));
      await equalsHistory(sessionId, first);
    });

    test('an answer is made anew', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'demo:tokens=3' });
      await tab.sendMessage({ text: 'demo:tokens=4' });
      const old = answerOf(tab);
      await tab.regenerate();
      assert.equal(tab.status, 'ready', String(tab.error));
      assert.notEqual(answerOf(tab).id, old.id);
      assert.equal(textOf(answerOf(tab)), textOf(old));
      await equalsHistory(sessionId, tab);
      await tab.regenerate({ messageId: tab.messages[1].id });
      assert.equal(tab.status, 'ready', String(tab.error));
      assert.deepEqual(tab.messages.map(({ role }) => role), ['user', 'assistant']);
      await equalsHistory(sessionId, tab);
    });

    test('an answer is made anew in a page that was loaded since', async () => {
      const sessionId = await copilot.createSession();
      await openTab(sdk, copilot, sessionId).sendMessage({ text: 'my first word is crab' });
      const tab = openTab(sdk, copilot, sessionId, await copilot.uiMessages(sessionId));
      await tab.regenerate({ messageId: answerOf(tab).id });
      assert.equal(tab.status, 'ready', String(tab.error));
      await equalsHistory(sessionId, tab);
      await tab.sendMessage({ text: 'what did I say first?' });
      assert.match(textOf(answerOf(tab)), /crab/);
      await equalsHistory(sessionId, tab);
    });

    test('a failed answer is made anew', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'demo:error=fatal' });
      assert.equal(tab.status, 'error');
      const failed = answerOf(tab).id;
      await tab.regenerate();
      assert.equal(tab.status, 'error');
      assert.notEqual(answerOf(tab).id, failed);
      await equalsHistory(sessionId, tab);
    });

    test('an answer is made anew while it is written', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      const sent = tab.sendMessage({ text: 'demo:tokens=3 demo:hang' });
      await until('the model hangs', () => textOf(answerOf(tab)).includes('Waiting'));
      const old = answerOf(tab).id;
      await tab.stop();
      await sent;
      const again = tab.regenerate();
      await until('the new one hangs', () => answerOf(tab).id !== old && textOf(answerOf(tab)).includes('Waiting'));
      assert.equal((await copilot.turn(sessionId, old)).status, 'cancelled');
      await copilot.cancel(sessionId);
      await again;
      assert.deepEqual(tab.messages.map(({ role }) => role), ['user', 'assistant']);
      await equalsHistory(sessionId, tab);
    });

    test('a message is written anew, and what followed is no more', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'my first word is crab' });
      await tab.sendMessage({ text: 'demo:tokens=4' });
      const [{ id }] = tab.messages;
      await tab.sendMessage({ text: 'my first word is newt', messageId: id });
      assert.equal(tab.status, 'ready', String(tab.error));
      assert.deepEqual(tab.messages.map(({ role }) => role), ['user', 'assistant']);
      assert.equal(tab.messages[0].id, id);
      await equalsHistory(sessionId, tab);
      await tab.sendMessage({ text: 'what did I say first?' });
      assert.match(textOf(answerOf(tab)), /newt/);
      const later = openTab(sdk, copilot, sessionId, await copilot.uiMessages(sessionId));
      await later.sendMessage({ text: 'my first word is toad', messageId: id });
      await later.sendMessage({ text: 'what did I say first?' });
      assert.match(textOf(answerOf(later)), /toad/);
      assert.doesNotMatch(textOf(answerOf(later)), /newt|crab/);
      await equalsHistory(sessionId, later);
    });

    test('a message is written anew while it is answered', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      const sent = tab.sendMessage({ text: 'demo:tokens=3 demo:hang' });
      await until('the model hangs', () => textOf(answerOf(tab)).includes('Waiting'));
      const [{ id }, old] = tab.messages;
      await tab.stop();
      await sent;
      await tab.sendMessage({ text: 'demo:tokens=4', messageId: id });
      assert.equal(tab.status, 'ready', String(tab.error));
      assert.equal((await copilot.turn(sessionId, old.id)).status, 'cancelled');
      await equalsHistory(sessionId, tab);
    });

    test('a message that never came is not mistaken for another', async () => {
      const sessionId = await copilot.createSession();
      const tab = openTab(sdk, copilot, sessionId);
      await tab.sendMessage({ text: 'demo:tokens=3' });
      const before = await copilot.uiMessages(sessionId);
      const lost = { id: 'lost', role: 'user', parts: [{ type: 'text', text: 'another' }] };
      const page = openTab(sdk, copilot, sessionId, [...before, lost]);
      await page.regenerate();
      assert.equal(JSON.parse(page.error.message).code, 'message_not_found');
      const again = openTab(sdk, copilot, sessionId, [...before, lost]);
      await again.sendMessage({ text: 'a third', messageId: 'lost' });
      assert.equal(JSON.parse(again.error.message).code, 'message_not_found');
      assert.deepEqual(await copilot.uiMessages(sessionId), before);
    });
  });
}
