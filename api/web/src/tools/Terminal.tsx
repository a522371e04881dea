// What a command wrote.

import type { Response } from './response';

export function Terminal({ response: { stdout, stderr, exit_code, timed_out } }: { response: Response<'bash_exec'> }) {
  return (
    <>
      {stdout && (
        <pre className="output terminal" tabIndex={0}>
          {stdout}
        </pre>
      )}
      {stderr && (
        <pre className="output terminal bad" tabIndex={0} aria-label="Errors">
          {stderr}
        </pre>
      )}
      <p className="faint">{timed_out ? 'Ended by its time limit' : `Exit status ${exit_code}`}</p>
    </>
  );
}
