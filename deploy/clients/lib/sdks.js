//! The releases of the AI SDK under test, each with the Chat class of a React package that goes with it.

import { createRequire } from 'node:module';

const RELEASES = [
  { ai: 'ai-5', react: 'react-5' },
  { ai: 'ai-6.0.134', react: 'react-6.0.134' },
  // What AutoGPT's front end pins: its Chat comes with an older core than its transport.
  { ai: 'ai-6.0.134', react: 'react-6.0.59' },
  { ai: 'ai-6', react: 'react-6' },
  { ai: 'ai-7', react: 'react-7' },
];

const versionOf = (alias) => createRequire(import.meta.url)(`${alias}/package.json`).version;

async function load({ ai, react }) {
  const { DefaultChatTransport, parseJsonEventStream, uiMessageChunkSchema } = await import(ai);
  const { Chat } = await import(react);
  return {
    name: `ai ${versionOf(ai)} with @ai-sdk/react ${versionOf(react)}`,
    ai,
    Chat,
    DefaultChatTransport,
    parseJsonEventStream,
    uiMessageChunkSchema,
  };
}

export const sdks = await Promise.all(RELEASES.map(load));

/** What of the body of a response the SDK refuses, by its own schema and with its own parser. */
export async function refusedBy(sdk, wire) {
  const stream = new Blob([wire]).stream();
  const refused = [];
  for await (const chunk of sdk.parseJsonEventStream({ stream, schema: sdk.uiMessageChunkSchema })) {
    if (!chunk.success) refused.push({ raw: chunk.rawValue, error: String(chunk.error) });
  }
  return refused;
}

/** The chat of one browser tab. What its callbacks are called with is kept in `seen`. */
export function openTab(sdk, copilot, sessionId, messages = []) {
  const seen = { data: [], toolCalls: [], finishes: [], errors: [] };
  const chat = new sdk.Chat({
    id: sessionId,
    messages: structuredClone(messages),
    transport: new sdk.DefaultChatTransport({ api: `${copilot.baseUrl}/api/chat`, headers: copilot.headers }),
    onData: (part) => seen.data.push(part),
    onToolCall: ({ toolCall }) => seen.toolCalls.push(toolCall),
    onFinish: (event) => seen.finishes.push(event),
    onError: (error) => seen.errors.push(error),
  });
  return Object.assign(chat, { seen });
}
