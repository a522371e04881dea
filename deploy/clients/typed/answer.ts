//! What chunks amount to. The switch has a case for every chunk of the document and no default that would hide a
//! missing one: a chunk that is new there does not compile here.

import type { components } from './generated/openapi.js';

export type Chunk = components['schemas']['Chunk'];

export interface Answer {
  turn: string | undefined;
  steps: number;
  text: string;
  thoughts: string;
  /** Outcomes of tool calls by their id. */
  outcomes: Map<string, unknown>;
  positions: number[];
  retries: number[];
  status: components['schemas']['EndStatus'] | 'completed' | undefined;
  error: string | undefined;
}

export function emptyAnswer(): Answer {
  return {
    turn: undefined,
    steps: 0,
    text: '',
    thoughts: '',
    outcomes: new Map(),
    positions: [],
    retries: [],
    status: undefined,
    error: undefined,
  };
}

function unreachable(chunk: never): never {
  throw new Error(`a chunk that the document does not know: ${JSON.stringify(chunk)}`);
}

export function take(answer: Answer, chunk: Chunk): void {
  switch (chunk.type) {
    case 'start':
      answer.turn = chunk.messageId;
      return;
    case 'start-step':
      answer.steps += 1;
      return;
    case 'text-delta':
      answer.text += chunk.delta;
      return;
    case 'reasoning-delta':
      answer.thoughts += chunk.delta;
      return;
    case 'tool-input-start':
    case 'tool-input-available':
      if (!chunk.providerExecuted) throw new Error(`${chunk.toolName} is to be run by the client`);
      answer.outcomes.set(chunk.toolCallId, undefined);
      return;
    case 'tool-input-delta':
      if (!answer.outcomes.has(chunk.toolCallId)) throw new Error('the input of a call that did not begin');
      return;
    case 'tool-output-available':
      answer.outcomes.set(chunk.toolCallId, chunk.output);
      return;
    case 'tool-output-error':
      answer.outcomes.set(chunk.toolCallId, chunk.errorText);
      return;
    case 'data-status':
      answer.positions.push(chunk.data.position);
      return;
    case 'data-retry':
      answer.retries.push(chunk.data.attempt);
      return;
    case 'message-metadata':
      answer.status = chunk.messageMetadata.status;
      return;
    case 'error':
      answer.error = chunk.errorText;
      return;
    case 'finish':
      if (chunk.finishReason !== 'error') answer.status = 'completed';
      return;
    case 'abort':
    case 'finish-step':
    case 'text-start':
    case 'text-end':
    case 'reasoning-start':
    case 'reasoning-end':
      return;
    default:
      unreachable(chunk);
  }
}
