// What the user has to connect before it can go on.

import type { Response } from './response';

interface Props {
  response: Response<'setup_requirements'>;
  onSuggest: (text: string) => void;
}

export function Setup({ response: { message, setup_info }, onSuggest }: Props) {
  const { agent_name, requirements, user_readiness } = setup_info;
  return (
    <>
      <p>{message}</p>
      <ul className="plain">
        {requirements.credentials.map(({ id, title, scopes }) => (
          <li key={id}>
            <strong>{title}</strong>
            {scopes.length > 0 && <span className="faint"> · {scopes.join(', ')}</span>}
          </li>
        ))}
      </ul>
      {!user_readiness.ready_to_run && (
        <button type="button" className="small" onClick={() => onSuggest(`I have connected ${agent_name}.`)}>
          It is connected
        </button>
      )}
    </>
  );
}
