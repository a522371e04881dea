// The list of chats, and what can be done to one.

import { answer, api, type Schemas } from '../api/client';

export type SessionSummary = Schemas['SessionSummaryResponse'];

export async function listSessions(): Promise<SessionSummary[]> {
  const { sessions } = await answer(api.GET('/api/chat/sessions', { params: { query: { limit: 100 } } }));
  return sessions;
}

export async function createSession(): Promise<string> {
  const { id } = await answer(api.POST('/api/chat/sessions'));
  return id;
}

export async function rename(id: string, title: string): Promise<void> {
  await answer(api.PATCH('/api/chat/sessions/{id}/title', { params: { path: { id } }, body: { title } }));
}

export async function remove(id: string): Promise<void> {
  await answer(api.DELETE('/api/chat/sessions/{id}', { params: { path: { id } } }));
}
