//! One Copilot in a corner of the servers: a database, key prefix and queue names of its own.

import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

import pg from 'pg';

import { until } from './until.js';

const READY_SECONDS = 60;
const GRACE_SECONDS = 5;

function setting(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; see the head of deploy/clients/run`);
  return value;
}

/** An address that was free a moment ago. */
async function freeAddress() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return `127.0.0.1:${port}`;
}

/** A running binary. */
class Process {
  constructor(name, child, log, ops) {
    this.name = name;
    this.child = child;
    this.log = log;
    this.ops = ops;
    this.ended = once(child, 'exit');
  }

  get pid() {
    return this.child.pid;
  }

  get runs() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  async ready() {
    await until(`${this.name} is ready`, async () => {
      if (!this.runs) throw new Error(`${this.name} ended:\n${readFileSync(this.log, 'utf8')}`);
      // Refused connections are what waiting is for.
      const response = await fetch(`http://${this.ops}/health/ready`).catch(() => undefined);
      return response?.ok;
    }, READY_SECONDS);
  }

  /** Ends it as a power cut would. */
  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  async terminate() {
    if (!this.runs) return;
    this.child.kill('SIGTERM');
    const insist = setTimeout(() => this.child.kill('SIGKILL'), (GRACE_SECONDS + 5) * 1000);
    await this.ended;
    clearTimeout(insist);
  }
}

export class Deployment {
  #name = `clients${randomUUID().replaceAll('-', '')}`;
  #binaries = setting('COPILOT_BIN_DIR');
  #admin = setting('DATABASE_URL');
  #processes = [];
  #api;
  #overrides;
  /** Where the processes write what they have to say. */
  logs = mkdtempSync(path.join(tmpdir(), 'copilot-clients-'));

  constructor(overrides) {
    this.#overrides = overrides;
  }

  /** Makes the corner and starts an API and that many workers in it; `overrides` are settings of theirs. */
  static async start(workers, overrides = {}) {
    const deployment = new Deployment(overrides);
    // A test that is ended in the middle must not leave processes behind.
    process.once('exit', () => deployment.#processes.forEach(({ child }) => child.kill('SIGKILL')));
    try {
      await deployment.#createDatabase();
      deployment.api = await deployment.startApi();
      await Promise.all(Array.from({ length: workers }, () => deployment.startWorker()));
    } catch (error) {
      await deployment.stop();
      throw error;
    }
    return deployment;
  }

  /** The same for a test process, which the runner may end by a signal. */
  static async startForTest(workers, overrides) {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
    return Deployment.start(workers, overrides);
  }

  get #environment() {
    const database = new URL(this.#admin);
    database.pathname = `/${this.#name}`;
    return {
      PATH: process.env.PATH,
      RUST_LOG: process.env.RUST_LOG ?? 'info',
      DATABASE_URL: database.href,
      REDIS_URL: setting('REDIS_URL'),
      RABBITMQ_URL: setting('RABBITMQ_URL'),
      REDIS_PREFIX: `${this.#name}:`,
      RABBITMQ_PREFIX: this.#name,
      SHUTDOWN_GRACE_SECONDS: String(GRACE_SECONDS),
      WORKSPACE_DIR: path.join(this.logs, 'workspace'),
      SANDBOX_DIR: path.join(this.logs, 'sandbox'),
      API_WEB_DIR: path.join(import.meta.dirname, '../../../api/web/dist'),
      ...this.#overrides,
    };
  }

  async #administrate(statement) {
    const client = new pg.Client({ connectionString: this.#admin });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  }

  async #createDatabase() {
    await this.#administrate(`CREATE DATABASE ${this.#name}`);
    this.#call('migrate');
  }

  #call(...arguments_) {
    const options = { env: this.#environment, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] };
    return execFileSync(path.join(this.#binaries, 'copilot-api'), arguments_, options);
  }

  async #spawn(binary, command, listen, ops) {
    const log = path.join(this.logs, `${binary}.${this.#processes.length}.log`);
    const out = openSync(log, 'a');
    const child = spawn(path.join(this.#binaries, binary), [command], {
      env: { ...this.#environment, ...listen },
      stdio: ['ignore', out, out],
    });
    const started = new Process(binary, child, log, ops);
    this.#processes.push(started);
    await started.ready();
    return started;
  }

  /** Starts the API, at the same address when it is started again. */
  async startApi() {
    this.#api ??= { listen: await freeAddress(), ops: await freeAddress() };
    const { listen, ops } = this.#api;
    this.baseUrl = `http://${listen}`;
    return this.#spawn('copilot-api', 'serve', { API_LISTEN: listen, API_OPS_LISTEN: ops }, ops);
  }

  async startWorker() {
    const ops = await freeAddress();
    return this.#spawn('copilot-worker', 'run', { WORKER_OPS_LISTEN: ops }, ops);
  }

  token(user, role = 'user') {
    return this.#call('token', '--user', user, '--role', role).trim();
  }

  /** Ends everything and drops the database; the logs stay until `forgetLogs`. */
  async stop() {
    await Promise.all(this.#processes.map((running) => running.terminate()));
    await this.#administrate(`DROP DATABASE IF EXISTS ${this.#name} WITH (FORCE)`);
  }

  forgetLogs() {
    rmSync(this.logs, { recursive: true });
  }
}
