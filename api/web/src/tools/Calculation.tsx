// What came out.

import type { Response } from './response';

export function Calculation({ response: { expression, result } }: { response: Response<'calculation'> }) {
  return (
    <p className="figure">
      {expression} = <strong>{result}</strong>
    </p>
  );
}
