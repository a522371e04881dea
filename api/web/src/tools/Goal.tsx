// A goal that can be reached, in place of one that cannot.

import type { Response } from './response';

interface Props {
  response: Response<'suggested_goal'>;
  onSuggest: (text: string) => void;
}

export function Goal({ response: { suggested_goal, original_goal, reason }, onSuggest }: Props) {
  return (
    <>
      {original_goal && (
        <p className="faint">
          <s>{original_goal}</s>
        </p>
      )}
      <p>
        <strong>{suggested_goal}</strong>
      </p>
      {reason && <p className="faint">{reason}</p>}
      <button type="button" className="small" onClick={() => onSuggest(suggested_goal)}>
        Take this goal
      </button>
    </>
  );
}
