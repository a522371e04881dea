//! The playground in headless Chromium, and everything that a browser complains about.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';

import { chromium } from 'playwright-core';

const PATIENCE = 30_000;

function executable() {
  const found = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/google-chrome'].find((path) => path && existsSync(path));
  assert.ok(found, 'there is no Chromium: deploy/test browser installs Debian’s, or CHROMIUM names one');
  return found;
}

function options() {
  // Chromium's own sandbox refuses root, and /dev/shm is small in containers.
  return { executablePath: executable(), args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'] };
}

/** One browser for several test processes, which find it by BROWSER. Signals are its caller's. */
export const serveBrowser = () => chromium.launchServer({ ...options(), handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false });

/** The browser of BROWSER, else one of the caller's own. To close the former is to leave it. */
export function launch() {
  const { BROWSER } = process.env;
  return BROWSER ? chromium.connect(BROWSER) : chromium.launch(options());
}

/** One tab of the playground. */
export class Tab {
  /** What the console said that it should not, policy violations included. */
  complaints = [];
  /** Where anything was loaded from. */
  origins = new Set();

  constructor(page, baseUrl) {
    this.page = page;
    this.baseUrl = baseUrl;
    page.setDefaultTimeout(PATIENCE);
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(`${message.text()} (${message.location().url})`);
    });
    page.on('pageerror', (error) => this.complaints.push(String(error)));
    page.on('request', (request) => {
      if (/^https?:/.test(request.url())) this.origins.add(new URL(request.url()).origin);
    });
  }

  /** In a context of its own, or as another tab of one. */
  static async open(context, baseUrl, path = '/') {
    const page = await context.newPage();
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
        console.error(`the page's policy: ${violatedDirective} ${blockedURI}`),
      );
    });
    const tab = new Tab(page, baseUrl);
    await tab.page.goto(`${baseUrl}${path}`);
    await tab.box.waitFor();
    return tab;
  }

  get box() {
    return this.page.getByRole('textbox', { name: 'Message', exact: true });
  }

  button(name) {
    return this.page.getByRole('button', { name, exact: true });
  }

  /** As the user of that token. */
  async signIn(token) {
    await this.page.getByText('Developer').click();
    await this.page.getByRole('textbox', { name: 'Another token' }).fill(token);
    await this.button('Use').click();
    const { sub } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
    await this.page.getByText(sub).waitFor();
  }

  get sessionId() {
    return new URL(this.page.url()).searchParams.get('session');
  }

  get answers() {
    return this.page.getByRole('article', { name: 'Copilot' });
  }

  get questions() {
    return this.page.getByRole('article', { name: 'You' });
  }

  async send(text) {
    await this.box.fill(text);
    await this.box.press('Enter');
  }

  /** The text of the last answer, without its cards. */
  async text() {
    const texts = await this.answers.last().locator('.prose').allTextContents();
    return texts.join('');
  }

  /** Waits until the last answer is that long at least, and answers how long it is. */
  async grown(length) {
    await this.page.waitForFunction(
      (wanted) => {
        const answers = document.querySelectorAll('article.assistant');
        const parts = answers[answers.length - 1]?.querySelectorAll('.prose') ?? [];
        return [...parts].reduce((sum, part) => sum + part.textContent.length, 0) >= wanted;
      },
      length,
      { polling: 20 },
    );
  }

  /** Keeps every text that the last answer shows from now on. */
  async watch() {
    await this.page.evaluate(() => {
      const read = () => [...([...document.querySelectorAll('article.assistant')].at(-1)?.querySelectorAll('.prose') ?? [])];
      window.shown = new Set();
      const look = () => window.shown.add(read().map((part) => part.textContent).join(''));
      new MutationObserver(look).observe(document.body, { childList: true, characterData: true, subtree: true });
    });
  }

  /** Fails if anything was shown since `watch` that is not the beginning of what is there now. */
  async onlyGrew() {
    const [shown, text] = [await this.page.evaluate(() => [...window.shown]), await this.text()];
    assert.ok(shown.length > 1);
    for (const earlier of shown) assert.ok(text.startsWith(earlier), `shown: ${earlier}`);
  }

  /** Waits until that many answers are there and nothing is in flight. */
  async settled(count) {
    await this.answers.nth(count - 1).waitFor();
    await this.button('Stop').waitFor({ state: 'detached' });
    await this.button('Answer again').waitFor();
    assert.equal(await this.answers.count(), count);
  }

  /** Fails if anything was said but what the scene itself causes. */
  contented(...expected) {
    const others = this.complaints.filter((text) => !expected.some((pattern) => pattern.test(text)));
    assert.deepEqual(others, []);
    assert.deepEqual([...this.origins], [this.baseUrl]);
  }
}
