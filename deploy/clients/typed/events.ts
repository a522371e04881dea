//! The events of a stream as the document types them: the data of each is one chunk, and the last is no JSON.

import { EventSourceParserStream } from 'eventsource-parser/stream';

export async function* chunksOf<Chunk>(body: ReadableStream<Uint8Array>): AsyncGenerator<Chunk> {
  const text = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>);
  for await (const { data } of text.pipeThrough(new EventSourceParserStream())) {
    if (data === '[DONE]') return;
    yield JSON.parse(data) as Chunk;
  }
  throw new Error('the stream was cut');
}
