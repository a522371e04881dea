// Event stream frames, whole ones only: what a broken connection left half is not handed on.

export interface Frame {
  /** As it came, without the blank line. */
  text: string;
  id: string | undefined;
  data: string | undefined;
  retry: number | undefined;
}

export function parseFrame(text: string): Frame {
  const frame: Frame = { text, id: undefined, data: undefined, retry: undefined };
  for (const line of text.split('\n')) {
    if (line.startsWith('data: ')) frame.data = line.slice('data: '.length);
    else if (line.startsWith('id: ')) frame.id = line.slice('id: '.length);
    else if (line.startsWith('retry: ')) frame.retry = Number(line.slice('retry: '.length));
  }
  return frame;
}

export async function* framesOf(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Frame> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (rest + value).split('\n\n');
      rest = whole.pop() ?? '';
      for (const text of whole) yield parseFrame(text);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
