//! The playground while what is behind it dies.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { launch, Tab } from '../lib/browser.js';
import { Deployment } from '../lib/deployment.js';

const skip = process.env.COPILOT_BIN_DIR ? false : 'COPILOT_BIN_DIR is not set; only processes of ours may be killed';
const LONG = 'demo:tokens=80,rate=8,bytes=5';
const LENGTH = 400;
/** What Chromium itself says of a server that is away. */
const AWAY = /Failed to load resource: net::ERR_|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION/;

describe('the playground and outages', { skip, timeout: 240_000 }, () => {
  let browser;
  let context;
  let deployment;
  let worker;
  let tab;

  before(async () => {
    [browser, deployment] = await Promise.all([launch(), Deployment.startForTest(0)]);
    worker = await deployment.startWorker();
  });
  after(async () => {
    await Promise.all([browser?.close(), deployment?.stop()]);
    deployment?.forgetLogs();
  });
  beforeEach(async () => {
    context = await browser.newContext();
    tab = await Tab.open(context, deployment.baseUrl);
  });
  afterEach(() => context?.close());

  test('a worker that is killed in mid-answer costs nobody a word', async () => {
    await tab.send(LONG);
    await tab.grown(60);
    await tab.watch();
    await worker.kill();
    worker = await deployment.startWorker();
    await tab.settled(1);
    await tab.onlyGrew();
    assert.equal((await tab.text()).length, LENGTH);
    tab.contented();
  });

  test('an API that is started again in mid-answer does not either', async () => {
    await tab.send(LONG);
    await tab.grown(60);
    await tab.watch();
    await deployment.api.kill();
    await tab.page.getByText('Reconnecting…').waitFor();
    deployment.api = await deployment.startApi();
    await tab.settled(1);
    await tab.onlyGrew();
    assert.equal((await tab.text()).length, LENGTH);
    tab.contented(AWAY);
  });
});
