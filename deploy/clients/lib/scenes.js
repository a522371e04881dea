//! Tests of the playground, each in a tab of its own.

import { after, before, test } from 'node:test';

import { launch, Tab } from './browser.js';
import { Copilot } from './copilot.js';

/** For a `describe`: most of its time a scene waits for words, so several are played at once. */
export const SIDE_BY_SIDE = { timeout: 240_000, concurrency: 4 };

/** Whoever is not the development user, whom all other scenes share; none of them against a system of somebody else. */
export const tokens = process.env.TOKENS ? JSON.parse(process.env.TOKENS) : undefined;
export const WITH_TOKENS = { skip: tokens ? false : 'TOKENS is not set; deploy/clients/run --browser sets it' };

/** Within a `describe`: what plays a scene in the browser. */
export function scenes() {
  const { baseUrl } = Copilot.fromEnvironment();
  let browser;
  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());

  /** `play` gets the tab, and the context for further ones of the same user. */
  return function scene(name, play, options) {
    test(name, options, async () => {
      const context = await browser.newContext();
      try {
        await play(await Tab.open(context, baseUrl), context);
      } finally {
        await context.close();
      }
    });
  };
}

/** The HTTP side of the user who uses this tab. */
export async function copilotOf(tab) {
  const token = await tab.page.evaluate(
    () => sessionStorage.getItem('token') ?? document.querySelector('meta[name="development-token"]').content,
  );
  return new Copilot(tab.baseUrl, token);
}
