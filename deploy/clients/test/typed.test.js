//! The OpenAPI document of the running system, and clients that are generated from it.

import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { compile, compiled, fetchDocuments, lint } from '../lib/typed.js';

const copilot = Copilot.fromEnvironment();
const { TOKEN } = process.env;
const SCRIPT = 'demo:reasoning=3 demo:tool=calculator,args={"expression":"6*7"} demo:tokens=5';

describe('the OpenAPI document', { timeout: 120_000 }, () => {
  before(() => fetchDocuments(copilot));

  test('has no faults in the eyes of a linter', async () => {
    await Promise.all(['openapi.json', 'openapi-3.2.json'].map(lint));
  });

  describe('yields clients that compile in strict mode', () => {
    let tools;
    before(async () => {
      await compile();
      tools = await compiled('tools');
    });

    function answered(answer) {
      assert.equal(answer.steps, 2);
      assert.equal(answer.status, 'completed');
      assert.ok(answer.text && answer.thoughts && answer.turn);
      assert.deepEqual([...answer.outcomes.values()].map((output) => tools.headline(tools.parse(output))), ['6*7 = 42']);
    }

    test('openapi-typescript with openapi-fetch', async () => {
      const { converse, shown } = await compiled('with-openapi-fetch');
      const { user_id, answer, second, detail, ui, turns, missing } = await converse(copilot.baseUrl, TOKEN, SCRIPT);
      assert.equal(user_id, 'clients');
      answered(answer);
      answered(second);
      assert.deepEqual(detail.messages.map(({ role }) => role), ['user', 'assistant', 'tool', 'assistant']);
      assert.equal(detail.messages[0].content, SCRIPT);
      assert.deepEqual(ui.map(({ role }) => role), ['user', 'assistant']);
      assert.equal(ui[1].id, second.turn);
      assert.ok(ui[1].parts.map(shown).some((text) => text.startsWith('tool-calculator: ')));
      assert.deepEqual(turns.map(({ status }) => status), ['completed', 'completed']);
      assert.deepEqual(missing, { status: 404, code: 'session_not_found' });
    });

    test('Orval', async () => {
      const { converse } = await compiled('with-orval');
      const { answer, second, turn, session, refused } = await converse(copilot.baseUrl, TOKEN, SCRIPT);
      answered(answer);
      answered(second);
      assert.equal(turn.id, second.turn);
      assert.equal(turn.usage.estimated, false);
      assert.equal(session.messages.length, 8);
      assert.equal(refused.status, 422);
      assert.deepEqual(refused.fields.map(({ loc }) => loc), [['body', 'message']]);
    });
  });
});
