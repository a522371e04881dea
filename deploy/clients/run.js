//! Starts a system, runs the tests against it, and stops everything, whatever happens.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import path from 'node:path';

import { Deployment } from './lib/deployment.js';

const suites = {
  clients: { directory: 'test', atOnce: 4 },
  // A browser is larger than a client, and its tests wait on what it draws.
  browser: { directory: 'browser', atOnce: 3 },
};

function startTests(deployment, suite, options) {
  const directory = path.join(import.meta.dirname, suite.directory);
  const files = readdirSync(directory).filter((name) => name.endsWith('.test.js'));
  const runner = ['--test', '--test-force-exit', `--test-concurrency=${suite.atOnce}`, '--test-reporter=spec'];
  const paths = files.map((name) => path.join(directory, name));
  return spawn(process.execPath, [...runner, ...options, ...paths], {
    env: { ...process.env, BASE_URL: deployment.baseUrl, TOKEN: deployment.token('clients') },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}

const deployment = await Deployment.start(2);
const [first, ...rest] = process.argv.slice(2);
const tests = first === '--browser' ? startTests(deployment, suites.browser, rest) : startTests(deployment, suites.clients, process.argv.slice(2));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => tests.kill('SIGTERM'));
const [status] = await once(tests, 'exit');
await deployment.stop();
if (status === 0) {
  deployment.forgetLogs();
} else {
  console.error(`deploy: the client tests failed; the logs of the API and the workers are in ${deployment.logs}`);
}
process.exit(status ?? 1);
