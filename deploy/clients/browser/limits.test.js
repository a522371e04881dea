//! The playground at the end of what its user may use.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { launch, Tab } from '../lib/browser.js';
import { Copilot } from '../lib/copilot.js';
import { sameDayFor } from '../lib/day.js';

const { BASE_URL, BEGGAR_TOKEN, ADMIN_TOKEN } = process.env;
const skip = ADMIN_TOKEN ? false : 'ADMIN_TOKEN and BEGGAR_TOKEN are not set; deploy/clients/run --browser sets them';
/** Longer than this test has ever taken. */
const SECONDS = 120;

describe('the playground at a limit', { skip, timeout: 2 * SECONDS * 1000 }, () => {
  let browser;

  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  test('who has used up the day is told, pays for another one, and goes on', async () => {
    // Any answer uses up such a day.
    const { sub } = JSON.parse(Buffer.from(BEGGAR_TOKEN.split('.')[1], 'base64url'));
    const admin = new Copilot(BASE_URL, ADMIN_TOKEN);
    const { status } = await admin.put(`/api/copilot/admin/rate_limit/${sub}`, { daily_token_limit: 1 });
    assert.equal(status, 200);
    // What is used up is used up until midnight, UTC.
    await sameDayFor(SECONDS);

    const context = await browser.newContext();
    const tab = await Tab.open(context, BASE_URL);
    await tab.signIn(BEGGAR_TOKEN);

    await tab.send('hello');
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
    await tab.send('and more');
    await tab.button('Reset usage…').click();
    await dialog.getByRole('button', { name: 'Pay $5.00' }).click();
    await dialog.getByRole('alert').getByText('insufficient_credits').waitFor();
    await tab.page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    assert.equal(await tab.box.inputValue(), 'and more');
    tab.contented(/429|402/);
    await context.close();
  });
});
