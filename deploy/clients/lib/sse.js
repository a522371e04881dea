//! Reads an event stream to the letter: frames with their ids, comments, and whether it was complete.

import { createParser } from 'eventsource-parser';

/** Collects what the text of an event stream holds. */
export class Wire {
  /** Events as `{id, data}`; the id is absent where the frame has none of its own. */
  frames = [];
  comments = [];
  retry;
  text = '';
  #parser = createParser({
    onEvent: ({ id, data, event }) => this.frames.push({ id, data, event }),
    onComment: (comment) => this.comments.push(comment.trim()),
    onRetry: (milliseconds) => (this.retry = milliseconds),
    onError: (error) => {
      throw error;
    },
  });

  feed(text) {
    this.text += text;
    this.#parser.feed(text);
  }

  /** The parsed chunks, `[DONE]` left out. */
  get chunks() {
    return this.frames.filter(({ data }) => data !== '[DONE]').map(({ data }) => JSON.parse(data));
  }

  get types() {
    return this.chunks.map(({ type }) => type);
  }

  get lastId() {
    return this.frames.findLast(({ id }) => id !== undefined)?.id;
  }

  get done() {
    return this.frames.at(-1)?.data === '[DONE]';
  }

  deltas(type = 'text-delta') {
    return textOfChunks(this.chunks, type);
  }
}

export function textOfChunks(chunks, type = 'text-delta') {
  return chunks.filter((chunk) => chunk.type === type).map((chunk) => chunk.delta).join('');
}

/** Reads to the end, or until `enough(wire)`, and then drops the connection. */
export async function readWire(response, enough = () => false) {
  const wire = new Wire();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return wire;
    wire.feed(value);
    if (enough(wire)) {
      await reader.cancel();
      return wire;
    }
  }
}
