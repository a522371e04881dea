//! The same conversation by the functions that Orval makes.

import { emptyAnswer, take, type Answer } from './answer.js';
import { chunksOf } from './events.js';
import {
  type Chunk,
  createSession,
  getSession,
  getStreamChatUrl,
  getTurn,
  issueStreamTicket,
  getResumeStreamUrl,
  submitMessage,
  type StreamChatRequest,
} from './generated/orval.js';
import { connect, open } from './request.js';

async function read(response: Response): Promise<Answer> {
  if (!response.body) throw new Error(`no stream but ${response.status}`);
  const answer = emptyAnswer();
  for await (const chunk of chunksOf<Chunk>(response.body)) take(answer, chunk);
  return answer;
}

export async function converse(baseUrl: string, token: string, script: string) {
  connect(baseUrl, token);
  const made = await createSession();
  if (made.status !== 200) throw new Error(`${made.status}: ${made.data.code}`);
  const { id } = made.data;
  const body: StreamChatRequest = { message: script, is_user_message: true };
  const headers = { 'content-type': 'application/json' };
  const answer = await read(await open(getStreamChatUrl(id), { method: 'POST', headers, body: JSON.stringify(body) }));
  const submitted = await submitMessage(id, body);
  // Every status is known, and each has its own body.
  if (submitted.status === 409) throw new Error(`a turn is in progress: ${submitted.data.turn_id}`);
  if (submitted.status !== 202) throw new Error(JSON.stringify(submitted.data.detail));
  const ticket = await issueStreamTicket(id);
  if (ticket.status !== 200) throw new Error(ticket.data.code);
  const url = getResumeStreamUrl(id, { after: `${submitted.data.turn_id}:0` });
  const second = await read(await fetch(`${baseUrl}${url}&ticket=${ticket.data.ticket}`));
  const turn = await getTurn(id, submitted.data.turn_id);
  if (turn.status !== 200) throw new Error(turn.data.code);
  const session = await getSession(id, { format: 'detail' });
  if (session.status !== 200 || Array.isArray(session.data)) throw new Error('no session');
  const refused = await submitMessage(id, { message: ' ', is_user_message: true });
  const fields = refused.status === 422 && Array.isArray(refused.data.detail) ? refused.data.detail : [];
  return { answer, second, turn: turn.data, session: session.data, refused: { status: refused.status, fields } };
}
