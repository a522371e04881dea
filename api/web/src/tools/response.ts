// What a tool answered, by its type.

import type { ToolUIPart, DynamicToolUIPart } from 'ai';

import type { Schemas } from '../api/client';

export type ToolPart = ToolUIPart | DynamicToolUIPart;
export type ToolResponse = Schemas['ToolResponse'];
export type ToolType = ToolResponse['type'];
/** The answer of one type. */
export type Response<Type extends ToolType> = Extract<ToolResponse, { type: Type }>;

function parsed(output: unknown): unknown {
  if (typeof output !== 'string') return output;
  try {
    return JSON.parse(output) as unknown;
  } catch {
    return output;
  }
}

const isResponse = (value: unknown): value is ToolResponse =>
  typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';

/** An answer with a type; text that has none is the second. */
export function responseOf(part: ToolPart): { response?: ToolResponse; text?: string } {
  const said = part.state === 'output-error' ? part.errorText : part.state === 'output-available' ? part.output : undefined;
  if (said === undefined || said === null) return {};
  const value = parsed(said);
  if (isResponse(value)) return { response: value };
  return { text: typeof value === 'string' ? value : JSON.stringify(value, null, 2) };
}
