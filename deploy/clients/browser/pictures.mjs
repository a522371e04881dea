//! Takes pictures of the playground of a running system: node browser/pictures.mjs DIR, with BASE_URL and TOKEN.

import path from 'node:path';

import { launch, Tab } from '../lib/browser.js';

const directory = process.argv[2] ?? '.';
const baseUrl = process.env.BASE_URL.replace(/\/$/, '');

const MARKDOWN = [
  'demo:reasoning=30',
  'demo:tool=calculator,args={"expression":"1200*1.19"}',
  'demo:tool=get_current_time,args={}',
  'demo:tokens=60',
].join(' ');

const VIEWS = {
  light: { viewport: { width: 1280, height: 800 }, colorScheme: 'light' },
  dark: { viewport: { width: 1280, height: 800 }, colorScheme: 'dark', events: true },
  phone: { viewport: { width: 390, height: 780 }, colorScheme: 'light', isMobile: true, hasTouch: true },
};

async function picture(browser, name, { events = false, ...options }) {
  const context = await browser.newContext(options);
  const tab = await Tab.open(context, baseUrl);
  const shoot = (what) => tab.page.screenshot({ path: path.join(directory, `${name}-${what}.png`) });
  await tab.page.waitForTimeout(500);
  await shoot('welcome');
  await tab.send('Plan the release and say what it costs');
  await tab.settled(1);
  await tab.send(MARKDOWN);
  await tab.settled(2);
  if (events) await tab.button('Events').click();
  await shoot('chat');
  await tab.send('demo:reasoning=3 demo:tokens=12 demo:hang');
  await tab.grown(20);
  await tab.send('And the invoice?');
  await tab.page.getByText('Waiting', { exact: true }).waitFor();
  await shoot('running');
  await tab.button('Stop').click();
  if (name === 'phone') {
    await tab.button('Chats').click();
    await tab.page.waitForTimeout(300);
    await shoot('menu');
  }
  await context.close();
}

const browser = await launch();
for (const [name, options] of Object.entries(VIEWS)) await picture(browser, name, options);
await browser.close();
