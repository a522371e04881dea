// A message that has not been sent.

import type { FileUIPart, UIMessage } from 'ai';

import { textOf } from './visible';

export interface Draft {
  text: string;
  files: FileUIPart[];
}

export const partsOf = ({ text, files }: Draft): UIMessage['parts'] => [
  ...files,
  ...(text ? [{ type: 'text' as const, text }] : []),
];

/** What the user wrote to make this message. */
export const draftOf = (message: UIMessage): Draft => ({
  text: textOf(message),
  files: message.parts.filter((part) => part.type === 'file'),
});

/** What was not taken, in front of what has been written since. */
export const joined = (returned: Draft, now: Draft): Draft => ({
  text: [returned.text, now.text].filter((text) => text !== '').join('\n'),
  files: [...returned.files, ...now.files],
});
