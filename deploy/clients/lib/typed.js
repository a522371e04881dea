//! Clients in TypeScript, made from the document of the running system.

import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const directory = path.join(import.meta.dirname, '..', 'typed');
const generated = path.join(directory, 'generated');
const binary = (name) => path.join(import.meta.dirname, '..', 'node_modules', '.bin', name);

/** Runs a tool; what it says is the message of its failure. */
async function tool(name, ...arguments_) {
  // They tell their makers who uses them, unless told not to.
  const env = { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true', SCARF_ANALYTICS: 'false' };
  try {
    return (await run(binary(name), arguments_, { cwd: directory, env })).stdout;
  } catch (error) {
    throw new Error(`${name} ${arguments_.join(' ')}:\n${error.stdout}${error.stderr}`);
  }
}

async function fetchDocument(copilot, name) {
  const response = await copilot.fetch(`/${name}`);
  await writeFile(path.join(generated, name), await response.text());
}

export async function fetchDocuments(copilot) {
  await rm(generated, { recursive: true, force: true });
  await mkdir(generated);
  await Promise.all(['openapi.json', 'openapi-3.2.json'].map((name) => fetchDocument(copilot, name)));
}

/** Fails with whatever a linter has against a document. */
export const lint = (name) => tool('redocly', 'lint', '--config', 'lint.yaml', path.join('generated', name));

/** Makes the clients and compiles what is written over them. */
export async function compile() {
  await Promise.all([
    tool('openapi-typescript', path.join('generated', 'openapi.json'), '-o', path.join('generated', 'openapi.ts')),
    tool('orval', '--config', 'orval.config.js'),
  ]);
  await tool('tsc', '--project', 'tsconfig.json');
}

export const compiled = (name) => import(path.join(generated, 'dist', `${name}.js`));
