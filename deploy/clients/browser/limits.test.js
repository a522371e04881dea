//! The playground at the end of what its user may use.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { Copilot } from '../lib/copilot.js';
import { sameDayFor } from '../lib/day.js';
import { scenes, tokens, WITH_TOKENS } from '../lib/scenes.js';

/** Longer than this test has ever taken. */
const SECONDS = 120;

describe('the playground at a limit', { timeout: 2 * SECONDS * 1000, ...WITH_TOKENS }, () => {
  const scene = scenes();

  scene('who has used up the day is told, pays for another one, and goes on', async (tab) => {
    // Any answer uses up such a day.
    const admin = new Copilot(tab.baseUrl, tokens.admin);
    const limited = await admin.put('/api/copilot/admin/rate_limit/beggar', { daily_token_limit: 1 });
    assert.equal(limited.status, 200);
    // What is used up is used up until midnight, UTC.
    await sameDayFor(SECONDS);

    await tab.signIn(tokens.beggar);

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
  });
});
