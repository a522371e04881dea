//! Every snippet of api/FRONTEND.md: the project is built and used, the rest is run.
//!
//! Only `npm install` is not what it seems: it finds the packages of the playground, which are the same.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify, stripVTControlCharacters } from 'node:util';

import { launch } from '../lib/browser.js';
import { refusedBy, sdks } from '../lib/sdks.js';
import { snippetsOf } from '../lib/snippets.js';
import { until } from '../lib/until.js';

const run = promisify(execFile);
const api = path.join(import.meta.dirname, '../../../api');
const packages = path.join(api, 'web/node_modules');
const snippets = snippetsOf(path.join(api, 'FRONTEND.md'));
const { BASE_URL, TOKEN } = process.env;
const environment = { ...process.env, BASE: BASE_URL?.replace(/\/$/, ''), TOKEN };

const KINDS = {
  setup: ({ language, info }) => language === 'bash' && info === 'setup',
  script: ({ language, info }) => language === 'bash' && info === '',
  program: ({ language, info }) => language === 'js' && info === '',
  file: ({ info }) => /^[\w./]+\.\w+$/.test(info),
  events: ({ language, info }) => language === 'text' && info === 'events',
  error: ({ language, info }) => language === 'json' && info === 'error',
};
const all = (kind) => snippets.filter(KINDS[kind]);

describe('api/FRONTEND.md', { timeout: 240_000 }, () => {
  let directory;

  before(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'copilot-frontend-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  test('has no snippet that is not run', () => {
    const strangers = snippets.filter((snippet) => !Object.values(KINDS).some((is) => is(snippet)));
    assert.deepEqual(strangers, []);
    for (const kind of Object.keys(KINDS)) assert.notDeepEqual(all(kind), [], kind);
  });

  test('its project is a chat that survives a reload', async () => {
    const project = path.join(directory, 'project');
    for (const { info, text } of all('file')) {
      const file = path.join(project, info);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, text);
    }
    const tools = path.join(directory, 'tools');
    mkdirSync(tools);
    writeFileSync(path.join(tools, 'npm'), `#!/bin/sh\n[ "$1" = install ] && ln -sfn '${packages}' node_modules\n`, { mode: 0o755 });
    const inProject = { cwd: project, env: { ...environment, PATH: `${tools}:${process.env.PATH}` } };
    for (const { text } of all('setup')) await run('bash', ['-euo', 'pipefail', '-c', text], inProject);
    await run(path.join(packages, '.bin/tsc'), [], inProject);

    // An optimiser's cache in the shared packages would be another run's as well.
    const config = path.join(project, 'vite.config.mts');
    writeFileSync(config, readFileSync(config, 'utf8').replace('defineConfig({', "defineConfig({ cacheDir: '.vite',"));
    const vite = spawn(path.join(packages, '.bin/vite'), ['--host', '127.0.0.1', '--port', '0'], { ...inProject, stdio: 'pipe' });
    try {
      await useChat(await addressOf(vite));
    } finally {
      vite.kill();
    }
  });

  async function addressOf(vite) {
    let said = '';
    for (const stream of [vite.stdout, vite.stderr]) stream.on('data', (text) => (said += text));
    const [address] = await until('Vite serves', () => {
      assert.equal(vite.exitCode, null, said);
      return /http:\/\/127\.0\.0\.1:\d+/.exec(stripVTControlCharacters(said));
    });
    return address;
  }

  async function useChat(address) {
    const browser = await launch();
    try {
      const page = await browser.newPage();
      const box = page.getByRole('textbox', { name: 'Message' });
      const answer = page.getByRole('article', { name: 'assistant' }).last();
      const stop = page.getByRole('button', { name: 'Stop' });
      const length = async () => ((await answer.count()) ? (await answer.textContent()).length : 0);
      await page.goto(address);
      await box.fill('demo:tokens=100,rate=20,bytes=4');
      await box.press('Enter');
      await until('it answers', async () => (await length()) > 20);
      await page.reload();
      await until('the answer is back', async () => (await length()) > 20);
      await until('it is complete', async () => (await length()) === 400);
      await stop.waitFor({ state: 'detached' });
      await box.fill('demo:hang');
      await box.press('Enter');
      await until('it hangs', async () => (await answer.textContent()).includes('Waiting'));
      await stop.click();
      await stop.waitFor({ state: 'detached' });
    } finally {
      await browser.close();
    }
  }

  test('its commands work, one after the other', async () => {
    const script = all('script').map(({ text }) => text).join('\n');
    const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', script], { env: environment });
    assert.match(stdout, /data: \[DONE\]/);
    assert.match(stdout, /^id: [\w-]+:3$/m);
    assert.match(stdout, /^20[04]$/m);
    assert.match(stdout, /^202\nthe plan$/m);
    assert.match(stdout, /^"reset_cost":\d+$/m);
  });

  test('its programs say what their comments promise', async () => {
    for (const [index, { text }] of all('program').entries()) {
      const file = path.join(directory, `program${index}.mjs`);
      writeFileSync(file, text);
      const { stdout } = await run(process.execPath, [file], { env: environment });
      const promised = [...text.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map(([, promise]) => promise);
      if (promised.length > 0) assert.deepEqual(stdout.trim().split('\n'), promised);
      else assert.notEqual(stdout.trim(), '');
    }
  });

  test('its events are what every release of the AI SDK reads', async () => {
    for (const sdk of sdks) {
      for (const { text } of all('events')) assert.deepEqual(await refusedBy(sdk, text), [], sdk.name);
    }
  });

  test('its codes are those of the OpenAPI document', async () => {
    const { components } = JSON.parse(readFileSync(path.join(api, 'openapi.json'), 'utf8'));
    const known = new Set(components.schemas.ErrorCode.enum);
    const page = readFileSync(path.join(api, 'FRONTEND.md'), 'utf8');
    const rows = [...page.matchAll(/^\| \d{3}[^|]*\|([^|]*)\|/gm)].flatMap(([, cell]) => [...cell.matchAll(/`(\w+)`/g)]);
    assert.ok(rows.length > 10);
    for (const [, code] of rows) assert.ok(known.has(code), code);
    for (const { text } of all('error')) assert.ok(known.has(JSON.parse(text).code), text);
  });
});
