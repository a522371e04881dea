//! The playground with more than fits into it: long chats, many chats, every kind of card.

import assert from 'node:assert/strict';
import { describe } from 'node:test';

import { copilotOf, scenes, SIDE_BY_SIDE, tokens, WITH_TOKENS } from '../lib/scenes.js';
import { until } from '../lib/until.js';

/** An answer of many rows. */
const WORDY = `${'demo:tool=calculator,args={"expression":"1+1"} '.repeat(14)}demo:tokens=3`;
const CHATS = 95;

const CARDS = {
  'suggest_goal,args={"suggested_goal":"A list of crabs","reason":"Too vague","original_goal":"Crabs"}': /Crabs.*A list of crabs.*Too vague/s,
  'ask_question,args={"questions":[{"question":"Which beach?","keyword":"beach","example":"The wide one"}]}': /Which beach\?.*The wide one/s,
};
const MORE_CARDS = {
  'todo_write,args={"todos":[{"content":"Find a crab","status":"in_progress"}]}': /Find a crab/,
  'create_folder,args={"name":"Shells"}': /Shells · empty/,
  'list_folders,args={}': /Shells · empty/,
  'create_feature_request,args={"title":"Sideways scrolling","description":"For crabs"}': /FR-\d+ Sideways scrolling · new/,
  'search_feature_requests,args={"query":"Sideways scrolling"}': /FR-\d+ Sideways scrolling/,
  'connect_integration,args={"provider":"github","reason":"For the crabs"}': /GitHub.*repo.*It is connected/s,
  'write_workspace_file,args={"filename":"crab.txt","content":"sideways"}': /crab\.txt.*8 B.*sideways/s,
  'list_workspace_files,args={}': /crab\.txt/,
  'read_workspace_file,args={"path":"crab.txt"}': /crab\.txt.*sideways/s,
  'add_understanding,args={"job_title":"Crab keeper"}': /job title\s*Crab keeper/i,
  'get_current_time,args={}': /\d{4}/,
  'search_docs,args={"query":"stream"}': /“stream”/,
  'get_mcp_guide,args={}': /MCP/,
  'no_such_tool,args={}': /no_such_tool/,
};

describe('the playground with much in it', SIDE_BY_SIDE, () => {
  const scene = scenes();

  scene('a long chat begins at its end, and is read back to its beginning', async (tab) => {
    await tab.send('the very first');
    await tab.settled(1);
    const copilot = await copilotOf(tab);
    const { sessionId } = tab;
    for (const _ of [1, 2, 3, 4]) {
      const turn = await copilot.submit(sessionId, WORDY);
      await until('it is answered', async () => (await copilot.turn(sessionId, turn)).status === 'completed');
    }
    await tab.page.reload();
    await tab.button('Answer again').waitFor();
    const first = tab.questions.getByText('the very first');
    assert.equal(await first.count(), 0);
    const log = tab.page.getByRole('log');
    assert.ok(await log.evaluate(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight < 2));
    // What is being read stays where it is while more comes in front of it.
    const before = await tab.answers.count();
    const top = await tab.answers.first().elementHandle();
    const was = await log.evaluate((box, article) => {
      box.scrollTo({ top: 300 });
      return article.getBoundingClientRect().top;
    }, top);
    await until('there is more', async () => (await tab.answers.count()) > before);
    const is = await top.evaluate((article) => article.getBoundingClientRect().top);
    assert.ok(Math.abs(is - was) < 5, `${was} ${is}`);
    await until('it is read to its beginning', async () => {
      await log.evaluate((box) => box.scrollTo({ top: 0 }));
      return (await first.count()) === 1;
    });
    assert.equal(await tab.answers.count(), 5);
    assert.equal(await tab.button('Earlier messages').count(), 0);
    // An answer at the end changes nothing at the beginning.
    await tab.send('hello');
    await tab.settled(6);
    assert.equal(await first.count(), 1);
    tab.contented();
  });

  scene('many chats are listed as far as one scrolls, and seldom asked for', async (tab) => {
    // Another user, whose list is nobody else's.
    await tab.signIn(tokens.collector);
    const copilot = await copilotOf(tab);
    const made = [];
    for (let n = 0; n < CHATS; n += 1) made.push(await copilot.createSession());
    await tab.page.reload();
    await tab.box.waitFor();
    const chats = tab.page.getByRole('navigation', { name: 'Chats' }).getByRole('link');
    await until('the newest are there', async () => (await chats.count()) >= 40);
    assert.ok((await chats.count()) < CHATS);
    await until('all are there', async () => {
      await chats.last().scrollIntoViewIfNeeded();
      return (await chats.count()) === CHATS;
    });
    const listed = await chats.evaluateAll((links) => links.map((link) => new URL(link.href).searchParams.get('session')));
    assert.deepEqual(new Set(listed), new Set(made));
    // The oldest is opened, and is the newest when it has been spoken to.
    await chats.last().click();
    await tab.send('hello');
    await tab.settled(1);
    await until('it is the first', async () => (await chats.first().getAttribute('href')).endsWith(made[0]));
    assert.equal(await chats.count(), CHATS);
    let asked = 0;
    tab.page.on('request', (request) => (asked += /\/sessions\?/.test(request.url()) ? 1 : 0));
    await tab.page.waitForTimeout(4000);
    assert.ok(asked <= 2, `asked for ${asked} times in 4 s`);
    tab.contented();
  }, WITH_TOKENS);

  scene('each tool has a card of its type', async (tab) => {
    // What one learns of the development user, others would be asked about.
    await tab.signIn(tokens.handyman);
    const calls = (cards) => Object.keys(cards).map((call) => `demo:tool=${call}`);
    const check = async (cards, answer) => {
      const shown = tab.answers.nth(answer).getByRole('region', { name: /^Tool / });
      const texts = await shown.evaluateAll((found) =>
        found.map((card) => {
          const copy = card.cloneNode(true);
          copy.querySelector('details').remove();
          return copy.textContent;
        }),
      );
      for (const [call, pattern] of Object.entries(cards)) {
        const title = call.split(',')[0].replaceAll('_', ' ');
        const text = texts.find((candidate) => candidate.startsWith(title));
        assert.match(text ?? `no card: ${title}`, pattern);
        assert.doesNotMatch(text, /"type":|\{"/, title);
      }
    };
    await tab.send(`${calls(MORE_CARDS).join(' ')} demo:tokens=3`);
    await tab.settled(1);
    await check(MORE_CARDS, 0);
    // These two end their turn.
    for (const [index, [call, pattern]] of Object.entries(CARDS).entries()) {
      await tab.send(`demo:tool=${call}`);
      await tab.settled(2 + index);
      await check({ [call]: pattern }, 1 + index);
    }
    await tab.button('The wide one').click();
    assert.equal(await tab.box.inputValue(), 'The wide one');
    await tab.button('Take this goal').click();
    assert.equal(await tab.box.inputValue(), 'A list of crabs');
    tab.contented();
  }, WITH_TOKENS);
});
