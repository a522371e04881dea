// A fetch whose event stream outlives its connection: when that breaks, it goes on behind the last event id, so that
// the AI SDK sees one stream, each chunk once.

import { Problem, Refused } from '../api/problem';
import { token } from '../api/token';
import { framesOf, type Frame } from './frames';
import { type Connection, wireLog } from './log';

const DONE = '[DONE]';
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;

/** The stream cannot be continued; a replay has all of it. */
export class StreamGap extends Error {
  override name = 'StreamGap';
}

const drops = new Set<() => void>();

/** Breaks every open connection, as a tunnel does. */
export function dropConnections() {
  for (const drop of drops) drop();
}

let arrivals: (() => void)[] = [];

/** Resolves when the next submit has been answered, or could not be sent. */
export const nextSubmit = () => new Promise<void>((resolve) => arrivals.push(resolve));

function noteArrival() {
  const told = arrivals;
  arrivals = [];
  for (const tell of told) tell();
}

const pause = (milliseconds: number, signal: AbortSignal | undefined) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });

interface Asked {
  url: string;
  init: RequestInit;
}

/** What the page tells of: one that was left may still be ending. */
let latest: Following | undefined;

class Following {
  cursor: string | undefined;
  /** Something was handed on that has no cursor behind it, so asking again would repeat it. */
  #loose = false;
  #retry = FIRST_PAUSE;
  #drop: (() => void) | undefined;

  constructor(
    private readonly first: Asked,
    private readonly signal: AbortSignal | undefined,
  ) {
    latest = this;
  }

  show(connection: Connection) {
    if (latest === this) wireLog.connection(connection);
  }

  /** The first connection, tried until there is an answer; its key keeps a message from being said twice. */
  async begin(): Promise<Response> {
    for (;;) {
      try {
        return await this.connect();
      } catch (error) {
        if (this.signal?.aborted) throw error;
        wireLog.note('cut', 'there is no connection');
        this.show('reconnecting');
        await this.#wait();
        this.signal?.throwIfAborted();
        this.#slower();
      }
    }
  }

  async connect(): Promise<Response> {
    this.release();
    const dropped = new AbortController();
    this.#drop = () => dropped.abort();
    drops.add(this.#drop);
    const { url, init } = this.cursor === undefined ? this.first : this.#behind(this.cursor);
    wireLog.note('request', `${init.method ?? 'GET'} ${url}${this.cursor ? `\nLast-Event-ID: ${this.cursor}` : ''}`);
    if (!this.#submits()) return fetch(url, { ...init, signal: this.#either(dropped) });
    const response = await fetch(url, { ...init, signal: dropped.signal });
    // Who looks away from a chat still wants to have said it: only what comes back is given up.
    if (this.signal?.aborted) dropped.abort();
    this.signal?.addEventListener('abort', () => dropped.abort());
    return response;
  }

  #submits(): boolean {
    return this.cursor === undefined && this.first.init.method === 'POST';
  }

  #either(dropped: AbortController): AbortSignal {
    return this.signal ? AbortSignal.any([this.signal, dropped.signal]) : dropped.signal;
  }

  #wait(): Promise<void> {
    return pause(this.#retry * (0.75 + Math.random() / 2), this.signal);
  }

  #slower() {
    this.#retry = Math.min(this.#retry * 2, LONGEST_PAUSE);
  }

  /** There is no connection any more that could be dropped. */
  release() {
    if (this.#drop) drops.delete(this.#drop);
  }

  #behind(cursor: string): Asked {
    const headers = { authorization: `Bearer ${token.get()}`, 'last-event-id': cursor };
    return { url: this.first.url, init: { headers } };
  }

  /** Frames to hand on, over every cut, until the turn has ended. */
  async *frames(response: Response): AsyncGenerator<Frame> {
    let current: Response | undefined = response;
    for (;;) {
      if (current?.body) {
        this.show('open');
        if (yield* this.#of(current.body)) return;
      }
      if (this.signal?.aborted) return;
      if (this.#loose) throw new StreamGap('The stream broke in the middle of a replay.');
      this.show('reconnecting');
      await this.#wait();
      if (this.signal?.aborted) return;
      current = await this.#again();
      if (current?.status === 204) return;
    }
  }

  /** True if it came to its end, false if it was cut. */
  async *#of(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Frame, boolean> {
    try {
      for await (const frame of framesOf(body)) {
        wireLog.note(frame.data === undefined ? 'comment' : 'frame', frame.text, frame.id);
        if (frame.retry !== undefined && Number.isFinite(frame.retry)) this.#retry = frame.retry;
        if (frame.id !== undefined) this.cursor = frame.id;
        if (frame.data !== undefined) this.#loose = frame.id === undefined && frame.data !== DONE && !isStatus(frame);
        yield frame;
        if (frame.data === DONE) return true;
      }
    } catch (error) {
      if (this.signal?.aborted) throw error;
    }
    wireLog.note('cut', 'the connection broke');
    return false;
  }

  /** A new connection; none if the server cannot be reached yet. */
  async #again(): Promise<Response | undefined> {
    const response = await this.connect().catch(() => undefined);
    if (!response || response.status >= 500) {
      this.#slower();
      return undefined;
    }
    if (response.status === 409 || response.status === 410) throw new StreamGap('The stream is no longer kept.');
    if (!response.ok) throw await Problem.read(response);
    return response;
  }
}

/** Where a waiting turn stands may be told twice. */
const isStatus = ({ data }: Frame) => data?.startsWith('{"type":"data-status"') ?? false;

function handOn(following: Following, response: Response): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const frames = following.frames(response);
  const over = () => {
    following.release();
    following.show('idle');
  };
  return new ReadableStream({
    async pull(controller) {
      try {
        const { value, done } = await frames.next();
        if (!done) return controller.enqueue(encoder.encode(`${value.text}\n\n`));
        wireLog.note('end', 'the turn has ended');
        controller.close();
      } catch (error) {
        controller.error(error);
      }
      over();
    },
    async cancel() {
      over();
      await frames.return(undefined);
    },
  });
}

/** `fetch` for the AI SDK's transport. An answer that is no success is thrown as a `Problem`. */
export const resumingFetch: typeof fetch = async (input, init = {}) => {
  const url = input instanceof Request ? input.url : String(input);
  const { signal, ...rest } = init;
  const following = new Following({ url, init: rest }, signal ?? undefined);
  const submits = rest.method === 'POST';
  try {
    const response = await following.begin();
    if (!response.ok) throw await (submits ? Refused : Problem).read(response);
    if (response.status === 204) return response;
    return new Response(handOn(following, response), { status: response.status, headers: response.headers });
  } catch (error) {
    following.release();
    following.show('idle');
    throw error;
  } finally {
    if (submits) noteArrival();
  }
};
