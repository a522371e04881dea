//! The fenced snippets of a Markdown page.

import { readFileSync } from 'node:fs';

/** `info` is what stands behind the language: the name of a file, or what the snippet is. */
export function snippetsOf(path) {
  const found = [];
  let open;
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const fence = /^```(\S*)\s*(.*)$/.exec(line);
    if (!fence) open?.lines.push(line);
    else if (open) {
      found.push({ language: open.language, info: open.info, text: `${open.lines.join('\n')}\n` });
      open = undefined;
    } else open = { language: fence[1], info: fence[2], lines: [] };
  }
  return found;
}
