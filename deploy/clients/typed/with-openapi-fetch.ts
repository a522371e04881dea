//! A conversation by a client of openapi-typescript and openapi-fetch. No type of the API is written by hand.

import createClient from 'openapi-fetch';

import { emptyAnswer, take, type Answer, type Chunk } from './answer.js';
import { chunksOf } from './events.js';
import type { components, paths } from './generated/openapi.js';

type Schemas = components['schemas'];

function clientOf(baseUrl: string, token: string) {
  return createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${token}` } });
}

async function read(body: ReadableStream<Uint8Array> | null | undefined): Promise<Answer> {
  if (!body) throw new Error('there is no stream');
  const answer = emptyAnswer();
  for await (const chunk of chunksOf<Chunk>(body)) take(answer, chunk);
  return answer;
}

function given<T>(result: { data?: T; error?: unknown }): T {
  if (result.data === undefined) throw new Error(JSON.stringify(result.error));
  return result.data;
}

/** A session's messages in either shape, told apart by what they are. */
function splitView(view: Schemas['SessionView']): { detail?: Schemas['SessionDetailResponse']; ui?: Schemas['UIMessage'][] } {
  return Array.isArray(view) ? { ui: view } : { detail: view };
}

/** What a user interface would show of a part. */
export function shown(part: Schemas['UIMessagePart']): string {
  if ('toolCallId' in part) {
    switch (part.state) {
      case 'input-available':
        return `${part.type} runs`;
      case 'output-available':
        return `${part.type}: ${JSON.stringify(part.output)}`;
      case 'output-error':
        return `${part.type} failed: ${part.errorText ?? ''}`;
    }
  }
  if ('url' in part) return `${part.filename} at ${part.url}`;
  return 'text' in part ? part.text : '';
}

export async function converse(baseUrl: string, token: string, script: string) {
  const client = clientOf(baseUrl, token);
  const { id, user_id } = given(await client.POST('/api/chat/sessions'));
  const path = { id };
  const body: Schemas['StreamChatRequest'] = { message: script, is_user_message: true };
  const sent = await client.POST('/api/chat/sessions/{id}/stream', { params: { path }, body, parseAs: 'stream' });
  const answer = await read(sent.data as ReadableStream<Uint8Array> | undefined);
  const again: Schemas['UiChatRequest'] = {
    messages: [{ role: 'user', parts: [{ type: 'text', text: script }] }],
    trigger: 'regenerate-message',
    ...(answer.turn === undefined ? {} : { messageId: answer.turn }),
  };
  const submitted = given(await client.POST('/api/chat/sessions/{id}/messages', { params: { path }, body: again }));
  const followed = await client.GET('/api/chat/sessions/{id}/turns/{turn_id}/stream', {
    params: { path: { id, turn_id: submitted.turn_id } },
    parseAs: 'stream',
  });
  const second = await read(followed.data as ReadableStream<Uint8Array> | undefined);
  const { detail } = splitView(given(await client.GET('/api/chat/sessions/{id}', { params: { path } })));
  const query = { format: 'ui' } as const;
  const { ui } = splitView(given(await client.GET('/api/chat/sessions/{id}', { params: { path, query } })));
  const { turns } = given(await client.GET('/api/chat/sessions/{id}/turns', { params: { path } }));
  const unknown = { id: '00000000-0000-4000-8000-000000000000' };
  const missing = await client.GET('/api/chat/sessions/{id}', { params: { path: unknown } });
  const code = missing.error && 'code' in missing.error ? missing.error.code : undefined;
  return { user_id, answer, second, detail, ui, turns, missing: { status: missing.response.status, code } };
}
