//! Takes pictures of the playground of a running system: node browser/pictures.mjs DIR, with BASE_URL and TOKEN.

import path from 'node:path';

import { launch, Tab } from '../lib/browser.js';

const directory = process.argv[2] ?? '.';
const baseUrl = process.env.BASE_URL.replace(/\/$/, '');

const VIEWS = {
  light: { viewport: { width: 1280, height: 720 }, colorScheme: 'light' },
  dark: { viewport: { width: 1160, height: 580 }, colorScheme: 'dark', events: true },
  phone: { viewport: { width: 390, height: 720 }, colorScheme: 'light', isMobile: true, hasTouch: true },
};

async function picture(browser, name, { events = false, ...options }) {
  const context = await browser.newContext(options);
  const tab = await Tab.open(context, baseUrl);
  const shoot = (what) => tab.page.screenshot({ path: path.join(directory, `${name}-${what}.png`) });
  await tab.page.waitForTimeout(500);
  await shoot('welcome');
  await tab.send('What is 1200*1.19?');
  await tab.settled(1);
  await tab.send('What can you do?');
  await tab.settled(2);
  await shoot('chat');
  if (events) await tab.button('Events').click();
  await tab.send('demo:reasoning=3 Count to 40 demo:hang');
  await tab.page.getByText('Waiting until').waitFor();
  await tab.send('And the invoice?');
  await tab.page.getByText('Waiting', { exact: true }).waitFor();
  await shoot('running');
  await tab.button('Stop').click();
  if (options.isMobile) {
    await tab.button('Chats').click();
    await tab.page.waitForTimeout(300);
    await shoot('menu');
  }
  await context.close();
}

const browser = await launch();
for (const [name, options] of Object.entries(VIEWS)) await picture(browser, name, options);
await browser.close();
