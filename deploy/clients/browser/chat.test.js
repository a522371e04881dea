//! The playground as its users meet it: the first visit, chats, reloads, stops, tabs, queues.

import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';
import { describe } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { Tab } from '../lib/browser.js';
import { textOf } from '../lib/messages.js';
import { copilotOf, scenes, SIDE_BY_SIDE } from '../lib/scenes.js';
import { until } from '../lib/until.js';

/** So long that it is not over when a slow machine has loaded a page. */
const LONG = 'demo:tokens=80,rate=5,bytes=5';
const LENGTH = 400;
const MARKDOWN = `## A heading

**bold**

| a | b |
|---|---|
| 1 | \`2\` |

    indented

<script>window.harmed = true</script><img src="x" onerror="window.harmed = true"><b onclick="window.harmed = true">b</b>
[run](javascript:window.harmed=true) ![pixel](https://example.org/pixel.png) <iframe src="https://example.org"></iframe>`;

describe('the playground', SIDE_BY_SIDE, () => {
  const scene = scenes();

  scene('the first visit shows where to begin, and loads nothing from elsewhere', async (tab) => {
    for (const name of ['Send', 'New chat']) assert.ok(await tab.button(name).isVisible(), name);
    assert.ok(await tab.box.evaluate((box) => box === document.activeElement));
    assert.ok(await tab.page.getByRole('heading', { name: 'What can I do for you?' }).isVisible());
    await tab.page.getByRole('meter', { name: /Today/ }).waitFor();
    await tab.button('What is 12*(3+4)?').click();
    assert.equal(await tab.box.inputValue(), 'What is 12*(3+4)?');
    tab.contented();
  });

  scene('a message is answered, with cards for tools, and the chat has a name and an address', async (tab) => {
    await tab.send('demo:reasoning=5 demo:tool=calculator,args={"expression":"6*7"} demo:tokens=20,bytes=5');
    await tab.settled(1);
    const card = tab.page.getByRole('region', { name: 'Tool calculator' });
    assert.match(await card.textContent(), /6\*7 = 42/);
    assert.equal((await tab.text()).length, 100);
    assert.ok(await tab.page.getByText('Thoughts').isVisible());
    const [, answer] = await (await copilotOf(tab)).uiMessages(tab.sessionId);
    assert.equal(await tab.text(), textOf(answer));
    const link = tab.page.locator(`nav a[href="?session=${tab.sessionId}"]`);
    await until('the chat has a name', async () => (await link.textContent()) !== 'New chat');
    await tab.page.goBack();
    await tab.page.getByRole('heading', { name: 'What can I do for you?' }).waitFor();
    tab.contented();
  });

  scene('what the model writes is drawn as Markdown, and what is dangerous in it is not', async (tab) => {
    await tab.send(`Say exactly: ${MARKDOWN}`);
    await tab.settled(1);
    const answer = tab.answers.last();
    for (const element of ['h2', 'strong', 'td code', 'table', 'pre']) assert.equal(await answer.locator(element).count(), 1, element);
    for (const element of ['img', 'script', 'iframe', '[onclick]', 'a[href^=javascript]']) {
      assert.equal(await answer.locator(element).count(), 0, element);
    }
    assert.equal(await tab.page.evaluate(() => window.harmed), undefined);
    assert.equal(await tab.questions.locator('h2').count(), 0);
    tab.contented();
  });

  scene('a reload in mid-answer loses nothing', async (tab) => {
    await tab.send(LONG);
    await tab.grown(60);
    await tab.page.reload();
    await tab.grown(60);
    assert.ok(await tab.button('Stop').isVisible());
    await tab.settled(1);
    assert.equal((await tab.text()).length, LENGTH);
    assert.equal(await tab.questions.count(), 1);
    tab.contented();
  });

  scene('Stop stops, and keeps what was said', async (tab) => {
    await tab.send('demo:tokens=10 demo:hang');
    await tab.grown(20);
    await tab.button('Stop').click();
    await tab.page.getByText('Stopped', { exact: true }).waitFor();
    await tab.settled(1);
    assert.ok((await tab.text()).length >= 20);
    tab.contented();
  });

  scene('two tabs show the same, whichever of them speaks', async (tab, context) => {
    await tab.send(LONG);
    await tab.grown(40);
    const other = await Tab.open(context, tab.baseUrl, `/?session=${tab.sessionId}`);
    await other.grown(40);
    await Promise.all([tab.settled(1), other.settled(1)]);
    assert.equal(await other.text(), await tab.text());
    assert.equal((await tab.text()).length, LENGTH);
    await other.send('and this?');
    await Promise.all([other.settled(2), tab.settled(2)]);
    assert.equal(await other.text(), await tab.text());
    tab.contented();
    other.contented();
  });

  scene('a message that is sent meanwhile waits, can be rewritten and dropped, and is answered', async (tab) => {
    await tab.send('demo:tokens=5 demo:hang');
    await tab.grown(10);
    // As fast as a user can.
    await tab.send('dropped');
    await tab.send('my word is crab');
    const waiting = tab.page.getByRole('region', { name: 'Waiting messages' }).getByRole('listitem');
    await waiting.nth(1).waitFor();
    await waiting.first().getByRole('button', { name: 'Drop dropped' }).click();
    await until('one waits', async () => (await waiting.count()) === 1);
    await waiting.first().getByRole('button', { name: 'Edit my word' }).click();
    await tab.page.getByRole('textbox', { name: 'Waiting message' }).fill('demo:tokens=3 demo:hang');
    await tab.button('Save').click();
    await waiting.getByText('tokens=3').waitFor();
    await tab.button('Stop').click();
    // It is followed as well, without being asked for.
    await tab.answers.nth(1).getByText('Waiting until').waitFor();
    await tab.button('Stop').click();
    await tab.settled(2);
    assert.deepEqual(await tab.questions.allTextContents(), ['demo:tokens=5 demo:hang', 'demo:tokens=3 demo:hang']);
    tab.contented();
  });

  scene('a connection that is dropped goes on behind its cursor', async (tab) => {
    await tab.button('Events').click();
    await tab.send(LONG);
    await tab.grown(40);
    const cursor = await tab.page.getByTestId('cursor').textContent();
    await tab.watch();
    await tab.button('Drop the connection').click();
    await tab.page.getByText('— the connection broke —').waitFor();
    await tab.settled(1);
    assert.equal((await tab.text()).length, LENGTH);
    await tab.onlyGrew();
    const [turn] = cursor.split(':');
    await tab.page.getByText(`Last-Event-ID: ${turn}:`).waitFor();
    tab.contented();
  });

  scene('a file goes with a message, and can be had again', async (tab) => {
    const picker = tab.page.locator('input[type=file]');
    await picker.setInputFiles({ name: 'plan.txt', mimeType: 'text/plain', buffer: Buffer.from('the plan') });
    await tab.page.getByText('plan.txt').waitFor();
    await tab.send('What does it say?');
    await tab.settled(1);
    const [saved] = await Promise.all([
      tab.page.waitForEvent('download'),
      tab.questions.getByRole('button', { name: 'plan.txt' }).click(),
    ]);
    assert.equal(await text(await saved.createReadStream()), 'the plan');
    tab.contented();
  });

  scene('a file waits with its message', async (tab) => {
    await tab.send('demo:tokens=5 demo:hang');
    await tab.grown(10);
    const picker = tab.page.locator('input[type=file]');
    await picker.setInputFiles({ name: 'plan.txt', mimeType: 'text/plain', buffer: Buffer.from('the plan') });
    await tab.button('Remove plan.txt').waitFor();
    await tab.button('Send').click();
    const waiting = tab.page.getByRole('region', { name: 'Waiting messages' });
    await waiting.getByRole('button', { name: 'plan.txt' }).waitFor();
    await tab.button('Stop').click();
    await tab.settled(2);
    assert.ok(await tab.questions.last().getByRole('button', { name: 'plan.txt' }).isVisible());
    tab.contented();
  });

  scene('who looks at another chat at once has said it all the same', async (tab) => {
    await tab.send('hello');
    await tab.settled(1);
    const { sessionId } = tab;
    // The answer to the submit comes late, and nobody waits for it any more.
    await tab.page.route('**/stream', async (route) => {
      await pause(300);
      await route.continue();
    });
    await tab.send('demo:tokens=3');
    await tab.button('New chat').click();
    await tab.page.getByRole('heading', { name: 'What can I do for you?' }).waitFor();
    const copilot = await copilotOf(tab);
    await until('it is answered', async () => (await copilot.uiMessages(sessionId)).length === 4);
    await tab.page.goBack();
    await tab.settled(2);
    tab.contented();
  });

  scene('a message that does not get through is sent until it does, and is said once', async (tab) => {
    await tab.send('hello');
    await tab.settled(1);
    // The second time the API has it, and the answer to that is what is lost.
    let tries = 0;
    await tab.page.route('**/stream', async (route) => {
      tries += 1;
      if (tries === 2) await route.fetch({ maxRedirects: 0 }).catch(() => {});
      if (tries < 3) await route.abort('connectionreset');
      else await route.continue();
    });
    await tab.send('demo:tokens=3');
    await tab.page.getByText('Reconnecting…').waitFor();
    await tab.settled(2);
    assert.equal((await (await copilotOf(tab)).uiMessages(tab.sessionId)).length, 4);
    assert.equal(await tab.questions.count(), 2);
    tab.contented(/net::ERR_/);
  });

  scene('a file that is refused is still the user’s, with the words that went with it', async (tab) => {
    const picker = tab.page.locator('input[type=file]');
    await picker.setInputFiles({ name: 'empty.txt', mimeType: 'text/plain', buffer: Buffer.from('x') });
    await tab.page.getByText('empty.txt').waitFor();
    // As the API answers what it does not take.
    await tab.page.route('**/stream', (route) =>
      route.fulfill({ status: 422, json: { code: 'unsupported_part', detail: 'This cannot be taken.' } }),
    );
    await tab.send('What does it say?');
    await tab.page.getByRole('alert').getByText('unsupported_part').waitFor();
    assert.equal(await tab.box.inputValue(), 'What does it say?');
    assert.equal(await tab.questions.count(), 0);
    await tab.page.unroute('**/stream');
    await tab.button('Remove empty.txt').click();
    await tab.box.press('Enter');
    await tab.settled(1);
    tab.contented(/422/);
  });

  scene('everything is reached by keyboard', async (tab) => {
    await tab.page.evaluate(() => {
      document.body.tabIndex = -1;
      document.body.focus();
    });
    await tab.page.keyboard.press('Tab');
    assert.equal(await tab.page.evaluate(() => document.activeElement.textContent), 'Skip to the chat');
    await tab.box.focus();
    await tab.page.keyboard.type('hello');
    await tab.page.keyboard.press('Enter');
    await tab.settled(1);
    assert.ok(await tab.box.evaluate((box) => box === document.activeElement));
    await tab.page.getByRole('status').getByText(/^Copilot has answered: Hello!/).waitFor({ state: 'attached' });
    tab.contented();
  });

  scene('a chat is renamed and deleted', async (tab) => {
    await tab.send('hello');
    await tab.settled(1);
    const row = tab.page.locator('nav li.current');
    // Not by the mouse: other chats come in above it.
    await row.getByRole('link').focus();
    await row.getByRole('button', { name: /^Rename/ }).click();
    await row.getByRole('textbox', { name: 'Title' }).fill('Crabs and newts');
    await row.getByRole('textbox', { name: 'Title' }).press('Enter');
    await row.getByText('Crabs and newts').waitFor();
    await tab.page.waitForFunction(() => document.title === 'Crabs and newts · Copilot');
    // What asks for the chat, and is not there before it is gone, is not answered with an error that nobody cares for.
    let gone;
    const isGone = new Promise((resolve) => (gone = resolve));
    await tab.page.route(`**/api/chat/sessions/${tab.sessionId}**`, async (route) => {
      if (route.request().method() !== 'DELETE') return isGone.then(() => route.continue().catch(() => {}));
      const response = await route.fetch();
      gone();
      await pause(500);
      await route.fulfill({ response });
    });
    await (await copilotOf(tab)).rename(tab.sessionId, 'Crabs or newts');
    await tab.page.evaluate(() => new BroadcastChannel('copilot').postMessage('changed'));
    await row.getByText('Crabs or newts').waitFor();
    tab.page.once('dialog', (dialog) => dialog.accept());
    await row.getByRole('link').focus();
    await row.getByRole('button', { name: 'Delete Crabs or newts' }).click();
    await tab.page.getByRole('heading', { name: 'What can I do for you?' }).waitFor();
    await tab.page.getByText('Crabs or newts').waitFor({ state: 'detached' });
    tab.contented();
  });

  scene('an answer that fails says so, and is asked for again', async (tab) => {
    await tab.send('demo:tokens=3 demo:error=fatal');
    await tab.page.getByRole('alert').getByText('provider_error').waitFor();
    assert.ok(await tab.page.getByText('This answer failed').isVisible());
    await tab.button('Try again').click();
    await tab.page.getByRole('alert').getByText('provider_error').waitFor();
    assert.equal(await tab.answers.count(), 1);
    tab.contented();
  });
});
