//! Starts a system, runs the tests against it, and stops everything, whatever happens.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import path from 'node:path';

import { serveBrowser } from './lib/browser.js';
import { Deployment } from './lib/deployment.js';

const suites = {
  clients: { directory: 'test', atOnce: 4, settings: {} },
  // With credits, of which one reset takes all.
  browser: { directory: 'browser', atOnce: 4, settings: { ENABLE_CREDIT: 'true', NUM_USER_CREDITS_REFILL: '500' } },
};

const [first, ...rest] = process.argv.slice(2);
const [suite, options] = first === '--browser' ? [suites.browser, rest] : [suites.clients, process.argv.slice(2)];

function startTests(environment) {
  const directory = path.join(import.meta.dirname, suite.directory);
  const files = readdirSync(directory).filter((name) => name.endsWith('.test.js'));
  const runner = ['--test', '--test-force-exit', `--test-concurrency=${suite.atOnce}`, '--test-reporter=spec'];
  const paths = files.map((name) => path.join(directory, name));
  return spawn(process.execPath, [...runner, ...options, ...paths], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

let tests;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => (tests ? tests.kill('SIGTERM') : process.exit(1)));

const [deployment, browser] = await Promise.all([
  Deployment.start(2, suite.settings),
  suite === suites.browser ? serveBrowser() : undefined,
]);
tests = startTests({
  BASE_URL: deployment.baseUrl,
  TOKEN: deployment.token('clients'),
  ...(browser && {
    BROWSER: browser.wsEndpoint(),
    TOKENS: JSON.stringify({
      admin: deployment.token('admin', 'admin'),
      beggar: deployment.token('beggar'),
      collector: deployment.token('collector'),
      handyman: deployment.token('handyman'),
    }),
  }),
});
const [status] = await once(tests, 'exit');
await Promise.all([deployment.stop(), browser?.close()]);
if (status === 0) {
  deployment.forgetLogs();
} else {
  console.error(`deploy: the client tests failed; the logs of the API and the workers are in ${deployment.logs}`);
}
process.exit(status ?? 1);
