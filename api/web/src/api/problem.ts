// What went wrong, as the API says it.

import type { components } from '../generated/api';

export type Code = components['schemas']['ErrorCode'];

interface Body {
  detail?: string | { msg: string }[];
  code?: Code;
}

/** An answer of the API that is no success. */
export class Problem extends Error {
  override name = 'Problem';

  constructor(
    readonly status: number,
    readonly code: Code | undefined,
    message: string,
    /** After how many seconds it may work. */
    readonly retryAfter: number | undefined,
  ) {
    super(message);
  }

  static of(response: Response, body: unknown): Problem {
    const { detail, code } = (typeof body === 'object' && body !== null ? body : {}) as Body;
    const listed = Array.isArray(detail) ? detail.map(({ msg }) => msg).join('; ') : detail;
    const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
    return new this(
      response.status,
      code,
      listed || `The server answered ${response.status}.`,
      Number.isFinite(seconds) ? seconds : undefined,
    );
  }

  static async read(response: Response): Promise<Problem> {
    return this.of(response, await response.json().catch(() => undefined));
  }
}

/** A message that was not taken: nobody keeps it but the user. */
export class Refused extends Problem {}

/** A sentence for people. */
export function sentenceOf(error: unknown): string {
  if (error instanceof Problem) return error.message;
  if (error instanceof TypeError) return 'The server cannot be reached.';
  if (error instanceof Error) return error.message.replace(/^\[code:[^\]]*\] /, '');
  return String(error);
}

/** The word for programs: of a refused request, or of an answer that failed. */
export function codeOf(error: unknown): string | undefined {
  if (error instanceof Problem) return error.code;
  return error instanceof Error ? /^\[code:([^\]]*)\]/.exec(error.message)?.[1] : undefined;
}
