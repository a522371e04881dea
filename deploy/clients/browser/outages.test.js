//! The playground while what is behind it dies, and at the end of what its user may use.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { launch, Tab } from '../lib/browser.js';
import { Deployment } from '../lib/deployment.js';

const skip = process.env.COPILOT_BIN_DIR ? false : 'COPILOT_BIN_DIR is not set; only processes of ours may be killed';
const LONG = 'demo:tokens=80,rate=20,bytes=5';
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
    const settings = { CHAT_DAILY_TOKEN_LIMIT: '2000', ENABLE_CREDIT: 'true', NUM_USER_CREDITS_REFILL: '500' };
    [browser, deployment] = await Promise.all([launch(), Deployment.startForTest(0, settings)]);
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

  test('who has used up the day is told, pays for another one, and goes on', async () => {
    await tab.send('demo:tokens=2500');
    await tab.settled(1);
    await tab.send('one more');
    const alert = tab.page.getByRole('alert');
    await alert.getByText('usage_limit_reached').waitFor();
    assert.equal(await tab.box.inputValue(), 'one more');
    assert.equal(await tab.questions.count(), 1);
    await tab.button('Reset usage…').click();
    const dialog = tab.page.getByRole('dialog', { name: 'Reset today’s usage' });
    await dialog.getByRole('button', { name: 'Pay $5.00' }).click();
    await dialog.getByRole('status').getByText('Done: $5.00').waitFor();
    await dialog.getByRole('button', { name: 'Close' }).click();
    await tab.box.press('Enter');
    await tab.settled(2);
    // The history alone weighs more than the fresh day has.
    await tab.send('and more');
    await tab.button('Reset usage…').click();
    await dialog.getByRole('button', { name: 'Pay $5.00' }).click();
    await dialog.getByRole('alert').getByText('insufficient_credits').waitFor();
    await tab.page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    assert.equal(await tab.box.inputValue(), 'and more');
    tab.contented(/429|402/);
  });
});
