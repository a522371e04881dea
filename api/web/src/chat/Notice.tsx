// Something went wrong, or wants to be known.

import { codeOf, Problem, sentenceOf } from '../api/problem';

interface Props {
  problem: unknown;
  onDismiss: () => void;
  onRetry?: (() => void) | undefined;
  onReset?: (() => void) | undefined;
}

const OVER_LIMIT = new Set(['usage_limit_reached', 'limit_reached']);

export function Notice({ problem, onDismiss, onRetry, onReset }: Props) {
  const code = codeOf(problem);
  const wait = problem instanceof Problem ? problem.retryAfter : undefined;
  return (
    <div className="notice" role="alert">
      <p>
        {sentenceOf(problem)}
        {code && <code>{code}</code>}
        {wait !== undefined && wait < 120 && <span className="faint"> Try again in {wait} s.</span>}
      </p>
      <div className="row">
        {code && OVER_LIMIT.has(code) && onReset && (
          <button type="button" onClick={onReset}>
            Reset usage…
          </button>
        )}
        {onRetry && !(problem instanceof Problem) && (
          <button type="button" onClick={onRetry}>
            Try again
          </button>
        )}
        <button type="button" className="quiet" onClick={onDismiss}>
          Dismiss
        </button>
      </div>
    </div>
  );
}
