//! Chunks that are published while a subscription is still on its way are neither lost nor waited for.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { delaySubscriptions } from '../lib/delay.js';
import { Deployment } from '../lib/deployment.js';
import { textOf } from '../lib/messages.js';
import { openTab, sdks } from '../lib/sdks.js';
import { readWire } from '../lib/sse.js';

const skip = process.env.COPILOT_BIN_DIR ? false : 'COPILOT_BIN_DIR is not set; only a system of ours may be slow';

describe('a subscription that comes late', { skip, timeout: 60_000 }, () => {
  let deployment;
  let copilot;

  before(async () => {
    const REDIS_URL = await delaySubscriptions(process.env.REDIS_URL, 100);
    deployment = await Deployment.startForTest(1, { REDIS_URL });
    copilot = new Copilot(deployment.baseUrl, deployment.token('subscription'));
  });

  after(async () => {
    await deployment?.stop();
    deployment?.forgetLogs();
  });

  test('cuts nobody', async () => {
    const sessionId = await copilot.createSession();
    const body = { message: 'demo:tokens=40,rate=40,bytes=4' };
    const wire = await readWire(await copilot.post(`/api/chat/sessions/${sessionId}/stream`, body));
    assert.ok(wire.done);
    assert.equal(wire.deltas().length, 160);
  });

  for (const sdk of sdks) {
    test(`is not noticed by ${sdk.name}`, async () => {
      const tab = openTab(sdk, copilot, await copilot.createSession());
      await tab.sendMessage({ text: 'demo:tokens=20,rate=40,bytes=4' });
      assert.equal(tab.status, 'ready', String(tab.error));
      assert.equal(textOf(tab.messages[1]).length, 80);
    });
  }
});
