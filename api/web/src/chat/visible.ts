// What of an answer a user shall see.

import type { UIMessage } from 'ai';

export type Part = UIMessage['parts'][number];

/** A step that died with its worker is hidden, from its beginning to the part that says so. */
export function visible(parts: readonly Part[]): Part[] {
  const shown: Part[] = [];
  for (const part of parts) {
    if (part.type !== 'data-retry') {
      shown.push(part);
      continue;
    }
    const begin = shown.findLastIndex(({ type }) => type === 'step-start');
    shown.splice(begin === -1 ? 0 : begin);
  }
  return shown;
}

export function textOf({ parts }: Pick<UIMessage, 'parts'>): string {
  return visible(parts)
    .map((part) => (part.type === 'text' ? part.text : ''))
    .join('');
}
